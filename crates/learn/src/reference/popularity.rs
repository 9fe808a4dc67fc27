//! Each item's smoothed positive rate over the last period.

use super::{Tally, logit, smoothed_rate, tally_all};
use hashbrown::HashMap;
use perennial_core::Examples;

/// Weight of the period's mean rate in an item's: an item needs about this many rows to speak for itself.
const PRIOR: f64 = 10.0;

/// A logit per item; the period's mean for items that it did not show.
#[derive(Debug, Clone, PartialEq)]
pub struct Popularity {
    logits: HashMap<u64, f32>,
    otherwise: f32,
}

impl Popularity {
    /// Of the labelled examples of the last period: `(positives + 10 mean) / (rows + 10)` per item.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a Examples> + Clone) -> Popularity {
        let mean = smoothed_rate(tally_all(parts.clone()));
        let mut items: HashMap<u64, Tally> = HashMap::new();
        for part in parts {
            for ((&item, &label), &weight) in part.item.iter().zip(&part.label).zip(&part.weight) {
                items.entry(item).or_default().add(label, weight);
            }
        }
        let rate = |tally: Tally| (tally.positives + PRIOR * mean) / (tally.weight + PRIOR);
        let logits = items.into_iter().map(|(item, tally)| (item, logit(rate(tally)))).collect();
        Popularity { logits, otherwise: logit(mean) }
    }

    /// Logits of rows about `items`.
    pub fn score(&self, items: &[u64]) -> Vec<f32> {
        items.iter().map(|item| self.logits.get(item).copied().unwrap_or(self.otherwise)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popular_items_score_above_unknown_and_those_above_unpopular_ones() {
        let part = Examples {
            item: vec![1, 1, 2, 2],
            label: vec![1.0, 1.0, 0.0, 0.0],
            weight: vec![1.0; 4],
            ..Examples::default()
        };
        let scores = Popularity::of([&part]).score(&[1, 3, 2]);
        assert!(scores[0] > scores[1] && scores[1] > scores[2], "{scores:?}");
        // (2 + 10 * 0.5) / (2 + 10) = 7/12, whose logit is ln(7 / 5).
        assert!((scores[0] - (7.0f32 / 5.0).ln()).abs() < 1e-6);
    }
}
