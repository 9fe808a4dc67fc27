//! Dropout whose choices have names.

use crate::{Real, Tape, Var};
use perennial_core::rng::{hash_parts, mix};

impl<T: Real> Tape<T> {
    /// Sets elements to zero with probability `rate`, which lies in `[0, 1)`, and divides the others by `1 - rate`
    /// (Srivastava et al., JMLR 2014). `x` is `[n, cols]`; `rows` names its rows.
    ///
    /// Whether an element is dropped depends on `key`, the name of its row and its column, on nothing else: not on
    /// which rows are computed together, in which order and by whom.
    pub fn dropout(&mut self, x: Var, rate: f32, key: u64, rows: &[u32]) -> Var {
        let (n, cols) = self.shape(x);
        assert_eq!(rows.len(), n, "dropout: one name for each of {n} rows");
        assert!((0.0..1.0).contains(&rate), "dropout: the rate must lie in [0, 1), got {rate}");
        let keep = T::from_f64(1.0 / (1.0 - f64::from(rate)));
        let threshold = (f64::from(rate) * f64::from(u32::MAX)) as u32;
        let mask = self.constant(n, cols, |mask| {
            for (mask, &row) in mask.chunks_exact_mut(cols.max(1)).zip(rows) {
                fill(mask, hash_parts(&[key, u64::from(row)]), threshold, keep);
            }
        });
        self.multiply_add(x, mask, None)
    }
}

/// Two elements share one number of 64 bits, half each.
fn fill<T: Real>(mask: &mut [T], row: u64, threshold: u32, keep: T) {
    for (pair, at) in mask.chunks_mut(2).zip(0u64..) {
        let bits = mix(row.wrapping_add(at));
        for (x, bits) in pair.iter_mut().zip([bits as u32, (bits >> 32) as u32]) {
            *x = if bits < threshold { T::ZERO } else { keep };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, scalar};

    fn dropped(rate: f32, key: u64, rows: &[u32], cols: usize) -> Vec<f32> {
        let mut tape = Tape::<f32>::new();
        let x = tape.leaf(rows.len(), cols, |x| x.fill(1.0));
        let y = tape.dropout(x, rate, key, rows);
        tape.value(y).to_vec()
    }

    #[test]
    fn a_row_is_the_same_in_any_company() {
        let together = dropped(0.5, 7, &[3, 9, 4], 33);
        for (row, expected) in [3, 9, 4].into_iter().zip(together.chunks(33)) {
            assert_eq!(dropped(0.5, 7, &[row], 33), expected);
        }
        assert_ne!(together[..33], together[33..66], "rows differ");
        assert_ne!(dropped(0.5, 8, &[3], 33), together[..33], "keys differ");
    }

    /// 400,000 draws: five standard errors are 0.0036 at most.
    #[test]
    fn the_rate_is_kept_and_so_is_the_mean() {
        let rows: Vec<u32> = (0..1000).collect();
        for rate in [0.0, 0.1, 0.5, 0.9] {
            let y = dropped(rate, 1, &rows, 401);
            let zeros = y.iter().filter(|&&y| y == 0.0).count() as f64 / y.len() as f64;
            assert!((zeros - f64::from(rate)).abs() < 0.004, "{zeros} of {rate}");
            assert!(y.iter().all(|&y| y == 0.0 || (y - 1.0 / (1.0 - rate)).abs() < 1e-6));
        }
        assert!(dropped(0.0, 1, &rows, 401).iter().all(|&y| y == 1.0), "a rate of 0 changes nothing");
    }

    #[test]
    fn gradients_equal_differences() {
        check(&[(3, 4)], |tape, v| {
            let y = tape.dropout(v[0], 0.4, 5, &[2, 0, 7]);
            scalar(tape, y)
        });
    }
}
