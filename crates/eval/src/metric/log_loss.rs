//! Mean binary cross-entropy, also called negative log-likelihood.

use super::weighted_mean;
use crate::{Better, Metric, Row, Rows};

/// The weighted mean of `ln(1 + e^z) - y z` in nats, from logits and without clipping.
///
/// Written as `max(z, 0) - y z + ln(1 + e^-|z|)`: through a probability it would be infinite from |z| = 37 on.
pub(crate) static LOG_LOSS: Metric = Metric {
    name: "log_loss",
    title: "LogLoss",
    meaning: "How surprised the model is by what happened, in nats per row.",
    needs: "a row",
    unit: "nats",
    better: Better::Lower,
    truth_is_best: true,
    digits: 4,
    compute,
};

pub(super) fn compute(rows: &Rows) -> Option<f64> {
    weighted_mean(rows, loss)
}

/// Of one row.
pub(crate) fn loss(row: &Row) -> f64 {
    let z = row.logit;
    let label = f64::from(u8::from(row.positive));
    z.max(0.0) - label * z + (-z.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use crate::evaluate;

    fn log_loss(scores: &[f32], labels: &[f32], weights: &[f32]) -> f64 {
        evaluate(scores, labels, weights, &vec![0; scores.len()]).unwrap().get("log_loss").unwrap()
    }

    #[test]
    fn is_stable_at_a_thousand() {
        assert_eq!(log_loss(&[1000.0], &[1.0], &[1.0]), 0.0);
        assert_eq!(log_loss(&[1000.0], &[0.0], &[1.0]), 1000.0);
        assert_eq!(log_loss(&[-1000.0], &[1.0], &[1.0]), 1000.0);
        // math.exp(-40): the loss of being nearly sure and right does not vanish.
        assert!((log_loss(&[40.0], &[1.0], &[1.0]) / 4.248354255291589e-18 - 1.0).abs() < 1e-14);
    }

    #[test]
    fn agrees_with_scikit_learn() {
        // sklearn 1.9.1: log_loss([1,0,1], expit([.5,-1.25,-2]), sample_weight=[1,2,.5])
        let got = log_loss(&[0.5, -1.25, -2.0], &[1.0, 0.0, 1.0], &[1.0, 2.0, 0.5]);
        assert!((got - 0.5832569006835254).abs() < 1e-15, "{got}");
    }
}
