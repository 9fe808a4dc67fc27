//! Sums over rows: the gradient of a bias.

use crate::Real;

/// `sums = ` column sums of `x[n, sums.len()]`; with `add`, added to what `sums` holds. Rows are added in order.
pub(crate) fn plain<T: Real>(x: &[T], sums: &mut [T], add: bool) {
    if !add {
        sums.fill(T::ZERO);
    }
    for row in x.chunks_exact(sums.len().max(1)) {
        for (sum, &x) in sums.iter_mut().zip(row) {
            *sum += x;
        }
    }
}
