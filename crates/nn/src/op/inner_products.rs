//! Inner products of all pairs of a row's vectors.

use super::Op;
use crate::optim::dispatch;
use crate::{Real, Tape, Var};

/// Vectors of `dim`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InnerProducts {
    x: Var,
    dim: usize,
}

impl<T: Real> Tape<T> {
    /// `<e_i, e_j>` for all `i < j` of `x = [e_1; ...; e_F]`, `[n, F * dim]`: `[n, F (F - 1) / 2]`, in the order
    /// (1, 2), (1, 3), ..., (2, 3), ... (the product layer of Qu et al., ICDM 2016). Costs O(F^2 dim) a row.
    pub fn inner_products(&mut self, x: Var, dim: usize) -> Var {
        let (n, cols) = self.shape(x);
        assert!(dim > 0 && cols.is_multiple_of(dim), "inner_products: {cols} columns are no vectors of {dim}");
        let fields = cols / dim;
        let pairs = fields * fields.saturating_sub(1) / 2;
        let needs_grad = self.needs_grad(x);
        let y = self.push(n, pairs, needs_grad, Op::InnerProducts(InnerProducts { x, dim }));
        let (before, out) = self.output(y);
        dispatch(
            #[inline(always)]
            || {
                for (row, y) in before.of(x).chunks_exact(cols.max(1)).zip(out.chunks_exact_mut(pairs.max(1))) {
                    each_pair(
                        fields,
                        #[inline(always)]
                        |pair, i, j| y[pair] = dot(&row[i * dim..][..dim], &row[j * dim..][..dim]),
                    );
                }
            },
        );
        y
    }
}

impl InnerProducts {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let (dim, (_, cols), (_, pairs)) = (self.dim, tape.shape(self.x), tape.shape(y));
        let Some(flow) = tape.flow(y, self.x) else { return };
        let (x, dy, dx) = (flow.values.of(self.x), flow.dy, flow.dx);
        if !flow.add {
            dx.fill(T::ZERO);
        }
        let rows = x.chunks_exact(cols.max(1)).zip(dx.chunks_exact_mut(cols.max(1)));
        dispatch(
            #[inline(always)]
            || {
                for ((row, dx), dy) in rows.zip(dy.chunks_exact(pairs.max(1))) {
                    each_pair(
                        cols / dim,
                        #[inline(always)]
                        |pair, i, j| {
                            let (before, after) = dx.split_at_mut(j * dim);
                            add_scaled(dy[pair], &row[j * dim..][..dim], &mut before[i * dim..][..dim]);
                            add_scaled(dy[pair], &row[i * dim..][..dim], &mut after[..dim]);
                        },
                    );
                }
            },
        );
    }
}

/// Calls `visit(pair, i, j)` for all `i < j`, pairs counted in this order.
#[inline(always)]
fn each_pair(fields: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let mut pair = 0;
    for i in 0..fields {
        for j in i + 1..fields {
            visit(pair, i, j);
            pair += 1;
        }
    }
}

#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut sum = T::ZERO;
    for (&a, &b) in a.iter().zip(b) {
        sum += a * b;
    }
    sum
}

#[inline(always)]
fn add_scaled<T: Real>(scale: T, from: &[T], to: &mut [T]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += scale * from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, normal, scalar};

    /// By hand: e_1 = (1, 2), e_2 = (3, 0), e_3 = (-1, 1).
    #[test]
    fn pairs_are_in_a_fixed_order() {
        let mut tape = Tape::<f32>::new();
        let x = tape.leaf(1, 6, |x| x.copy_from_slice(&[1.0, 2.0, 3.0, 0.0, -1.0, 1.0]));
        let y = tape.inner_products(x, 2);
        assert_eq!(tape.value(y), [3.0, 1.0, -3.0]);
    }

    #[test]
    fn their_sum_is_the_sum_of_the_bi_interaction() {
        let (fields, dim) = (5, 3);
        let mut tape = Tape::<f64>::new();
        let x = tape.leaf(2, fields * dim, |x| x.copy_from_slice(&normal(2 * fields * dim, 1)));
        let (pairs, pooled) = (tape.inner_products(x, dim), tape.bi_interaction(x, dim));
        let sums = [tape.row_sum(&[pairs]), tape.row_sum(&[pooled])];
        for (a, b) in tape.value(sums[0]).iter().zip(tape.value(sums[1])) {
            assert!((a - b).abs() < 1e-12, "{a} and {b}");
        }
    }

    #[test]
    fn gradients_equal_differences() {
        for (n, fields, dim) in [(2, 1, 3), (2, 4, 3)] {
            check(&[(n, fields * dim)], |tape, v| {
                let y = tape.inner_products(v[0], dim);
                let both = tape.concat(&[v[0], y]);
                scalar(tape, both)
            });
        }
    }
}
