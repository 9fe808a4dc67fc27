//! Which examples train which step of a sequence, and what each step counts.

use crate::order::shuffled;
use perennial_core::rng::hash_text;
use perennial_core::{Encoded, Stream};
use serde::{Deserialize, Serialize};

/// What the steps of a sequence count in the loss. The weights of a sequence sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepLoss {
    /// The last step alone.
    Last,
    /// In proportion to 1, 2, 3, ...
    Linear,
    /// All alike.
    Uniform,
    /// In proportion to e, e^2, e^3, ...
    Exponential,
}

impl StepLoss {
    /// The weight of each of `steps` steps.
    pub(crate) fn weights(self, steps: usize) -> Vec<f64> {
        let raw = |step: usize| match self {
            StepLoss::Last => f64::from(u8::from(step + 1 == steps)),
            StepLoss::Linear => (step + 1) as f64,
            StepLoss::Uniform => 1.0,
            // Relative to the last, lest a long sequence overflow.
            StepLoss::Exponential => (step as f64 - (steps - 1) as f64).exp(),
        };
        let sum: f64 = (0..steps).map(raw).sum();
        (0..steps).map(|step| raw(step) / sum).collect()
    }
}

/// Mini-batches for every step of a sequence: as many as the newest set gives; the older sets are shuffled on their own
/// and cut into the same number of parts, the remainder spread over them.
pub(crate) struct Schedule<'a> {
    /// What each step is trained on; `None` for a step that does not count.
    pub(crate) sets: Vec<Option<&'a Encoded>>,
    orders: Vec<Vec<u32>>,
    batch_size: usize,
    count: usize,
}

impl<'a> Schedule<'a> {
    /// The last of `sets` is the newest. The order is keyed by (seed, period, epoch, steps from the end), so that
    /// sequences of different lengths meet the newest set in the same order. By request, examples of one lie together, but a
    /// batch may end within it, and the pairs that it parts do not count.
    pub(crate) fn new(
        sets: Vec<Option<&'a Encoded>>,
        batch_size: usize,
        [seed, period, epoch]: [u64; 3],
        by_request: bool,
    ) -> Schedule<'a> {
        let newest = sets.last().copied().flatten().map_or(0, Encoded::len);
        let back = |step: usize| (sets.len() - 1 - step) as u64;
        let order = |(step, set): (usize, &Option<&Encoded>)| {
            let mut stream = Stream::new(&[seed, hash_text("meta order"), period, epoch, back(step)]);
            set.map_or_else(Vec::new, |set| shuffled(set, by_request, &mut stream))
        };
        let orders = sets.iter().enumerate().map(order).collect();
        Schedule { orders, batch_size, count: newest.div_ceil(batch_size), sets }
    }

    /// Number of mini-batches.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The examples of each step in mini-batch `nth`.
    pub(crate) fn batch(&self, nth: usize) -> Vec<&[u32]> {
        let newest = self.orders.len() - 1;
        let part = |(step, order): (usize, &'_ Vec<u32>)| match step == newest {
            true => nth * self.batch_size..order.len().min((nth + 1) * self.batch_size),
            false => order.len() * nth / self.count..order.len() * (nth + 1) / self.count,
        };
        self.orders.iter().enumerate().map(|(step, order)| &order[part((step, order))]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// j / 6 for a sequence of 3 (ASMG's spec, test 13).
    #[test]
    fn weights_sum_to_one() {
        assert_eq!(StepLoss::Linear.weights(3), [1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0]);
        assert_eq!(StepLoss::Last.weights(3), [0.0, 0.0, 1.0]);
        for loss in [StepLoss::Last, StepLoss::Linear, StepLoss::Uniform, StepLoss::Exponential] {
            for steps in [1, 2, 5, 2000] {
                assert!((loss.weights(steps).iter().sum::<f64>() - 1.0).abs() < 1e-12, "{loss:?}, {steps}");
            }
        }
        let exponential = StepLoss::Exponential.weights(3);
        assert!((exponential[1] / exponential[0] - std::f64::consts::E).abs() < 1e-12);
    }

    #[test]
    fn every_set_is_gone_through_once() {
        let set = |len: usize| Encoded { label: vec![0.0; len], weight: vec![1.0; len], ..Encoded::default() };
        let (old, new) = (set(7), set(25));
        let schedule = Schedule::new(vec![None, Some(&old), Some(&new)], 10, [1, 2, 0], false);
        assert_eq!(schedule.len(), 3);
        let batches: Vec<_> = (0..3).map(|nth| schedule.batch(nth)).collect();
        assert_eq!(batches.iter().map(|b| b[2].len()).collect::<Vec<_>>(), [10, 10, 5]);
        assert_eq!(batches.iter().map(|b| b[1].len()).collect::<Vec<_>>(), [2, 2, 3]);
        for (step, len) in [(0, 0), (1, 7), (2, 25)] {
            let mut all: Vec<u32> = batches.iter().flat_map(|batch| batch[step].to_vec()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..len).collect::<Vec<u32>>());
        }
        let short = Schedule::new(vec![Some(&new)], 10, [1, 2, 0], false);
        assert_eq!(short.batch(1)[0], batches[1][2], "the newest set is met in the same order");
    }
}
