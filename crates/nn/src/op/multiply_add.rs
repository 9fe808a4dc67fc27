//! Element-wise product and sum.

use super::Op;
use crate::optim::dispatch;
use crate::{Real, Tape, Var};

/// `y = a * b + c`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MultiplyAdd {
    a: Var,
    b: Var,
    c: Option<Var>,
}

impl<T: Real> Tape<T> {
    /// `a * b`, or `a * b + c`, element by element; all are `[n, cols]`. Operands may coincide.
    pub fn multiply_add(&mut self, a: Var, b: Var, c: Option<Var>) -> Var {
        let shape = self.shape(a);
        for operand in [Some(b), c].into_iter().flatten() {
            assert_eq!(self.shape(operand), shape, "multiply_add: operands have one shape");
        }
        let needs_grad = [Some(a), Some(b), c].into_iter().flatten().any(|v| self.needs_grad(v));
        let y = self.push(shape.0, shape.1, needs_grad, Op::MultiplyAdd(MultiplyAdd { a, b, c }));
        let (before, out) = self.output(y);
        let (a, b) = (before.of(a), before.of(b));
        dispatch(
            #[inline(always)]
            || match c.map(|c| before.of(c)) {
                None => {
                    for ((y, &a), &b) in out.iter_mut().zip(a).zip(b) {
                        *y = a * b;
                    }
                }
                Some(c) => {
                    for (((y, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
                        *y = a * b + c;
                    }
                }
            },
        );
        y
    }
}

impl MultiplyAdd {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        for (operand, other) in [(self.a, self.b), (self.b, self.a)] {
            let Some(flow) = tape.flow(y, operand) else { continue };
            let (other, dy, dx, add) = (flow.values.of(other), flow.dy, flow.dx, flow.add);
            dispatch(
                #[inline(always)]
                || {
                    for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(other) {
                        *dx = if add { *dx + dy * x } else { dy * x };
                    }
                },
            );
        }
        if let Some(flow) = self.c.and_then(|c| tape.flow(y, c)) {
            match flow.add {
                true => flow.dx.iter_mut().zip(flow.dy).for_each(|(dx, &dy)| *dx += dy),
                false => flow.dx.copy_from_slice(flow.dy),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, scalar};

    #[test]
    fn gradients_equal_differences() {
        check(&[(3, 4), (3, 4), (3, 4)], |tape, v| {
            let y = tape.multiply_add(v[0], v[1], Some(v[2]));
            scalar(tape, y)
        });
        check(&[(2, 3), (2, 3)], |tape, v| {
            let y = tape.multiply_add(v[0], v[1], None);
            scalar(tape, y)
        });
    }

    /// `x^2 + x`, whose slope is `2 x + 1`.
    #[test]
    fn operands_may_coincide() {
        check(&[(2, 3)], |tape, v| {
            let y = tape.multiply_add(v[0], v[0], Some(v[0]));
            scalar(tape, y)
        });
    }

    #[test]
    #[should_panic(expected = "multiply_add: operands have one shape")]
    fn wrong_shapes_are_refused() {
        let mut tape = Tape::<f32>::new();
        let (a, b) = (tape.leaf(2, 3, |_| {}), tape.leaf(3, 2, |_| {}));
        tape.multiply_add(a, b, None);
    }
}
