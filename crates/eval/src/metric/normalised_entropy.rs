//! Normalised entropy (He et al., "Practical lessons from predicting clicks on ads at Facebook", ADKDD 2014).

use super::{base_rate, log_loss};
use crate::{Better, Metric, Rows};

/// LogLoss over the entropy of the base rate: 1 is what a constant at the true base rate scores.
///
/// Unlike LogLoss it can be compared between periods with different base rates. Undefined if there is one class.
pub(super) static NORMALISED_ENTROPY: Metric = Metric {
    name: "normalised_entropy",
    title: "NE",
    meaning: "LogLoss as a share of what always predicting the period's own click rate would lose.",
    needs: "a positive and a negative",
    unit: "ratio",
    better: Better::Lower,
    truth_is_best: true,
    digits: 4,
    compute,
};

fn compute(rows: &Rows) -> Option<f64> {
    let p = base_rate(rows).filter(|p| *p > 0.0 && *p < 1.0)?;
    let entropy = -(p * p.ln() + (1.0 - p) * (-p).ln_1p());
    Some(log_loss::compute(rows)? / entropy)
}

#[cfg(test)]
mod tests {
    use crate::evaluate;

    fn check(scores: &[f32], labels: &[f32], expected: Option<f64>) {
        let n = scores.len();
        let got = evaluate(scores, labels, &vec![1.0; n], &vec![0; n]).unwrap().get("normalised_entropy");
        match (got, expected) {
            (Some(got), Some(expected)) => assert!((got - expected).abs() < 1e-7, "{got} {expected}"),
            (got, expected) => assert_eq!(got, expected),
        }
    }

    #[test]
    fn predicting_the_base_rate_scores_one() {
        // logit(1/4) = -ln 3
        check(&[-(3.0f32.ln()); 4], &[1.0, 0.0, 0.0, 0.0], Some(1.0));
        check(&[30.0, -30.0], &[1.0, 0.0], Some(0.0));
        check(&[0.0, 0.0], &[1.0, 1.0], None);
    }
}
