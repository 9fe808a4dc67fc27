//! Losses on pairs of examples of one request: one that was clicked and one that was not.

use super::Op;
use crate::{Real, Tape, Var};
use std::ops::Range;

/// What a pair should be. `d` is the logit of the clicked example less that of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairLoss {
    /// `ln(1 + exp(-d))`: RankNet's, and BPR's where the others are sampled negatives (Rendle et al., UAI 2009).
    Logistic,
    /// `max(d~ - d, 0)`, `d~` being the difference that an earlier model made: no pair shall come closer.
    Regression,
}

/// The slope by each logit is computed with the loss and kept as a constant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pairs {
    logits: Var,
    slope: Var,
}

impl<T: Real> Tape<T> {
    /// `sum_i w_i mean_j loss(i, j) / normaliser`, a scalar, over the clicked examples i and the others j of i's request.
    ///
    /// `logits` is `[n, 1]`; `requests` are runs of examples and cover all of them. A clicked example counts its weight,
    /// however many others there are; one without any, or without a pair that both have a logit in `previous`
    /// (NaN where there is none, read by [`PairLoss::Regression`] only), counts nothing. `normaliser` is the weight of the
    /// whole batch, of which this may be one shard. Costs the number of pairs.
    #[expect(clippy::too_many_arguments, reason = "what each example has, and how they lie together")]
    pub fn pair_loss(
        &mut self,
        loss: PairLoss,
        logits: Var,
        previous: &[f32],
        labels: &[f32],
        weights: &[f32],
        requests: &[Range<usize>],
        normaliser: f64,
    ) -> Var {
        let n = labels.len();
        assert_eq!(self.shape(logits), (n, 1), "pairs: one logit for each of {n} labels");
        assert_eq!((previous.len(), weights.len()), (n, n), "pairs: one earlier logit and weight for each label");
        assert_eq!(requests.last().map_or(0, |run| run.end), n, "pairs: requests cover all {n} examples");
        assert!(normaliser > 0.0, "pairs: the batch's weight must be positive, got {normaliser}");
        let slope = self.push(n, 1, false, Op::Source);
        let (before, out) = self.output(slope);
        out.fill(T::ZERO);
        let logits_of = before.of(logits);
        let mut sum = T::ZERO;
        for run in requests {
            for clicked in run.clone().filter(|&i| labels[i] > 0.5) {
                let pair = |other: usize| of_pair(loss, logits_of, previous, clicked, other);
                let others = run.clone().filter(|&j| labels[j] <= 0.5).filter_map(|j| Some((j, pair(j)?)));
                let count = others.clone().count();
                let share = T::from_f32(weights[clicked]) / T::from_f64(normaliser * count.max(1) as f64);
                for (other, (value, by_difference)) in others {
                    sum += share * value;
                    out[clicked] += share * by_difference;
                    out[other] += -(share * by_difference);
                }
            }
        }
        let needs_grad = self.needs_grad(logits);
        let y = self.push(1, 1, needs_grad, Op::Pairs(Pairs { logits, slope }));
        self.output(y).1[0] = sum;
        y
    }
}

/// Loss and its slope by the difference; none where an earlier logit is asked for and there is none.
fn of_pair<T: Real>(loss: PairLoss, logits: &[T], previous: &[f32], clicked: usize, other: usize) -> Option<(T, T)> {
    let d = logits[clicked] - logits[other];
    match loss {
        PairLoss::Logistic => Some(((-d).relu() + (-d.abs()).exp().ln_1p(), d.sigmoid() - T::ONE)),
        PairLoss::Regression => {
            let before = previous[clicked] - previous[other];
            let lost = T::from_f32(before) - d;
            match () {
                _ if before.is_nan() => None,
                _ if lost <= T::ZERO => Some((T::ZERO, T::ZERO)),
                _ => Some((lost, -T::ONE)),
            }
        }
    }
}

impl Pairs {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        super::bce::scale_slope(tape, y, self.logits, self.slope);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::check;

    const LABELS: [f32; 7] = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0];
    const WEIGHTS: [f32; 7] = [1.0, 9.0, 9.0, 2.0, 0.5, 9.0, 1.0];
    const PREVIOUS: [f32; 7] = [2.0, 0.5, f32::NAN, 3.0, -1.0, -4.0, 0.0];

    /// Three requests: one click against two others, two clicks against one, and a click alone.
    fn requests() -> [Range<usize>; 3] {
        [0..3, 3..6, 6..7]
    }

    fn run(loss: PairLoss, logits: &[f64; 7]) -> (f64, Vec<f64>) {
        let mut tape = Tape::<f64>::new();
        let z = tape.leaf_of(7, 1, logits);
        let y = tape.pair_loss(loss, z, &PREVIOUS, &LABELS, &WEIGHTS, &requests(), 4.0);
        tape.backward(y);
        (tape.value(y)[0], tape.grad(z).to_vec())
    }

    #[test]
    fn gradients_equal_differences() {
        for loss in [PairLoss::Logistic, PairLoss::Regression] {
            check(&[(7, 1)], |tape, v| tape.pair_loss(loss, v[0], &PREVIOUS, &LABELS, &WEIGHTS, &requests(), 4.0));
        }
    }

    /// The sum written out: weights are those of clicks, a click shares its own among its pairs.
    #[test]
    fn every_pair_within_a_request_counts_and_no_other() {
        let z = [0.3, -0.2, 0.9, 1.0, -1.0, 0.5, 7.0];
        let logistic = |d: f64| (-d).exp().ln_1p();
        let (first, second) = ((logistic(0.5) + logistic(-0.6)) / 2.0, [logistic(0.5), logistic(-1.5)]);
        let expected = (first + 2.0 * second[0] + 0.5 * second[1]) / 4.0;
        let (loss, slope) = run(PairLoss::Logistic, &z);
        assert!((loss - expected).abs() < 1e-12, "{loss}, {expected}");
        assert!(slope.iter().sum::<f64>().abs() < 1e-12, "a pair pulls both ways alike");
        assert_eq!(slope[6], 0.0, "alone in its request");
    }

    /// Of the first request only the pair with an earlier score for both counts: 1.5 before, 0.5 now. In the second,
    /// 7 became 0.5, and 3 became -1.5.
    #[test]
    fn only_pairs_that_came_closer_cost() {
        let (loss, _) = run(PairLoss::Regression, &[0.3, -0.2, 0.9, 1.0, -1.0, 0.5, 7.0]);
        assert!((loss - (1.0 + 2.0 * 6.5 + 0.5 * 4.5) / 4.0).abs() < 1e-6, "{loss}");
        let apart = [10.0, -10.0, 0.0, 10.0, 10.0, -10.0, 0.0];
        assert_eq!(run(PairLoss::Regression, &apart), (0.0, vec![0.0; 7]));
    }
}
