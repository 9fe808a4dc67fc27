//! From scores and labels to metrics.

use crate::rows::Packed;
use crate::{Error, METRICS, Rows};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a method scored on one period.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodMetrics {
    /// Labelled rows, which the values are about.
    pub rows: u64,
    /// Rows left out because no label became observable.
    pub unlabelled: u64,
    /// Rows with label 1.
    pub positives: u64,
    /// Values by the names in [`METRICS`]; an undefined metric is absent.
    pub values: BTreeMap<String, f64>,
}

impl PeriodMetrics {
    /// The value of a metric, `None` where it is undefined.
    pub fn get(&self, metric: &str) -> Option<f64> {
        self.values.get(metric).copied()
    }
}

/// All metrics of a period.
///
/// `scores` are logits, `labels` 0, 1 or NaN for a row whose label never became observable (skipped and counted),
/// `weights` are at least 0, `users` are keys, 0 if unknown. One of each per row. Errs on the first logit that is not
/// finite, and on other labels and weights, naming the row. Costs two sorts.
///
/// ```
/// let metrics = perennial_eval::evaluate(&[2.0, -1.0, 0.5], &[1.0, 0.0, f32::NAN], &[1.0; 3], &[7, 7, 8])?;
/// assert_eq!(metrics.get("auc"), Some(1.0));
/// assert_eq!((metrics.rows, metrics.unlabelled), (2, 1));
/// # Ok::<(), perennial_eval::Error>(())
/// ```
pub fn evaluate(scores: &[f32], labels: &[f32], weights: &[f32], users: &[u64]) -> Result<PeriodMetrics, Error> {
    let mut all = Accumulator::default();
    all.update(scores, labels, weights, users)?;
    Ok(all.finish())
}

/// Gathers scored rows, in any order and from any number of places.
///
/// Rows are kept (16 bytes each), because only then are the metrics exact and merging parts is the same as never
/// having split, bit for bit.
#[derive(Debug, Clone, Default)]
pub struct Accumulator {
    packed: Vec<Packed>,
    unlabelled: u64,
}

impl Accumulator {
    /// Adds a batch; see [`evaluate`] for the columns. After an error nothing of the batch has been added.
    pub fn update(&mut self, scores: &[f32], labels: &[f32], weights: &[f32], users: &[u64]) -> Result<(), Error> {
        let expected = scores.len();
        for (column, got) in [("labels", labels.len()), ("weights", weights.len()), ("users", users.len())] {
            if got != expected {
                return Err(Error::Length { column, expected, got });
            }
        }
        let before = self.packed.len();
        self.packed.reserve(expected);
        for row in 0..expected {
            match Packed::pack(row, scores[row], labels[row], weights[row], users[row]) {
                Ok(packed) => self.packed.extend(packed),
                Err(error) => {
                    self.packed.truncate(before);
                    return Err(error);
                }
            }
        }
        self.unlabelled += (expected - (self.packed.len() - before)) as u64;
        Ok(())
    }

    /// Adds all that another gathered.
    pub fn merge(&mut self, mut other: Accumulator) {
        self.packed.append(&mut other.packed);
        self.unlabelled += other.unlabelled;
    }

    /// The metrics of all rows.
    pub fn finish(self) -> PeriodMetrics {
        let rows = Rows::sort(self.packed);
        PeriodMetrics {
            rows: rows.len() as u64,
            unlabelled: self.unlabelled,
            positives: rows.iter().filter(|row| row.positive).count() as u64,
            values: METRICS
                .into_iter()
                .filter_map(|metric| Some((metric.name.to_owned(), (metric.compute)(&rows)?)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(scores: &[f32], labels: &[f32], weights: &[f32], users: &[u64], expected: &str) {
        let error = evaluate(scores, labels, weights, users).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn broken_rows_are_named() {
        refused(&[0.0, f32::NAN], &[1.0, f32::NAN], &[1.0; 2], &[0; 2], "row 1: expected a finite logit, got NaN");
        refused(&[f32::INFINITY], &[1.0], &[1.0], &[0], "row 0: expected a finite logit, got inf");
        refused(&[0.0], &[0.5], &[1.0], &[0], "row 0: expected a label of 0 or 1");
        refused(&[0.0], &[1.0], &[-1.0], &[0], "row 0: expected a finite weight");
        refused(&[0.0], &[1.0, 0.0], &[1.0], &[0], "expected 1 labels, one per score, got 2");
    }

    #[test]
    fn a_refused_batch_leaves_nothing_behind() {
        let mut all = Accumulator::default();
        all.update(&[1.0, 2.0], &[0.0, 1.0], &[1.0; 2], &[1, 1]).unwrap();
        let before = all.clone().finish();
        assert!(all.update(&[1.0, f32::NAN], &[f32::NAN, 1.0], &[1.0; 2], &[1, 1]).is_err());
        assert_eq!(all.finish(), before);
    }
}
