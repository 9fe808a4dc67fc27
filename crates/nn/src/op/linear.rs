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
        let (before, out) = self.output(y);
        T::matmul([n, inputs, outputs], before.of(x), before.of(w), out, false);
        T::bias_act(out, b.map_or(&[], |b| before.of(b)), outputs, act);
        y
    }
}

impl Linear {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let ((n, inputs), (_, outputs)) = (tape.shape(self.x), tape.shape(self.w));
        let mut scratch = std::mem::take(&mut tape.scratch);
        if self.act != Act::Identity {
            let (value, dy) = tape.result(y);
            scratch.dz.resize(n * outputs, T::ZERO);
            T::act_backward(value, dy, &mut scratch.dz, self.act);
        }
        if let Some(Flow { dy, dx, add, .. }) = self.b.and_then(|b| tape.flow(y, b)) {
            T::column_sum(self.dz(dy, &scratch.dz), dx, add);
        }
        if let Some(Flow { values, dy, dx, add }) = tape.flow(y, self.w) {
            T::matmul_at([inputs, n, outputs], values.of(self.x), self.dz(dy, &scratch.dz), dx, add);
        }
        if let Some(Flow { values, dy, dx, add }) = tape.flow(y, self.x) {
            let dz = self.dz(dy, &scratch.dz);
            T::matmul_bt([n, outputs, inputs], dz, values.of(self.w), dx, add, &mut scratch.transposed);
        }
        tape.scratch = scratch;
    }

    fn dz<'a, T>(self, dy: &'a [T], masked: &'a [T]) -> &'a [T] {
        if self.act == Act::Identity { dy } else { masked }
    }
}
