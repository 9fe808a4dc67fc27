//! Linear map, bias and activation.

use super::Op;
use crate::kernel::Act;
use crate::tape::Flow;
use crate::{Real, Tape, Var};

/// `y = act(x w + b)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear {
    x: Var,
    w: Var,
    b: Option<Var>,
    act: Act,
}

impl<T: Real> Tape<T> {
    /// `act(x w + b)`: `x` is `[n, in]`, `w` is `[in, out]` (the transpose of PyTorch's), `b` is `[1, out]`; returns
    /// `[n, out]`.
    ///
    /// With `dz = dy * act'`: `dx = dz w^T`, `dw = x^T dz`, `db` = column sums of `dz`. The slope of the activation
    /// is taken from `y`, so nothing else is kept.
    pub fn linear(&mut self, x: Var, w: Var, b: Option<Var>, act: Act) -> Var {
        let ((n, inputs), (w_rows, outputs)) = (self.shape(x), self.shape(w));
        assert_eq!(w_rows, inputs, "linear: x is [{n}, {inputs}] and w is [{w_rows}, {outputs}]");
        if let Some(b) = b {
            assert_eq!(self.shape(b), (1, outputs), "linear: bias for outputs of w, [{w_rows}, {outputs}]");
        }
        let needs_grad = [Some(x), Some(w), b].into_iter().flatten().any(|v| self.needs_grad(v));
        let y = self.push(n, outputs, needs_grad, Op::Linear(Linear { x, w, b, act }));
        let mut scratch = std::mem::take(&mut self.scratch);
        let (before, out) = self.output(y);
        T::matmul([n, inputs, outputs], before.of(x), before.of(w), out, false, &mut scratch.panels);
        T::bias_act(out, b.map_or(&[], |b| before.of(b)), outputs, act);
        self.scratch = scratch;
        y
    }
}

impl Linear {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let ((n, inputs), (_, outputs)) = (tape.shape(self.x), tape.shape(self.w));
        let mut scratch = std::mem::take(&mut tape.scratch);
        if self.act != Act::Identity {
            let (value, dy) = tape.result(y);
            scratch.dz.resize(scratch.dz.len().max(dy.len()), T::ZERO);
            T::act_backward(value, dy, &mut scratch.dz[..dy.len()], self.act);
        }
        let masked = &scratch.dz[..if self.act == Act::Identity { 0 } else { n * outputs }];
        if let Some(Flow { dy, dx, add, .. }) = self.b.and_then(|b| tape.flow(y, b)) {
            T::column_sum(self.dz(dy, masked), dx, add);
        }
        if let Some(Flow { values, dy, dx, add }) = tape.flow(y, self.w) {
            T::matmul_at([inputs, n, outputs], values.of(self.x), self.dz(dy, masked), dx, add, &mut scratch.panels);
        }
        if let Some(Flow { values, dy, dx, add }) = tape.flow(y, self.x) {
            let dz = self.dz(dy, masked);
            T::matmul_bt([n, outputs, inputs], dz, values.of(self.w), dx, add, &mut scratch.panels);
        }
        tape.scratch = scratch;
    }

    fn dz<'a, T>(self, dy: &'a [T], masked: &'a [T]) -> &'a [T] {
        if self.act == Act::Identity { dy } else { masked }
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
            for n in [0, 1, 4] {
                check(&[(n, 3), (3, 5), (1, 5)], |tape, v| {
                    let y = tape.linear(v[0], v[1], Some(v[2]), act);
                    scalar(tape, y)
                });
                check(&[(n, 3), (3, 2)], |tape, v| {
                    let y = tape.linear(v[0], v[1], None, act);
                    scalar(tape, y)
                });
            }
        }
    }

    /// `x`, `w` and `b` each serve two layers, so that every gradient is a sum.
    #[test]
    fn gradients_of_shared_inputs_add_up() {
        check(&[(4, 3), (3, 3), (1, 3)], |tape, v| {
            let first = tape.linear(v[0], v[1], Some(v[2]), Act::Tanh);
            let second = tape.linear(first, v[1], Some(v[2]), Act::Sigmoid);
            let both = tape.concat(&[second, first, v[0]]);
            scalar(tape, both)
        });
    }

    /// By hand: x = [1, 2], w = [[1, 0, -1], [0.5, 1, 0]], b = [0, -3, 0.25].
    #[test]
    fn values_by_hand() {
        let mut tape = Tape::<f32>::new();
        let x = tape.constant(1, 2, |x| x.copy_from_slice(&[1.0, 2.0]));
        let w = tape.constant(2, 3, |w| w.copy_from_slice(&[1.0, 0.0, -1.0, 0.5, 1.0, 0.0]));
        let b = tape.constant(1, 3, |b| b.copy_from_slice(&[0.0, -3.0, 0.25]));
        let identity = tape.linear(x, w, Some(b), Act::Identity);
        let relu = tape.linear(x, w, Some(b), Act::Relu);
        assert_eq!(tape.value(identity), [2.0, -1.0, -0.75]);
        assert_eq!(tape.value(relu), [2.0, 0.0, 0.0]);
    }

    /// The fast kernels against the plain source, through a layer forward and backward.
    #[test]
    fn f32_follows_f64() {
        for (n, inputs, outputs) in [(1, 1, 1), (3, 24, 50), (37, 20, 17), (64, 5, 1)] {
            // Exponentials are left to the kernel's own test: they stretch what a sum was rounded by.
            for act in ACTS.into_iter().filter(|act| *act != Act::Exp) {
                let (fast, slow) = (run::<f32>(n, inputs, outputs, act), run::<f64>(n, inputs, outputs, act));
                for (fast, slow) in fast.iter().flatten().zip(slow.iter().flatten()) {
                    assert!((fast - slow).abs() < 2e-5 * slow.abs().max(1.0), "{act:?}: {fast} against {slow}");
                }
            }
        }
    }

    /// Value and gradients of one layer; relu's kink is avoided by offsets of the bias.
    fn run<T: Real>(n: usize, inputs: usize, outputs: usize, act: Act) -> [Vec<f64>; 4] {
        let mut tape = Tape::<T>::new();
        let mut leaf = |rows: usize, cols: usize, seed| {
            let values = normal(rows * cols, seed);
            tape.leaf(rows, cols, |leaf| leaf.iter_mut().zip(values).for_each(|(x, v)| *x = T::from_f64(v)))
        };
        let (x, w, b) = (leaf(n, inputs, 1), leaf(inputs, outputs, 2), leaf(1, outputs, 3));
        let y = tape.linear(x, w, Some(b), act);
        let loss = scalar(&mut tape, y);
        tape.backward(loss);
        let f64s = |x: &[T]| x.iter().map(|x| x.to_f64()).collect();
        [f64s(tape.value(y)), f64s(tape.grad(x)), f64s(tape.grad(w)), f64s(tape.grad(b))]
    }

    #[test]
    #[should_panic(expected = "linear: x is [2, 3] and w is [4, 5]")]
    fn wrong_shapes_are_named() {
        let mut tape = Tape::<f32>::new();
        let (x, w) = (tape.leaf(2, 3, |_| {}), tape.leaf(4, 5, |_| {}));
        tape.linear(x, w, None, Act::Identity);
    }
}
