//! Sums over rows: the gradient of a bias.

use super::dispatch;
use crate::Real;
use pulp::{Simd, WithSimd};

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

/// [`plain`] in SIMD; equal to it bit for bit.
pub(crate) fn simd(x: &[f32], sums: &mut [f32], add: bool) {
    dispatch(ColumnSum { x, sums, add });
}

struct ColumnSum<'a> {
    x: &'a [f32],
    sums: &'a mut [f32],
    add: bool,
}

impl WithSimd for ColumnSum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if !self.add {
            self.sums.fill(0.0);
        }
        for row in self.x.chunks_exact(self.sums.len().max(1)) {
            let (sums, sums_tail) = S::as_mut_simd_f32s(self.sums);
            let (row, row_tail) = S::as_simd_f32s(row);
            for (sum, &x) in sums.iter_mut().zip(row) {
                *sum = simd.add_f32s(*sum, x);
            }
            for (sum, &x) in sums_tail.iter_mut().zip(row_tail) {
                *sum += x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::{noise, on_every_set};

    #[test]
    fn fast_equals_plain() {
        on_every_set(|| {
            for (rows, cols) in [(0, 3), (1, 1), (3, 0), (7, 16), (9, 37)] {
                for add in [false, true] {
                    let (x, old) = (noise(rows * cols, 1), noise(cols, 2));
                    let (mut expected, mut got) = (old.clone(), old);
                    plain(&x, &mut expected, add);
                    simd(&x, &mut got, add);
                    assert_eq!(got, expected, "[{rows}, {cols}], add {add}");
                }
            }
        });
    }
}
