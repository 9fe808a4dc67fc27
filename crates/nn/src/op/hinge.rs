//! Not to do worse than before: hinges against the logits of an earlier model.

use super::Op;
use crate::{Real, Tape, Var};

/// What may not get worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hinge {
    /// The distance of the probability from the label: `y max(p~ - p, 0) + (1 - y) max(p - p~, 0)`, the self-correction
    /// of ReLoop (Cai et al., SIGIR 2022, section 3).
    Probability,
    /// The cross-entropy: `max(l(y, p) - l(y, p~), 0)`. Its slope is that of cross-entropy where an example got worse.
    LogLoss,
}

/// The slope by each logit is computed with the loss and kept as a constant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegressionHinge {
    logits: Var,
    slope: Var,
}

impl<T: Real> Tape<T> {
    /// The weighted hinge `sum_i w_i hinge(z_i, z~_i, y_i) / normaliser`, a scalar.
    ///
    /// `logits` is `[n, 1]`; `previous` are logits of an earlier model, NaN where there is none: such an example
    /// contributes nothing. At the kink, where nothing got worse or better, the slope is 0. `normaliser` is the weight
    /// of the whole batch, of which this may be one shard.
    pub fn regression_hinge(
        &mut self,
        hinge: Hinge,
        logits: Var,
        previous: &[f32],
        labels: &[f32],
        weights: &[f32],
        normaliser: f64,
    ) -> Var {
        let n = labels.len();
        assert_eq!(self.shape(logits), (n, 1), "hinge: one logit for each of {n} labels");
        assert_eq!((previous.len(), weights.len()), (n, n), "hinge: one earlier logit and weight for each label");
        assert!(normaliser > 0.0, "hinge: the batch's weight must be positive, got {normaliser}");
        let slope = self.push(n, 1, false, Op::Source);
        let (before, out) = self.output(slope);
        let examples = before.of(logits).iter().zip(previous).zip(labels).zip(weights);
        let mut sum = 0.0;
        for (slope, (((&z, &old), &y), &w)) in out.iter_mut().zip(examples) {
            let (loss, by_logit) = if old.is_nan() { (T::ZERO, T::ZERO) } else { of_example(hinge, z, old, y) };
            let w = T::from_f32(w);
            sum += (w * loss).to_f64();
            *slope = w * by_logit / T::from_f64(normaliser);
        }
        let needs_grad = self.needs_grad(logits);
        let y = self.push(1, 1, needs_grad, Op::RegressionHinge(RegressionHinge { logits, slope }));
        self.output(y).1[0] = T::from_f64(sum / normaliser);
        y
    }
}

/// Loss and its slope by `z`. NaN in `z` is not hidden.
fn of_example<T: Real>(hinge: Hinge, z: T, old: f32, y: f32) -> (T, T) {
    let (old, y) = (T::from_f32(old), T::from_f32(y));
    let p = z.sigmoid();
    // Zero, or NaN where z is.
    let none = (z * T::ZERO, z * T::ZERO);
    match hinge {
        Hinge::Probability => {
            let worse = p - old.sigmoid();
            let steep = p * (T::ONE - p);
            // A soft label is the mixture of both hard ones.
            match () {
                _ if z < old => (-(y * worse), -(y * steep)),
                _ if z > old => ((T::ONE - y) * worse, (T::ONE - y) * steep),
                _ => none,
            }
        }
        Hinge::LogLoss => {
            let worse = cross_entropy(z, y) - cross_entropy(old, y);
            if worse > T::ZERO { (worse, p - y) } else { none }
        }
    }
}

fn cross_entropy<T: Real>(z: T, y: T) -> T {
    z.relu() - z * y + (-z.abs()).exp().ln_1p()
}

impl RegressionHinge {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        super::bce::scale_slope(tape, y, self.logits, self.slope);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::check;

    const BOTH: [Hinge; 2] = [Hinge::Probability, Hinge::LogLoss];

    fn run(hinge: Hinge, logits: &[f32], previous: &[f32], labels: &[f32]) -> (f32, Vec<f32>) {
        let mut tape = Tape::<f32>::new();
        let z = tape.leaf_of(logits.len(), 1, logits);
        let loss = tape.regression_hinge(hinge, z, previous, labels, &vec![1.0; labels.len()], 1.0);
        tape.backward(loss);
        (tape.value(loss)[0], tape.grad(z).to_vec())
    }

    #[test]
    fn gradients_equal_differences() {
        for hinge in BOTH {
            let (previous, labels) = ([0.5, -0.5, f32::NAN, 2.0, -2.0], [1.0, 0.0, 1.0, 1.0, 0.25]);
            check(&[(5, 1)], |tape, v| {
                tape.regression_hinge(hinge, v[0], &previous, &labels, &[1.0, 2.0, 0.5, 3.0, 1.0], 3.5)
            });
        }
    }

    /// ReLoop's spec, section 2: the slope is 0 at equality, and where there is nothing to compare with.
    #[test]
    fn nothing_pulls_at_the_kink_or_without_a_previous_score() {
        for hinge in BOTH {
            for y in [0.0, 1.0] {
                assert_eq!(run(hinge, &[0.7, 0.7], &[0.7, f32::NAN], &[y, y]), (0.0, vec![0.0, 0.0]), "{hinge:?}");
            }
        }
    }

    /// ReLoop's spec, test 3, for both hinges: 0 exactly if the example did not get worse, and the same for the
    /// opposite label and logits.
    #[test]
    fn only_what_got_worse_costs_and_both_labels_are_alike() {
        for hinge in BOTH {
            for (z, old) in [(0.3, -1.0), (-1.0, 0.3), (2.0, 2.5), (-3.0, -3.5)] {
                let (of_click, of_none) = (run(hinge, &[z], &[old], &[1.0]).0, run(hinge, &[z], &[old], &[0.0]).0);
                assert_eq!((of_click > 0.0, of_none > 0.0), (z < old, z > old), "{hinge:?} {z} {old}");
                let mirrored = run(hinge, &[-z], &[-old], &[0.0]).0;
                assert!((of_click - mirrored).abs() < 1e-6, "{hinge:?}: {of_click}, {mirrored}");
            }
        }
    }

    /// ReLoop's spec, test 2: against a perfect earlier score the hinge is the distance from the label, against the
    /// worst possible it is nothing.
    #[test]
    fn a_perfect_teacher_demands_all_and_the_worst_nothing() {
        for (z, y) in [(0.3f32, 1.0f32), (-2.0, 1.0), (1.5, 0.0)] {
            let right = if y == 1.0 { 100.0 } else { -100.0 };
            let p = 1.0 / (1.0 + (-z).exp());
            let (demanding, _) = run(Hinge::Probability, &[z], &[right], &[y]);
            assert!((demanding - (y - p).abs()).abs() < 1e-6);
            assert_eq!(run(Hinge::Probability, &[z], &[-right], &[y]).0, 0.0);
        }
    }

    /// ReLoop's spec, section 8: on what got worse the slope is that of cross-entropy.
    #[test]
    fn regret_is_cross_entropy_on_what_got_worse() {
        let (loss, slope) = run(Hinge::LogLoss, &[0.2, 1.0], &[0.9, 0.0], &[1.0, 1.0]);
        let l = |z: f32| (-z).exp().ln_1p();
        assert!((loss - (l(0.2) - l(0.9))).abs() < 1e-6);
        assert!((slope[0] - (1.0 / (1.0 + (-0.2f32).exp()) - 1.0)).abs() < 1e-6 && slope[1] == 0.0);
    }

    #[test]
    fn nan_is_not_hidden() {
        for hinge in BOTH {
            assert!(run(hinge, &[f32::NAN], &[0.0], &[1.0]).0.is_nan(), "{hinge:?}");
        }
    }
}
