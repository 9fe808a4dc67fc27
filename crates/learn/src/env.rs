//! What a strategy may use beside the model and the period.

use crate::{LearnError, Learned, TrainingConfig};
use perennial_nn::Workers;
use perennial_stream::SeenPeriod;

/// Gives back periods that were seen before; a strategy can never reach a period that was not.
pub trait Archive: Sync {
    /// The seen period of this index. Must be at most the one being learned from.
    fn seen(&self, period: u32) -> Result<SeenPeriod, LearnError>;
}

/// The circumstances of an update: everything but the model and the period.
pub struct Env<'a> {
    /// Settings of the training loop.
    pub training: &'a TrainingConfig,
    /// Seed of the model: initialisation and order of examples.
    pub seed: u64,
    /// The pre-trained model that every strategy of this seed started from.
    pub pretrained: &'a Learned,
    /// A model that has learned nothing.
    pub blank: &'a (dyn Fn() -> Result<Learned, LearnError> + Sync),
    /// All examples of pre-training, read again when asked for: more than an archive keeps at hand.
    pub pretraining: &'a (dyn Fn() -> Result<SeenPeriod, LearnError> + Sync),
    /// Periods that were seen before.
    pub archive: &'a dyn Archive,
    /// Threads.
    pub workers: &'a Workers,
    /// Called after every step with (steps done, steps in all); `false` stops the update.
    pub progress: &'a (dyn Fn(u64, u64) -> bool + Sync),
}
