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
        scale_slope(tape, y, self.logits, self.slope);
    }
}

/// The way back of a loss that computed its slope by each logit on the way there.
pub(super) fn scale_slope<T: Real>(tape: &mut Tape<T>, y: Var, logits: Var, slope: Var) {
    let Some(flow) = tape.flow(y, logits) else { return };
    let dy = flow.dy[0];
    for (dz, &slope) in flow.dx.iter_mut().zip(flow.values.of(slope)) {
        *dz = if flow.add { *dz + dy * slope } else { dy * slope };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::check;

    fn loss_and_gradient<T: Real>(logits: &[f64], labels: &[f32], normaliser: f64) -> (f64, Vec<f64>) {
        let mut tape = Tape::<T>::new();
        let fill = |z: &mut [T]| z.iter_mut().zip(logits).for_each(|(z, &x)| *z = T::from_f64(x));
        let z = tape.leaf(logits.len(), 1, fill);
        let loss = tape.bce_with_logits(z, labels, &vec![1.0; labels.len()], normaliser);
        tape.backward(loss);
        (tape.value(loss)[0].to_f64(), tape.grad(z).iter().map(|z| z.to_f64()).collect())
    }

    #[test]
    fn gradients_equal_differences() {
        check(&[(4, 1)], |tape, v| tape.bce_with_logits(v[0], &[1.0, 0.0, 0.3, 1.0], &[1.0, 2.0, 0.5, 0.0], 3.5));
        check(&[(1, 1)], |tape, v| tape.bce_with_logits(v[0], &[1.0], &[1.0], 1.0));
    }

    /// The limits: a confident right answer costs nothing, a wrong one |z|; the slope is the probability's error.
    #[test]
    fn stable_far_from_zero() {
        for (z, label, loss, slope) in
            [(1e3, 1.0, 0.0, 0.0), (1e3, 0.0, 1e3, 1.0), (-1e3, 1.0, 1e3, -1.0), (-1e3, 0.0, 0.0, 0.0)]
        {
            for (got, gradient) in
                [loss_and_gradient::<f32>(&[z], &[label], 1.0), loss_and_gradient::<f64>(&[z], &[label], 1.0)]
            {
                assert!((got - loss).abs() < 1e-30 && (gradient[0] - slope).abs() < 1e-30, "logit {z}, label {label}");
            }
        }
    }

    #[test]
    fn shards_add_up() {
        let (logits, labels) = ([0.3, -2.0, 1.5], [1.0, 0.0, 0.0]);
        let (whole, gradient) = loss_and_gradient::<f64>(&logits, &labels, 3.0);
        let (first, head) = loss_and_gradient::<f64>(&logits[..1], &labels[..1], 3.0);
        let (rest, tail) = loss_and_gradient::<f64>(&logits[1..], &labels[1..], 3.0);
        assert!((whole - first - rest).abs() < 1e-15);
        assert_eq!(gradient, [head, tail].concat());
    }

    #[test]
    fn an_empty_batch_loses_nothing() {
        assert_eq!(loss_and_gradient::<f32>(&[], &[], 1.0), (0.0, vec![]));
    }

    #[test]
    fn nan_is_not_hidden() {
        let (loss, gradient) = loss_and_gradient::<f32>(&[0.0, f64::NAN], &[1.0, 1.0], 2.0);
        assert!(loss.is_nan() && gradient[1].is_nan());
    }

    #[test]
    #[should_panic(expected = "the batch's weight must be positive, got 0")]
    fn a_batch_without_weight_is_refused() {
        loss_and_gradient::<f32>(&[1.0], &[1.0], 0.0);
    }
}
