//! Matrix products. Row-major, no padding; with `add` the product is added to what `c` holds.

use crate::Real;

/// `c[m, n] = a[m, k] b[k, n]`.
pub(crate) fn plain<T: Real>([m, k, n]: [usize; 3], a: &[T], b: &[T], c: &mut [T], add: bool) {
    product([m, k, n], |i, p| a[i * k + p], |p, j| b[p * n + j], c, add);
}

/// `c[m, n] = a^T b` for `a[k, m]`, `b[k, n]`.
pub(crate) fn plain_at<T: Real>([m, k, n]: [usize; 3], a: &[T], b: &[T], c: &mut [T], add: bool) {
    product([m, k, n], |i, p| a[p * m + i], |p, j| b[p * n + j], c, add);
}

/// `c[m, n] = a b^T` for `a[m, k]`, `b[n, k]`.
pub(crate) fn plain_bt<T: Real>([m, k, n]: [usize; 3], a: &[T], b: &[T], c: &mut [T], add: bool) {
    product([m, k, n], |i, p| a[i * k + p], |p, j| b[j * k + p], c, add);
}

fn product<T: Real>(
    [m, k, n]: [usize; 3],
    a: impl Fn(usize, usize) -> T,
    b: impl Fn(usize, usize) -> T,
    c: &mut [T],
    add: bool,
) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = if add { c[i * n + j] } else { T::ZERO };
            for p in 0..k {
                sum += a(i, p) * b(p, j);
            }
            c[i * n + j] = sum;
        }
    }
}
