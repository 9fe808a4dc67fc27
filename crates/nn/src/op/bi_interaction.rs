//! The second-order part of factorisation machines.

use super::Op;
use crate::optim::dispatch;
use crate::{Real, Tape, Var};

/// `sums` holds each row's sum of vectors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BiInteraction {
    x: Var,
    sums: Var,
}

impl<T: Real> Tape<T> {
    /// The sum over all pairs of the element-wise product of a row's vectors: `y_d = sum_{i<j} e_id e_jd` for
    /// `x = [e_1; ...; e_F]`, `[n, F * dim]`; returns `[n, dim]`, whose row sums are the second-order term of a
    /// factorisation machine (Rendle, ICDM 2010; bi-interaction pooling of He and Chua, SIGIR 2017).
    ///
    /// Each vector is multiplied by the sum of those before it: O(F dim) like the published
    /// `((sum e)^2 - sum e^2) / 2`, and nothing cancels. The gradient by `e_f` is `dy * (sum e - e_f)`.
    pub fn bi_interaction(&mut self, x: Var, dim: usize) -> Var {
        let (n, cols) = self.shape(x);
        assert!(dim > 0 && cols.is_multiple_of(dim), "bi_interaction: {cols} columns are no vectors of {dim}");
        let needs_grad = self.needs_grad(x);
        let sums = self.push(n, dim, false, Op::Source);
        let y = self.push(n, dim, needs_grad, Op::BiInteraction(BiInteraction { x, sums }));
        let (before, out) = self.output_pair(sums, y);
        dispatch(
            #[inline(always)]
            || forward(before.of(x), cols, dim, out),
        );
        y
    }
}

#[inline(always)]
fn forward<T: Real>(x: &[T], cols: usize, dim: usize, [sums, y]: [&mut [T]; 2]) {
    sums.fill(T::ZERO);
    y.fill(T::ZERO);
    for (i, row) in x.chunks_exact(cols.max(1)).enumerate() {
        let (sum, y) = (&mut sums[i * dim..][..dim], &mut y[i * dim..][..dim]);
        for e in row.chunks_exact(dim) {
            for d in 0..dim {
                y[d] += e[d] * sum[d];
                sum[d] += e[d];
            }
        }
    }
}

impl BiInteraction {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let ((_, cols), (_, dim)) = (tape.shape(self.x), tape.shape(y));
        let Some(flow) = tape.flow(y, self.x) else { return };
        let (x, sums, dy) = (flow.values.of(self.x), flow.values.of(self.sums), flow.dy);
        let (dx, add) = (flow.dx, flow.add);
        dispatch(
            #[inline(always)]
            || {
                for (i, (row, dx)) in x.chunks_exact(cols.max(1)).zip(dx.chunks_exact_mut(cols.max(1))).enumerate() {
                    let (sum, dy) = (&sums[i * dim..][..dim], &dy[i * dim..][..dim]);
                    for (e, dx) in row.chunks_exact(dim).zip(dx.chunks_exact_mut(dim)) {
                        for d in 0..dim {
                            let g = dy[d] * (sum[d] - e[d]);
                            dx[d] = if add { dx[d] + g } else { g };
                        }
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, normal, scalar};

    #[test]
    fn equals_all_pairs_one_by_one() {
        let (n, fields, dim) = (3, 4, 5);
        let x = normal(n * fields * dim, 1);
        let mut tape = Tape::<f64>::new();
        let leaf = tape.leaf(n, fields * dim, |leaf| leaf.copy_from_slice(&x));
        let y = tape.bi_interaction(leaf, dim);
        for (i, row) in x.chunks(fields * dim).enumerate() {
            for d in 0..dim {
                let pairs = (0..fields).flat_map(|a| (a + 1..fields).map(move |b| (a, b)));
                let expected: f64 = pairs.map(|(a, b)| row[a * dim + d] * row[b * dim + d]).sum();
                assert!((tape.value(y)[i * dim + d] - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn gradients_equal_differences() {
        for (n, fields, dim) in [(1, 1, 2), (2, 4, 3)] {
            check(&[(n, fields * dim), (n, 1)], |tape, v| {
                let y = tape.bi_interaction(v[0], dim);
                let both = tape.concat(&[y, v[0]]);
                scalar(tape, both)
            });
        }
    }

    #[test]
    fn one_field_has_no_pair_and_no_rows_are_no_rows() {
        let mut tape = Tape::<f32>::new();
        let x = tape.leaf(2, 3, |x| x.fill(7.0));
        let y = tape.bi_interaction(x, 3);
        assert_eq!(tape.value(y), [0.0; 6]);
        let none = tape.leaf(0, 3, |_| {});
        let y = tape.bi_interaction(none, 3);
        assert_eq!(tape.shape(y), (0, 3));
    }
}
