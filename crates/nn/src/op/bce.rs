//! Binary cross entropy on logits.

use super::Op;
use crate::{Real, Tape, Var};

/// The slope by each logit is computed with the loss and kept as a constant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bce {
    logits: Var,
    slope: Var,
}

impl<T: Real> Tape<T> {
    /// Weighted binary cross entropy `sum_i w_i (max(z_i, 0) - z_i y_i + ln(1 + exp(-|z_i|))) / normaliser`, a scalar.
    ///
    /// `logits` is `[n, 1]`; `labels` lie in `[0, 1]` and may be soft; `normaliser` is the weight of the whole batch,
    /// of which this may be one shard, so that the losses and gradients of shards add up. The form is that of
    /// PyTorch's `binary_cross_entropy_with_logits`: the logarithm of a sigmoid would be infinite from z = -104 on.
    /// By each logit the gradient is `w (sigmoid(z) - y) / normaliser`. An empty batch has loss 0.
    pub fn bce_with_logits(&mut self, logits: Var, labels: &[f32], weights: &[f32], normaliser: f64) -> Var {
        let n = labels.len();
        assert_eq!(self.shape(logits), (n, 1), "bce: one logit for each of {n} labels");
        assert_eq!(weights.len(), n, "bce: one weight for each of {n} labels");
        assert!(normaliser > 0.0, "bce: the batch's weight must be positive, got {normaliser}");
        let slope = self.push(n, 1, false, Op::Source);
        let (before, out) = self.output(slope);
        let loss = T::bce(before.of(logits), labels, weights, normaliser, out);
        let needs_grad = self.needs_grad(logits);
        let y = self.push(1, 1, needs_grad, Op::Bce(Bce { logits, slope }));
        self.output(y).1[0] = loss;
        y
    }
}

impl Bce {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let Some(flow) = tape.flow(y, self.logits) else { return };
        let dy = flow.dy[0];
        for (dz, &slope) in flow.dx.iter_mut().zip(flow.values.of(self.slope)) {
            *dz = if flow.add { *dz + dy * slope } else { dy * slope };
        }
    }
}
