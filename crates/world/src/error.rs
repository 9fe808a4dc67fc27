//! What can go wrong in making a world.

use thiserror::Error;

/// Why a world could not be made or written.
#[derive(Debug, Error)]
pub enum WorldError {
    /// A setting is out of range.
    #[error("{setting} must be {expected}, got {got}")]
    Setting {
        /// Path of the setting in the configuration.
        setting: &'static str,
        /// The range it must lie in.
        expected: &'static str,
        /// What was given.
        got: String,
    },
    /// The world ends before this period.
    #[error("period {got} was asked for, but this world has periods 0 to {last}")]
    PeriodOutOfRange {
        /// The period that was asked for.
        got: u32,
        /// The last period there is.
        last: u32,
    },
    /// The log could not be written.
    #[error(transparent)]
    Log(#[from] perennial_data::Error),
    /// The true logits could not be encoded.
    #[error("writing the true logits: {0}")]
    Truth(#[from] parquet::errors::ParquetError),
    /// The disk refused.
    #[error("writing the world: {0}")]
    Write(#[source] std::io::Error),
}
