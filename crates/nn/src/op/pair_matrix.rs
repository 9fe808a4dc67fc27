//! One matrix that holds a small matrix for each pair of fields.

use super::Op;
use crate::{Real, Tape, Var};

/// Blocks of `dim` by `dim` for pairs of `fields`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PairMatrix {
    m: Var,
    fields: usize,
    dim: usize,
}

impl<T: Real> Tape<T> {
    /// The matrix `W`, `[F * dim, F * dim]`, whose block `(i, j)` is `M_ij` for `i < j` and zero elsewhere. `m` is
    /// `[pairs * dim, dim]`, pairs in the order (1, 2), (1, 3), ..., (2, 3), ...; or `[pairs, dim]`, the diagonals of
    /// diagonal blocks.
    ///
    /// With it `sum_{i<j} e_i M_ij e_j^T` is the row sum of `(x W) * x`: half of the products are by zero, but one
    /// large product fills vectors that `dim` columns would not.
    pub fn pair_matrix(&mut self, m: Var, fields: usize, dim: usize) -> Var {
        let pairs = fields * fields.saturating_sub(1) / 2;
        let shape = self.shape(m);
        let known = shape == (pairs * dim, dim) || shape == (pairs, dim);
        assert!(known, "pair_matrix: {shape:?} is neither {pairs} blocks of {dim} by {dim} nor their diagonals");
        let (width, needs_grad) = (fields * dim, self.needs_grad(m));
        let y = self.push(width, width, needs_grad, Op::PairMatrix(PairMatrix { m, fields, dim }));
        let (before, out) = self.output(y);
        let m = before.of(m);
        out.fill(T::ZERO);
        each_element(m.len(), fields, dim, |from, to| out[to] = m[from]);
        y
    }
}

impl PairMatrix {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let Some(flow) = tape.flow(y, self.m) else { return };
        let (dy, dm, add) = (flow.dy, flow.dx, flow.add);
        each_element(dm.len(), self.fields, self.dim, |from, to| {
            dm[from] = if add { dm[from] + dy[to] } else { dy[to] };
        });
    }
}

/// Calls `visit(position in m, position in W)` for each of the `len` elements of `m`.
fn each_element(len: usize, fields: usize, dim: usize, mut visit: impl FnMut(usize, usize)) {
    let (width, mut from) = (fields * dim, 0);
    let diagonal = len == fields * fields.saturating_sub(1) / 2 * dim;
    for i in 0..fields {
        for j in i + 1..fields {
            for a in 0..dim {
                for b in if diagonal { a..a + 1 } else { 0..dim } {
                    visit(from, (i * dim + a) * width + j * dim + b);
                    from += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Act;
    use crate::op::tests::{check, normal, scalar};

    /// The bilinear form against loops over pairs.
    #[test]
    fn the_form_is_the_sum_over_pairs() {
        let (fields, dim) = (4, 3);
        let pairs = fields * (fields - 1) / 2;
        for rows in [pairs * dim, pairs] {
            let (x, m) = (normal(fields * dim, 1), normal(rows * dim, 2));
            let mut tape = Tape::<f64>::new();
            let input = tape.leaf(1, fields * dim, |leaf| leaf.copy_from_slice(&x));
            let blocks = tape.leaf(rows, dim, |leaf| leaf.copy_from_slice(&m));
            let w = tape.pair_matrix(blocks, fields, dim);
            let v = tape.linear(input, w, None, Act::Identity);
            let product = tape.multiply_add(v, input, None);
            let form = tape.row_sum(&[product]);
            let (mut expected, mut pair) = (0.0, 0);
            for i in 0..fields {
                for j in i + 1..fields {
                    for a in 0..dim {
                        for b in 0..dim {
                            let weight = match rows == pairs {
                                true if a == b => m[pair * dim + a],
                                true => 0.0,
                                false => m[(pair * dim + a) * dim + b],
                            };
                            expected += x[i * dim + a] * weight * x[j * dim + b];
                        }
                    }
                    pair += 1;
                }
            }
            assert!((tape.value(form)[0] - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn gradients_equal_differences() {
        for rows in [3 * 2, 3] {
            check(&[(rows, 2)], |tape, v| {
                let w = tape.pair_matrix(v[0], 3, 2);
                scalar(tape, w)
            });
        }
    }

    #[test]
    #[should_panic(expected = "pair_matrix: (5, 2) is neither 3 blocks of 2 by 2 nor their diagonals")]
    fn wrong_shapes_are_named() {
        let mut tape = Tape::<f32>::new();
        let m = tape.leaf(5, 2, |_| {});
        tape.pair_matrix(m, 3, 2);
    }
}
