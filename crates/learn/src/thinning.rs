//! Negative down-sampling: training on a share of the examples without a click, and scores on the scale of all (He et al.,
//! ADKDD 2014, section 6.3).
//!
//! A model that is trained on all positives and a share `r` of the negatives finds odds `1 / r` times too high. What it
//! answers is put right by `q = p / (p + (1 - p) / r)`, which is `ln r` on logits. Order, and so AUC, is that of the model;
//! LogLoss and calibration are those of the log as it is.
//!
//! Two scales meet here. All that is served, kept and reported is on the log's; all that happens in an update is on that of
//! the thinned examples, earlier scores too: one that was served is brought back before a loss compares with it.

use crate::TrainingConfig;
use perennial_core::rng::{Stream, hash_text};
use perennial_stream::SeenPeriod;

/// Which examples are trained on, and what that does to logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thinning {
    kept: f64,
}

impl Thinning {
    /// As the settings say.
    pub fn of(training: &TrainingConfig) -> Thinning {
        Thinning { kept: training.negatives_kept }
    }

    /// The examples that are trained on: all but negatives that are left out. Which those are depends on the event alone, so
    /// that every method and every seed learns from the same ones. Costs a copy of the period, unless all are kept.
    pub fn thin(&self, seen: SeenPeriod) -> SeenPeriod {
        if self.is_off() {
            return seen;
        }
        let mut thinned = seen.filtered(|part, i| part.label[i] > 0.5 || self.keeps(part.event[i]));
        let shift = self.shift();
        thinned.each_previous(|logit| *logit -= shift);
        thinned
    }

    /// Brings logits of a model that was trained on thinned examples to the scale of the log.
    pub fn correct(&self, logits: &mut [f32]) {
        if !self.is_off() {
            let shift = self.shift();
            logits.iter_mut().for_each(|logit| *logit += shift);
        }
    }

    fn is_off(&self) -> bool {
        self.kept == 1.0
    }

    fn shift(&self) -> f32 {
        self.kept.ln() as f32
    }

    fn keeps(&self, event: u64) -> bool {
        Stream::new(&[hash_text("negatives kept"), event]).unit_f64() < self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::{Examples, Timestamp};
    use std::sync::Arc;

    fn period(rows: usize) -> SeenPeriod {
        let mut stream = Stream::new(&[3]);
        let label = (0..rows).map(|_| f32::from(u8::from(stream.unit_f64() < 0.05))).collect();
        let part = Examples {
            label,
            weight: vec![1.0; rows],
            time: vec![Timestamp(0); rows],
            observable: vec![Timestamp(0); rows],
            event: (0..rows as u64).collect(),
            user: vec![0; rows],
            item: vec![0; rows],
            previous: vec![-3.0; rows],
            ..Examples::default()
        };
        SeenPeriod::static_split(vec![Arc::new(part)])
    }

    fn thinning(kept: f64) -> Thinning {
        Thinning::of(&TrainingConfig { negatives_kept: kept, ..TrainingConfig::default() })
    }

    /// A constant model of thinned examples, put right, says what the whole log's clicks are: 5 % of 200,000, of which the
    /// tenth of the negatives that is kept makes 34 %. Five standard errors of a rate of 0.05 over 19,000 negatives.
    #[test]
    fn a_rate_is_put_right() {
        let (whole, thinning) = (period(200_000), thinning(0.1));
        let rate = |seen: &SeenPeriod| {
            let label = &seen.parts()[0].label;
            label.iter().map(|y| f64::from(*y)).sum::<f64>() / label.len() as f64
        };
        let (all, thinned) = (rate(&whole), rate(&thinning.thin(whole.clone())));
        assert!((thinned - all / (all + (1.0 - all) * 0.1)).abs() < 0.01, "{thinned}");
        let mut logits = [(thinned / (1.0 - thinned)).ln() as f32];
        thinning.correct(&mut logits);
        let corrected = 1.0 / (1.0 + (-f64::from(logits[0])).exp());
        assert!((corrected - all).abs() < 0.002, "{corrected} for {all}");
        // q = p / (p + (1 - p) / r)
        assert!((corrected - thinned / (thinned + (1.0 - thinned) / 0.1)).abs() < 1e-7);
    }

    #[test]
    fn all_positives_stay_and_earlier_scores_change_their_scale() {
        let whole = period(10_000);
        let thinned = thinning(0.25).thin(whole.clone());
        let clicks = |seen: &SeenPeriod| seen.parts()[0].label.iter().filter(|y| **y > 0.5).count();
        assert_eq!(clicks(&thinned), clicks(&whole));
        assert!(thinned.rows() < whole.rows() / 3);
        let mut previous = thinned.parts()[0].previous.clone();
        assert!(previous.iter().all(|logit| *logit == -3.0 - 0.25f32.ln()));
        thinning(0.25).correct(&mut previous);
        assert!(previous.iter().all(|logit| *logit == -3.0));
    }

    #[test]
    fn keeping_all_changes_nothing() {
        let (whole, thinning) = (period(100), thinning(1.0));
        assert_eq!(thinning.thin(whole.clone()).parts(), whole.parts());
        let mut logits = [0.1f32, f32::MIN_POSITIVE];
        thinning.correct(&mut logits);
        assert_eq!(logits, [0.1, f32::MIN_POSITIVE]);
    }
}
