//! What can go wrong while learning.

use perennial_model::ModelError;
use thiserror::Error;

/// Why an update did not come about.
#[derive(Debug, Error)]
pub enum LearnError {
    /// The loss is no longer a number.
    #[error(
        "the loss became {loss} in period {period}, epoch {epoch}, step {step}: training stopped. Try a smaller \
         learning rate, gradient clipping (training.clip_norm), or look at the numeric fields of this period"
    )]
    NotFinite {
        /// Period whose update it was.
        period: u32,
        /// Epoch, from 0.
        epoch: u32,
        /// Step of the optimiser, from 1 over the life of the model.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// A setting that cannot work.
    #[error("{key}: {problem}")]
    Config {
        /// Which setting.
        key: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The model refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Scores that cannot be judged.
    #[error(transparent)]
    Eval(#[from] perennial_eval::Error),
    /// An earlier period could not be read again.
    #[error("period {period} is needed again and cannot be read: {problem}")]
    Archive {
        /// Which period.
        period: u32,
        /// What is wrong.
        problem: String,
    },
    /// What a strategy remembered cannot be read back.
    #[error("memory/{piece} of the version is corrupt: {problem}")]
    Memory {
        /// Which piece.
        piece: String,
        /// What is wrong.
        problem: String,
    },
    /// The caller asked to stop.
    #[error("stopped on request")]
    Stopped,
}
