//! The same numbers in rows of another length.

use super::Op;
use crate::{Real, Tape, Var};

/// A copy, since gradients of both shapes may be summed from several sides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reshape {
    x: Var,
}

impl<T: Real> Tape<T> {
    /// The elements of `x` in their order as `[rows, cols]`.
    pub fn reshape(&mut self, x: Var, rows: usize, cols: usize) -> Var {
        let (shape, needs_grad) = (self.shape(x), self.needs_grad(x));
        assert_eq!(shape.0 * shape.1, rows * cols, "reshape: {shape:?} does not hold [{rows}, {cols}]");
        let y = self.push(rows, cols, needs_grad, Op::Reshape(Reshape { x }));
        let (before, out) = self.output(y);
        out.copy_from_slice(before.of(x));
        y
    }

    /// The values of `x` as a constant: no gradient goes further back.
    pub fn detach(&mut self, x: Var) -> Var {
        let (rows, cols) = self.shape(x);
        let y = self.push(rows, cols, false, Op::Source);
        let (before, out) = self.output(y);
        out.copy_from_slice(before.of(x));
        y
    }
}

impl Reshape {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let Some(flow) = tape.flow(y, self.x) else { return };
        match flow.add {
            true => flow.dx.iter_mut().zip(flow.dy).for_each(|(dx, &dy)| *dx += dy),
            false => flow.dx.copy_from_slice(flow.dy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, scalar};

    #[test]
    fn gradients_equal_differences() {
        check(&[(4, 3)], |tape, v| {
            let (wide, same) = (tape.reshape(v[0], 2, 6), tape.reshape(v[0], 4, 3));
            let back = tape.reshape(same, 2, 6);
            let both = tape.concat(&[wide, back]);
            scalar(tape, both)
        });
    }

    #[test]
    fn nothing_flows_through_what_is_detached() {
        let mut tape = Tape::<f64>::new();
        let x = tape.leaf(2, 1, |x| x.copy_from_slice(&[3.0, -1.0]));
        let held = tape.detach(x);
        assert_eq!(tape.value(held), [3.0, -1.0]);
        let product = tape.multiply_add(held, x, None);
        let loss = scalar(&mut tape, product);
        tape.backward(loss);
        let through = tape.grad(product).to_vec();
        assert_eq!(tape.grad(x), [3.0 * through[0], -through[1]], "the slope of c x, not of x^2");
    }
}
