//! The last period's positive rate for everyone: an AUC of one half, and the LogLoss to beat.

use super::{logit, smoothed_rate, tally_all};
use perennial_core::Examples;

/// One logit for all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constant {
    logit: f32,
}

impl Constant {
    /// Of the labelled examples of the last period.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a Examples>) -> Constant {
        Constant { logit: logit(smoothed_rate(tally_all(parts))) }
    }

    /// `[rows]` logits.
    pub fn score(&self, rows: usize) -> Vec<f32> {
        vec![self.logit; rows]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_smoothed_rate() {
        let part = Examples { label: vec![1.0, 0.0, 0.0], weight: vec![1.0; 3], ..Examples::default() };
        // (1 + 1) / (3 + 2) = 0.4, whose logit is ln(0.4 / 0.6).
        let scores = Constant::of([&part]).score(2);
        assert!(scores.iter().all(|s| (f64::from(*s) - (0.4f64 / 0.6).ln()).abs() < 1e-6));
        assert_eq!(Constant::of([]).score(1), [0.0], "with nothing seen the rate is one half");
    }
}
