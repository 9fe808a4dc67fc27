//! What can go wrong in a model.

use thiserror::Error;

/// Why a model cannot be built, loaded or used.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The examples were made for another feature set.
    #[error("expected {expected} features, got {got}: the examples were prepared for another schema")]
    Features {
        /// Features of the encoder.
        expected: usize,
        /// Columns of the examples.
        got: usize,
    },
    /// A column has another kind than the feature.
    #[error("feature \"{feature}\": the column is of another kind than the schema says")]
    ColumnKind {
        /// Name of the feature.
        feature: String,
    },
    /// A configuration that cannot work.
    #[error("model.{key}: {problem}")]
    Config {
        /// Key of the configuration.
        key: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A table that cannot be.
    #[error(transparent)]
    Table(#[from] perennial_table::TableError),
    /// Stored bytes that do not make sense.
    #[error("{part} of the version is corrupt: {problem}")]
    Corrupt {
        /// Which part.
        part: String,
        /// What is wrong.
        problem: String,
    },
}
