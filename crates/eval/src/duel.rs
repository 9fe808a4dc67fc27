//! Two scorers on the same rows, and how much of the difference would be left on other rows of the same kind: the paired
//! bootstrap (Efron, Annals of Statistics 1979), over clusters of rows where they belong together.

use crate::metric::log_loss;
use crate::rows::{Packed, Row, ordered};
use crate::{Error, Metric, Rows};
use perennial_core::Stream;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What two scorers are compared by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// Area under the ROC curve: only the order of scores counts.
    #[default]
    Auc,
    /// Mean binary cross-entropy in nats.
    LogLoss,
}

impl Criterion {
    /// The metric.
    pub fn metric(self) -> &'static Metric {
        match self {
            Criterion::Auc => &crate::metric::auc::AUC,
            Criterion::LogLoss => &crate::metric::log_loss::LOG_LOSS,
        }
    }

    /// The value over these rows, one of each per row; `None` where it is undefined. `labels` are 0, 1, or NaN for a row
    /// that does not count. Errs on a logit that is not finite.
    pub fn value(self, logits: &[f32], labels: &[f32], weights: &[f32]) -> Result<Option<f64>, Error> {
        let mut packed = Vec::with_capacity(logits.len());
        for (row, ((logit, label), weight)) in logits.iter().zip(labels).zip(weights).enumerate() {
            packed.extend(Packed::pack(row, *logit, *label, *weight, 0)?);
        }
        Ok((self.metric().compute)(&Rows::sort(packed)))
    }

    /// By how much `candidate` is better than `base`: above zero is better, whatever the direction of the metric.
    pub fn gain(self, candidate: f64, base: f64) -> f64 {
        self.metric().better.badness(base) - self.metric().better.badness(candidate)
    }
}

/// Rows that a candidate and a base model scored, ready to be drawn again.
#[derive(Debug)]
pub struct Duel {
    criterion: Criterion,
    candidate: f64,
    base: f64,
    units: usize,
    sample: Sample,
}

/// What a draw needs.
#[derive(Debug)]
enum Sample {
    /// The rows by ascending score, as each of the two ordered them.
    Ranks { candidate: Vec<Ranked>, base: Vec<Ranked> },
    /// Of each unit: what the candidate gained, summed over rows by their weight, and the weight.
    Losses(Vec<[f64; 2]>),
}

/// A row in the order of its scores.
#[derive(Debug, Clone, Copy)]
struct Ranked {
    unit: u32,
    /// Above zero for a positive, below for a negative.
    weight: f32,
    /// Whether it has the score of the row before.
    tied: bool,
}

impl Duel {
    /// Compares two columns of logits on the same rows. `labels` are 0, 1, or NaN for a row that does not count; weights
    /// are at least 0. Rows of one key in `units` are drawn together, a row of key 0 alone.
    ///
    /// `None` where the criterion is undefined, and where all rows are one unit, which says nothing about others. Errs on
    /// a logit that is not finite. Costs two sorts.
    pub fn new(
        criterion: Criterion,
        [candidate, base]: [&[f32]; 2],
        labels: &[f32],
        weights: &[f32],
        units: &[u64],
    ) -> Result<Option<Duel>, Error> {
        let value = |logits: &[f32]| criterion.value(logits, labels, weights);
        let (Some(candidate_value), Some(base_value)) = (value(candidate)?, value(base)?) else { return Ok(None) };
        let counted = |row: &u32| !labels[*row as usize].is_nan() && weights[*row as usize] > 0.0;
        let rows: Vec<u32> = (0..labels.len() as u32).filter(counted).collect();
        let (unit, count) = number(&rows, units);
        if count < 2 {
            return Ok(None);
        }
        let sample = match criterion {
            Criterion::Auc => {
                let ranks = |logits| rank(logits, labels, weights, &rows, &unit);
                Sample::Ranks { candidate: ranks(candidate), base: ranks(base) }
            }
            Criterion::LogLoss => Sample::Losses(losses([candidate, base], labels, weights, &rows, &unit, count)),
        };
        Ok(Some(Duel { criterion, candidate: candidate_value, base: base_value, units: count, sample }))
    }

    /// The candidate's value on the rows as they are.
    pub fn candidate(&self) -> f64 {
        self.candidate
    }

    /// The base model's value on the rows as they are.
    pub fn base(&self) -> f64 {
        self.base
    }

    /// By how much the candidate is better on the rows as they are.
    pub fn gain(&self) -> f64 {
        self.criterion.gain(self.candidate, self.base)
    }

    /// By how much it is better on as many units, drawn with replacement; both scorers meet the same ones. A draw in which
    /// the criterion is undefined is drawn again. `counts` is memory to be reused. One pass over the rows of each.
    pub fn redrawn(&self, stream: &mut Stream, counts: &mut Vec<u32>) -> f64 {
        loop {
            counts.clear();
            counts.resize(self.units, 0);
            for _ in 0..self.units {
                counts[stream.below(self.units as u64) as usize] += 1;
            }
            if let Some(gain) = self.gain_of(counts) {
                return gain;
            }
        }
    }

    fn gain_of(&self, counts: &[u32]) -> Option<f64> {
        match &self.sample {
            Sample::Ranks { candidate, base } => {
                Some(self.criterion.gain(area(candidate, counts)?, area(base, counts)?))
            }
            Sample::Losses(units) => {
                let drawn = units.iter().zip(counts);
                let [gain, weight] = drawn.fold([0.0, 0.0], |[gain, weight], (unit, count)| {
                    [gain + unit[0] * f64::from(*count), weight + unit[1] * f64::from(*count)]
                });
                (weight > 0.0).then(|| gain / weight)
            }
        }
    }
}

/// The unit of each of the rows, and how many units there are.
fn number(rows: &[u32], keys: &[u64]) -> (Vec<u32>, usize) {
    let (mut known, mut count) = (HashMap::new(), 0u32);
    let mut next = || {
        count += 1;
        count - 1
    };
    let unit = |row: &u32| match keys[*row as usize] {
        0 => next(),
        key => *known.entry(key).or_insert_with(&mut next),
    };
    let unit = rows.iter().map(unit).collect();
    (unit, count as usize)
}

fn rank(logits: &[f32], labels: &[f32], weights: &[f32], rows: &[u32], unit: &[u32]) -> Vec<Ranked> {
    // Adding zero turns -0 into +0, which must tie with it.
    let score = |at: &u32| ordered(logits[rows[*at as usize] as usize] + 0.0);
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    order.sort_unstable_by_key(|at| (score(at), *at));
    let ranked = |nth: usize| {
        let (at, row) = (order[nth] as usize, rows[order[nth] as usize] as usize);
        let weight = if labels[row] == 1.0 { weights[row] } else { -weights[row] };
        Ranked { unit: unit[at], weight, tied: nth > 0 && score(&order[nth - 1]) == score(&order[nth]) }
    };
    (0..order.len()).map(ranked).collect()
}

/// The AUC of rows of which each counts as often as its unit was drawn.
fn area(ranked: &[Ranked], counts: &[u32]) -> Option<f64> {
    let (mut won, mut positive, mut negative) = (0.0, 0.0, 0.0);
    let mut tied = [0.0, 0.0];
    for row in ranked {
        if !row.tied {
            won += tied[1] * (negative + tied[0] / 2.0);
            (negative, positive, tied) = (negative + tied[0], positive + tied[1], [0.0, 0.0]);
        }
        let weight = f64::from(row.weight) * f64::from(counts[row.unit as usize]);
        tied[usize::from(row.weight > 0.0)] += weight.abs();
    }
    won += tied[1] * (negative + tied[0] / 2.0);
    let pairs = (positive + tied[1]) * (negative + tied[0]);
    (pairs > 0.0).then(|| won / pairs)
}

fn losses(
    logits: [&[f32]; 2],
    labels: &[f32],
    weights: &[f32],
    rows: &[u32],
    unit: &[u32],
    units: usize,
) -> Vec<[f64; 2]> {
    let mut sums = vec![[0.0, 0.0]; units];
    for (row, unit) in rows.iter().map(|row| *row as usize).zip(unit) {
        let weight = f64::from(weights[row]);
        let [candidate, base] = logits.map(|logits| {
            let logit = f64::from(logits[row]);
            log_loss::loss(&Row { logit, positive: labels[row] == 1.0, weight, user: 0 })
        });
        let sum = &mut sums[*unit as usize];
        *sum = [sum[0] + weight * (base - candidate), sum[1] + weight];
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate;
    use proptest::prelude::*;

    /// Rows of which the candidate knows the label up to `noise` and the base model up to `base_noise`.
    fn rows(seed: u64, noise: f64, base_noise: f64) -> ([Vec<f32>; 2], Vec<f32>, Vec<u64>) {
        let mut stream = Stream::new(&[seed]);
        let labels: Vec<f32> = (0..400).map(|_| stream.below(2) as f32).collect();
        let mut logits = |noise: f64| labels.iter().map(|y| (f64::from(*y) + noise * stream.normal()) as f32).collect();
        ([logits(noise), logits(base_noise)], labels, (0..400).map(|row| 1 + row % 40).collect())
    }

    fn duel(criterion: Criterion, seed: u64, noises: (f64, f64), clustered: bool) -> Duel {
        let ([candidate, base], labels, users) = rows(seed, noises.0, noises.1);
        let units = if clustered { users } else { vec![0; 400] };
        Duel::new(criterion, [&candidate, &base], &labels, &[1.0; 400], &units).unwrap().unwrap()
    }

    fn redrawn(duel: &Duel, draws: u64) -> Vec<f64> {
        let mut counts = Vec::new();
        (0..draws).map(|draw| duel.redrawn(&mut Stream::new(&[draw]), &mut counts)).collect()
    }

    /// Drawn once each, the units are the rows as they are.
    fn undrawn(duel: &Duel) -> f64 {
        duel.gain_of(&vec![1; duel.units]).unwrap()
    }

    proptest! {
        #[test]
        fn values_are_those_of_the_metric_and_a_draw_of_everything_is_their_difference(
            rows in prop::collection::vec((-3i8..3, -3i8..3, any::<bool>(), prop_oneof![Just(1.0f32), 0.0f32..2.0], 0u64..4), 2..40),
        ) {
            let column = |f: fn(&(i8, i8, bool, f32, u64)) -> f32| rows.iter().map(f).collect::<Vec<f32>>();
            let (candidate, base) = (column(|row| row.0.into()), column(|row| row.1.into()));
            let (labels, weights) = (column(|row| f32::from(u8::from(row.2))), column(|row| row.3));
            let users: Vec<u64> = rows.iter().map(|row| row.4).collect();
            for criterion in [Criterion::Auc, Criterion::LogLoss] {
                let Some(duel) = Duel::new(criterion, [&candidate, &base], &labels, &weights, &users).unwrap() else {
                    continue;
                };
                let value = |logits: &[f32]| evaluate(logits, &labels, &weights, &users).unwrap().get(criterion.metric().name);
                prop_assert_eq!((Some(duel.candidate()), Some(duel.base())), (value(&candidate), value(&base)));
                prop_assert!((undrawn(&duel) - duel.gain()).abs() < 1e-9, "{} {}", undrawn(&duel), duel.gain());
            }
        }
    }

    /// The bootstrap's spread is that of the gain over samples drawn anew from the same world: within a fifth, over 300 of
    /// each.
    #[test]
    fn draws_spread_as_new_samples_do() {
        let spread = |values: &[f64]| crate::paired::deviation(values).unwrap();
        for criterion in [Criterion::Auc, Criterion::LogLoss] {
            let drawn = spread(&redrawn(&duel(criterion, 0, (1.0, 1.2), false), 300));
            let anew: Vec<f64> = (1..301).map(|seed| duel(criterion, seed, (1.0, 1.2), false).gain()).collect();
            let anew = spread(&anew);
            assert!((drawn / anew - 1.0).abs() < 0.2, "{criterion:?}: {drawn} by drawing, {anew} anew");
        }
    }

    /// Where all rows of a user agree, there are as many witnesses as users: the spread grows with the square root of the
    /// rows of each, here 10.
    #[test]
    fn rows_of_one_unit_are_one_witness() {
        let ([candidate, base], labels, _) = rows(3, 1.0, 1.2);
        let tenfold = |column: &[f32]| column.iter().flat_map(|x| [*x; 10]).collect::<Vec<f32>>();
        let users: Vec<u64> = (1..401).flat_map(|user| [user; 10]).collect();
        let (candidate, base, labels) = (tenfold(&candidate), tenfold(&base), tenfold(&labels));
        let spread = |units: &[u64]| {
            let duel = Duel::new(Criterion::Auc, [&candidate, &base], &labels, &[1.0; 4000], units).unwrap().unwrap();
            crate::paired::deviation(&redrawn(&duel, 300)).unwrap()
        };
        let ratio = spread(&users) / spread(&[0; 4000]);
        assert!((ratio / 10f64.sqrt() - 1.0).abs() < 0.2, "{ratio}");
    }

    #[test]
    fn who_is_better_gains_in_nearly_every_draw() {
        for criterion in [Criterion::Auc, Criterion::LogLoss] {
            for clustered in [false, true] {
                let better = redrawn(&duel(criterion, 5, (0.5, 2.0), clustered), 100);
                assert!(better.iter().all(|gain| *gain > 0.0), "{criterion:?}");
                let worse = redrawn(&duel(criterion, 5, (2.0, 0.5), clustered), 100);
                assert!(worse.iter().all(|gain| *gain < 0.0), "{criterion:?}");
                let same = Duel { base: 0.0, ..duel(criterion, 5, (1.0, 1.0), clustered) };
                assert_eq!(redrawn(&same, 5), redrawn(&same, 5), "a stream gives one draw");
            }
        }
    }

    #[test]
    fn what_says_nothing_is_none_and_what_is_broken_errs() {
        let of = |criterion, logits: &[f32], labels: &[f32], units: [u64; 3]| {
            Duel::new(criterion, [logits, logits], labels, &[1.0; 3], &units)
        };
        let (logits, both) = ([0.1, 0.2, 0.3], [1.0, 0.0, 1.0]);
        assert!(of(Criterion::Auc, &logits, &both, [0; 3]).unwrap().is_some());
        assert!(of(Criterion::Auc, &logits, &[1.0; 3], [0; 3]).unwrap().is_none(), "one class");
        assert!(of(Criterion::LogLoss, &logits, &[1.0; 3], [0; 3]).unwrap().is_some());
        assert!(of(Criterion::LogLoss, &logits, &[f32::NAN; 3], [0; 3]).unwrap().is_none(), "no label");
        assert!(of(Criterion::Auc, &logits, &both, [7; 3]).unwrap().is_none(), "one unit");
        assert!(of(Criterion::Auc, &[f32::INFINITY; 3], &both, [0; 3]).is_err());
    }

    /// One positive among few units: a third of the draws miss it and are drawn again.
    #[test]
    fn a_draw_without_one_class_is_drawn_again() {
        let duel =
            Duel::new(Criterion::Auc, [&[3.0, 1.0, 2.0], &[1.0, 2.0, 3.0]], &[1.0, 0.0, 0.0], &[1.0; 3], &[0; 3]);
        assert!(redrawn(&duel.unwrap().unwrap(), 50).iter().all(|gain| *gain == 1.0));
    }
}
