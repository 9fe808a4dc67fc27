//! Numbers as inputs.

use super::vocabulary::RESERVED_ROWS;
use perennial_core::Column;
use serde::{Deserialize, Serialize};

/// How numeric fields become inputs. What is fitted is fitted on the first training data and then kept: inputs that
/// change their scale from period to period would look like drift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumericEncoding {
    /// `(x - mean) / std`; null is 0, the mean. The default.
    #[default]
    Standard,
    /// As it is; null is 0.
    Raw,
    /// One of this many buckets with equal counts in the first training data, each with an embedding; null is a
    /// bucket of its own.
    Buckets(u32),
}

/// What was fitted for one numeric feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum NumericState {
    /// No training data was seen.
    Unfitted,
    /// Subtract, then multiply.
    Affine {
        /// Subtracted.
        shift: f32,
        /// Multiplied.
        scale: f32,
    },
    /// Inner edges of the buckets, ascending.
    Edges {
        /// A value goes to the bucket after the last edge that is not above it.
        edges: Vec<f32>,
        /// Bucket of null.
        null: u32,
    },
}

impl NumericState {
    /// Fits on training values; NaN is null and left out. Without any value nothing is fitted.
    pub fn fit(encoding: NumericEncoding, values: impl Iterator<Item = f32>) -> NumericState {
        let mut present: Vec<f32> = values.filter(|value| !value.is_nan()).collect();
        if present.is_empty() {
            return NumericState::Unfitted;
        }
        match encoding {
            NumericEncoding::Raw => NumericState::Affine { shift: 0.0, scale: 1.0 },
            NumericEncoding::Standard => standardise(&present),
            NumericEncoding::Buckets(buckets) => {
                present.sort_unstable_by(f32::total_cmp);
                NumericState::Edges { edges: quantiles(&present, buckets), null: buckets }
            }
        }
    }

    /// Encodes `[examples]` numbers: as numbers, or as rows of buckets.
    pub fn encode(&self, encoding: NumericEncoding, values: &[f32]) -> Column {
        match self {
            NumericState::Unfitted => unfitted(encoding, values.len()),
            NumericState::Affine { shift, scale } => {
                Column::Numeric(values.iter().map(|x| if x.is_nan() { 0.0 } else { (x - shift) * scale }).collect())
            }
            NumericState::Edges { edges, null } => {
                let bucket = |x: &f32| match x.is_nan() {
                    true => *null,
                    false => edges.partition_point(|edge| edge <= x) as u32,
                };
                Column::Id(values.iter().map(|x| RESERVED_ROWS as u32 + bucket(x)).collect())
            }
        }
    }
}

/// What stands for numbers before any was seen: the mean, or the bucket of null.
fn unfitted(encoding: NumericEncoding, rows: usize) -> Column {
    match encoding {
        NumericEncoding::Buckets(buckets) => Column::Id(vec![RESERVED_ROWS as u32 + buckets; rows]),
        NumericEncoding::Standard | NumericEncoding::Raw => Column::Numeric(vec![0.0; rows]),
    }
}

fn standardise(values: &[f32]) -> NumericState {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    // A constant field says nothing; any finite scale will do.
    let scale = if variance > 0.0 { 1.0 / variance.sqrt() } else { 1.0 };
    NumericState::Affine { shift: mean as f32, scale: scale as f32 }
}

/// Inner edges that cut sorted values into `buckets` of equal counts; equal edges are merged.
fn quantiles(sorted: &[f32], buckets: u32) -> Vec<f32> {
    let at = |k: u32| sorted.get(sorted.len() * k as usize / buckets as usize).copied();
    let mut edges: Vec<f32> = (1..buckets).filter_map(at).collect();
    edges.dedup();
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_has_mean_zero_and_variance_one() {
        let state = NumericState::fit(NumericEncoding::Standard, [1.0, 3.0, f32::NAN].into_iter());
        assert_eq!(
            state.encode(NumericEncoding::Standard, &[1.0, 3.0, f32::NAN]),
            Column::Numeric(vec![-1.0, 1.0, 0.0])
        );
    }

    #[test]
    fn buckets_hold_equal_counts_and_null_has_its_own() {
        let state = NumericState::fit(NumericEncoding::Buckets(4), (0..8).map(|x| x as f32));
        // Edges 2, 4, 6: two values to each bucket; rows start after the reserved two.
        let encoded = state.encode(NumericEncoding::Buckets(4), &[-9.0, 0.0, 1.0, 2.0, 3.9, 4.0, 7.0, 99.0, f32::NAN]);
        assert_eq!(encoded, Column::Id(vec![2, 2, 2, 3, 3, 4, 5, 5, 6]));
    }

    #[test]
    fn a_constant_or_empty_field_stays_finite() {
        let constant = NumericState::fit(NumericEncoding::Standard, [5.0, 5.0].into_iter());
        let empty = NumericState::fit(NumericEncoding::Standard, [f32::NAN].into_iter());
        assert_eq!(empty, NumericState::Unfitted, "what was fitted on nothing would be kept for ever");
        for state in [constant, empty] {
            let Column::Numeric(encoded) = state.encode(NumericEncoding::Standard, &[5.0, 6.0]) else {
                panic!("numbers")
            };
            assert!(encoded.iter().all(|x| x.is_finite()));
        }
    }
}
