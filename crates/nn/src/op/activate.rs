//! An activation by itself, where something stands between it and the linear map.

use super::Op;
use crate::kernel::Act;
use crate::{Real, Tape, Var};

/// `y = act(x)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activate {
    x: Var,
    act: Act,
}

impl<T: Real> Tape<T> {
    /// `act(x)`, element by element; the slope is taken from the value.
    pub fn activate(&mut self, x: Var, act: Act) -> Var {
        let ((n, cols), needs_grad) = (self.shape(x), self.needs_grad(x));
        let y = self.push(n, cols, needs_grad, Op::Activate(Activate { x, act }));
        let (before, out) = self.output(y);
        out.copy_from_slice(before.of(x));
        T::bias_act(out, &[], cols, act);
        y
    }
}

impl Activate {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let mut scratch = std::mem::take(&mut tape.scratch);
        if let Some(flow) = tape.flow(y, self.x) {
            let value = flow.values.of(y);
            match flow.add {
                false => T::act_backward(value, flow.dy, flow.dx, self.act),
                true => {
                    scratch.dz.resize(scratch.dz.len().max(value.len()), T::ZERO);
                    let g = &mut scratch.dz[..value.len()];
                    T::act_backward(value, flow.dy, g, self.act);
                    flow.dx.iter_mut().zip(g).for_each(|(dx, g)| *dx += *g);
                }
            }
        }
        tape.scratch = scratch;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, normal, scalar};

    const ACTS: [Act; 5] = [Act::Identity, Act::Relu, Act::Sigmoid, Act::Tanh, Act::Exp];

    #[test]
    fn gradients_equal_differences() {
        for act in ACTS {
            check(&[(3, 4)], |tape, v| {
                let y = tape.activate(v[0], act);
                let both = tape.concat(&[y, v[0]]);
                scalar(tape, both)
            });
        }
    }

    #[test]
    fn it_is_the_activation_of_a_linear_map() {
        for act in ACTS {
            let mut tape = Tape::<f32>::new();
            let x = tape.leaf(3, 5, |x| x.iter_mut().zip(normal(15, 1)).for_each(|(x, v)| *x = v as f32));
            let w = tape.leaf(5, 4, |w| w.iter_mut().zip(normal(20, 2)).for_each(|(w, v)| *w = v as f32));
            let fused = tape.linear(x, w, None, act);
            let plain = tape.linear(x, w, None, Act::Identity);
            let apart = tape.activate(plain, act);
            assert_eq!(tape.value(apart), tape.value(fused));
        }
    }
}
