//! The catalogue of metrics. A metric is one file in `metric/` and one line in [`METRICS`].

pub(crate) mod auc;
mod calibration;
mod expected_calibration_error;
mod gauc;
pub(crate) mod log_loss;
mod normalised_entropy;

use crate::{Error, Rows};
use std::cmp::Ordering;

/// Every metric, in the order in which tables and reports show them.
pub const METRICS: [&Metric; 6] = [
    &auc::AUC,
    &gauc::GAUC,
    &log_loss::LOG_LOSS,
    &normalised_entropy::NORMALISED_ENTROPY,
    &calibration::CALIBRATION,
    &expected_calibration_error::EXPECTED_CALIBRATION_ERROR,
];

/// What a metric is, and how it is computed.
#[derive(Debug)]
pub struct Metric {
    /// Name in results, columns and configuration.
    pub name: &'static str,
    /// Name in tables and plots.
    pub title: &'static str,
    /// What it measures, in one sentence for people.
    pub meaning: &'static str,
    /// What the rows must have for it to be defined.
    pub needs: &'static str,
    /// Unit of its values.
    pub unit: &'static str,
    /// Which values are better.
    pub better: Better,
    /// Whether the true probabilities are the best scores in expectation, so that the distance to them has a meaning.
    pub truth_is_best: bool,
    /// Decimals to show; values are kept in full.
    pub digits: usize,
    /// The value over these rows; `None` where it is undefined.
    pub compute: fn(&Rows) -> Option<f64>,
}

/// Which of two values of a metric is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The higher one.
    Higher,
    /// The lower one.
    Lower,
    /// The one whose ratio to 1 is nearer to 1.
    NearOne,
}

impl Better {
    /// Distance from the ideal up to a constant: lower is better for every metric.
    pub fn badness(self, value: f64) -> f64 {
        match self {
            Better::Higher => -value,
            Better::Lower => value,
            Better::NearOne => value.ln().abs(),
        }
    }

    /// Orders the better value first.
    pub fn compare(self, a: f64, b: f64) -> Ordering {
        self.badness(a).total_cmp(&self.badness(b))
    }

    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Better::Higher => "higher is better",
            Better::Lower => "lower is better",
            Better::NearOne => "1 is ideal",
        }
    }
}

impl Metric {
    /// The metric of this name; the error lists those there are.
    pub fn named(name: &str) -> Result<&'static Metric, Error> {
        METRICS.into_iter().find(|metric| metric.name == name).ok_or_else(|| Error::NoMetric {
            name: name.to_owned(),
            known: METRICS.map(|metric| metric.name).join(", "),
        })
    }

    /// A value with the metric's decimals.
    pub fn show(&self, value: f64) -> String {
        format!("{value:.*}", self.digits)
    }
}

/// Sum of `weight * value` over the sum of weights; `None` if there is no weight.
fn weighted_mean(rows: &Rows, value: impl Fn(&crate::Row) -> f64) -> Option<f64> {
    let (sum, weight) =
        rows.iter().fold((0.0, 0.0), |(sum, weight), row| (sum + row.weight * value(&row), weight + row.weight));
    (weight > 0.0).then(|| sum / weight)
}

/// The weighted share of positives, `None` if there is no weight.
fn base_rate(rows: &Rows) -> Option<f64> {
    weighted_mean(rows, |row| f64::from(u8::from(row.positive)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Accumulator;
    use proptest::prelude::*;

    /// Few distinct logits, so that ties abound; labels may be absent.
    fn row() -> impl Strategy<Value = (f32, f32, f32, u64)> {
        (
            prop_oneof![(-3i8..3).prop_map(f32::from), -5.0f32..5.0],
            prop_oneof![Just(0.0), Just(1.0), Just(f32::NAN)],
            prop_oneof![Just(1.0), Just(0.0), 0.0f32..3.0],
            0u64..5,
        )
    }

    fn gather(rows: &[(f32, f32, f32, u64)]) -> Accumulator {
        let mut all = Accumulator::default();
        let logits: Vec<f32> = rows.iter().map(|row| row.0).collect();
        let labels: Vec<f32> = rows.iter().map(|row| row.1).collect();
        let weights: Vec<f32> = rows.iter().map(|row| row.2).collect();
        let users: Vec<u64> = rows.iter().map(|row| row.3).collect();
        all.update(&logits, &labels, &weights, &users).unwrap();
        all
    }

    proptest! {
        #[test]
        fn merged_parts_are_the_whole_bit_for_bit(
            (rows, shuffled) in prop::collection::vec(row(), 0..60).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
            cut in 0usize..60,
        ) {
            let (left, right) = shuffled.split_at(cut.min(rows.len()));
            let mut parts = gather(right);
            parts.merge(gather(left));
            prop_assert_eq!(parts.finish(), gather(&rows).finish());
        }

        #[test]
        fn values_are_finite(rows in prop::collection::vec(row(), 0..40)) {
            prop_assert!(gather(&rows).finish().values.values().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn every_metric_is_described_and_absent_without_rows() {
        for (i, metric) in METRICS.into_iter().enumerate() {
            assert!(METRICS[..i].iter().all(|other| other.name != metric.name), "{} twice", metric.name);
            assert!(metric.meaning.ends_with('.') && !metric.needs.is_empty() && !metric.unit.is_empty());
            assert_eq!((metric.compute)(&Rows::sort(Vec::new())), None, "{}", metric.name);
            assert_eq!(Metric::named(metric.name).unwrap().name, metric.name);
        }
        assert!(Metric::named("acu").unwrap_err().to_string().contains("auc, gauc"));
    }

    #[test]
    fn better_orders_the_better_first() {
        assert_eq!(Better::Higher.compare(0.7, 0.6), Ordering::Less);
        assert_eq!(Better::Lower.compare(0.7, 0.6), Ordering::Greater);
        assert_eq!(Better::NearOne.compare(0.9, 1.2), Ordering::Less);
        assert_eq!(Better::NearOne.compare(0.5, 1.5), Ordering::Greater);
    }
}
