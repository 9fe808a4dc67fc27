use thiserror::Error;

/// What can be wrong with scores, or with results read back.
#[derive(Debug, Error)]
pub enum Error {
    /// A column is not as long as the scores.
    #[error("expected {expected} {column}, one per score, got {got}")]
    Length {
        /// Which column.
        column: &'static str,
        /// Number of scores.
        expected: usize,
        /// Length of the column.
        got: usize,
    },
    /// A model gave something that is no score.
    #[error("row {row}: expected a finite logit, got {value}; the model that scored it has diverged")]
    Logit {
        /// Position in the batch.
        row: usize,
        /// The score.
        value: f32,
    },
    /// A label that is neither a click, nor none, nor absent.
    #[error("row {row}: expected a label of 0 or 1, or NaN for none, got {value}")]
    Label {
        /// Position in the batch.
        row: usize,
        /// The label.
        value: f32,
    },
    /// A weight that no mean can use.
    #[error("row {row}: expected a finite weight of at least 0, got {value}")]
    Weight {
        /// Position in the batch.
        row: usize,
        /// The weight.
        value: f32,
    },
    /// Text that is no results file.
    #[error("not a results file: {0}")]
    Json(#[from] serde_json::Error),
    /// Results of another format.
    #[error("expected results of format {expected}, got format {got}; write them again with this version")]
    Format {
        /// What this version reads.
        expected: u32,
        /// What the file says.
        got: u32,
    },
    /// Results whose parts contradict each other.
    #[error("inconsistent results: {0}")]
    Inconsistent(String),
    /// A method that the results do not have.
    #[error("no method is named \"{name}\"; there are {known}")]
    NoMethod {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A metric that does not exist.
    #[error("no metric is named \"{name}\"; there are {known}")]
    NoMetric {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Two results that do not speak of the same periods.
    #[error("the two results cannot be compared: {0}")]
    Incomparable(String),
    /// The columnar writer failed.
    #[error("could not write results as Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// The columnar writer was handed columns that do not fit.
    #[error("could not arrange results in columns: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}
