//! What can go wrong between a file and the canonical log.

use perennial_core::{SchemaError, Timestamp};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The result of anything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between a file and the canonical log. Every message names the file and what to try.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file or directory.
        file: PathBuf,
        /// Its answer.
        source: std::io::Error,
    },
    /// A Parquet file that cannot be read or written.
    #[error("{}: not a whole Parquet file: {source}", file.display())]
    Parquet {
        /// The file.
        file: PathBuf,
        /// What the Parquet library says.
        source: parquet::errors::ParquetError,
    },
    /// Columns that do not fit together: a mistake of the program that calls.
    #[error("columns do not fit the log: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A schema that cannot be read.
    #[error("{}: {source}", file.display())]
    Schema {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: SchemaError,
    },
    /// The directory holds no finished log.
    #[error("{}: not a log: {problem}", dir.display())]
    NotALog {
        /// The directory.
        dir: PathBuf,
        /// What is missing or wrong.
        problem: String,
    },
    /// A log was to be written where something is already.
    #[error("{}: {problem}", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
        /// What is there, and what to do.
        problem: String,
    },
    /// Rows are not in order of time.
    #[error(
        "{file}: row {row} is at {}, before the row ahead of it at {}; import the log again, which sorts it",
        time.0, previous.0
    )]
    Unsorted {
        /// The part, or what is being written.
        file: String,
        /// Ordinal of the row in it, from 0.
        row: u64,
        /// Its time.
        time: Timestamp,
        /// The time of the row before.
        previous: Timestamp,
    },
    /// A file of a log is not what its manifest says.
    #[error("{}: expected {expected}, got {got}; the log is damaged: import it again", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What the manifest says.
        expected: String,
        /// What the file is.
        got: String,
    },
}

impl Error {
    /// For `map_err`: names the file that an operating system's error is about.
    pub(crate) fn io(file: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io { file: file.to_owned(), source }
    }

    /// For `map_err`: names the file that a Parquet error is about.
    pub(crate) fn parquet(file: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Error + '_ {
        move |source| Error::Parquet { file: file.to_owned(), source }
    }
}
