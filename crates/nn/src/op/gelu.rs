//! GELU by itself: its slope is no function of its value, so that it is no [`Act`](crate::Act).

use super::Op;
use crate::kernel::Gelu;
use crate::{Real, Tape, Var};

/// `y = gelu(x)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GeluOp {
    x: Var,
    form: Gelu,
}

impl<T: Real> Tape<T> {
    /// `gelu(x)`, element by element. The slope is taken from `x`: below -0.75 the curve turns up again.
    pub fn gelu(&mut self, x: Var, form: Gelu) -> Var {
        let ((n, cols), needs_grad) = (self.shape(x), self.needs_grad(x));
        let y = self.push(n, cols, needs_grad, Op::Gelu(GeluOp { x, form }));
        let (before, out) = self.output(y);
        T::gelu(before.of(x), out, form);
        y
    }
}

impl GeluOp {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        if let Some(flow) = tape.flow(y, self.x) {
            T::gelu_backward(flow.values.of(self.x), flow.dy, flow.dx, self.form, flow.add);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, scalar};

    /// Once alone, where the gradient is written, and once beside its input, where it is added.
    #[test]
    fn gradients_equal_differences() {
        for form in [Gelu::Erf, Gelu::Sigmoid] {
            check(&[(3, 4)], |tape, v| {
                let y = tape.gelu(v[0], form);
                scalar(tape, y)
            });
            check(&[(3, 4)], |tape, v| {
                let y = tape.gelu(v[0], form);
                let both = tape.concat(&[y, v[0], y]);
                scalar(tape, both)
            });
        }
    }
}
