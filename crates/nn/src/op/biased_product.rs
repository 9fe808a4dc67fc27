//! Inner product of two vectors, each with a bias beside it.

use super::Op;
use crate::{Real, Tape, Var};

/// Vectors of `dim`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BiasedProduct {
    x: Var,
    dim: usize,
}

impl<T: Real> Tape<T> {
    /// `<u, v> + a + b` for `x = [u; a; v; b]`, `[n, 2 (dim + 1)]`: `[n, 1]`. The logit of matrix factorisation, whose
    /// rows hold a vector and a bias.
    pub fn biased_product(&mut self, x: Var, dim: usize) -> Var {
        let (n, cols) = self.shape(x);
        assert_eq!(cols, 2 * (dim + 1), "biased_product: {cols} columns are no two vectors of {dim} with biases");
        let needs_grad = self.needs_grad(x);
        let y = self.push(n, 1, needs_grad, Op::BiasedProduct(BiasedProduct { x, dim }));
        let (before, out) = self.output(y);
        for (row, y) in before.of(x).chunks_exact(cols).zip(out) {
            let (left, right) = row.split_at(dim + 1);
            let mut sum = left[dim] + right[dim];
            for (&u, &v) in left[..dim].iter().zip(right) {
                sum += u * v;
            }
            *y = sum;
        }
        y
    }
}

impl BiasedProduct {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let (dim, (_, cols)) = (self.dim, tape.shape(self.x));
        let Some(flow) = tape.flow(y, self.x) else { return };
        if !flow.add {
            flow.dx.fill(T::ZERO);
        }
        let rows = flow.values.of(self.x).chunks_exact(cols).zip(flow.dx.chunks_exact_mut(cols));
        for ((row, dx), &dy) in rows.zip(flow.dy) {
            let ((left, right), (d_left, d_right)) = (row.split_at(dim + 1), dx.split_at_mut(dim + 1));
            for d in 0..dim {
                d_left[d] += dy * right[d];
                d_right[d] += dy * left[d];
            }
            d_left[dim] += dy;
            d_right[dim] += dy;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, scalar};

    /// By hand: u = (1, 2), a = 0.5, v = (3, -1), b = -4; 3 - 2 + 0.5 - 4 = -2.5.
    #[test]
    fn values_by_hand() {
        let mut tape = Tape::<f32>::new();
        let x = tape.leaf(1, 6, |x| x.copy_from_slice(&[1.0, 2.0, 0.5, 3.0, -1.0, -4.0]));
        let y = tape.biased_product(x, 2);
        assert_eq!(tape.value(y), [-2.5]);
    }

    #[test]
    fn gradients_equal_differences() {
        for (n, dim) in [(1, 1), (3, 4)] {
            check(&[(n, 2 * (dim + 1)), (n, 1)], |tape, v| {
                let y = tape.biased_product(v[0], dim);
                let both = tape.concat(&[v[0], y, v[1]]);
                scalar(tape, both)
            });
        }
        check(&[(3, 6)], |tape, v| {
            let y = tape.biased_product(v[0], 2);
            scalar(tape, y)
        });
    }

    #[test]
    #[should_panic(expected = "biased_product: 5 columns")]
    fn wrong_shapes_are_refused() {
        let mut tape = Tape::<f32>::new();
        let x = tape.leaf(2, 5, |_| {});
        tape.biased_product(x, 2);
    }
}
