//! What can go wrong between a log and its periods.

use perennial_core::Timestamp;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Result of this crate.
pub type Result<T, E = StreamError> = std::result::Result<T, E>;

/// Why a log could not be turned into periods, or a period not be used as asked.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The settings contradict each other or the schema.
    #[error("{0}")]
    Config(String),
    /// A batch of the log lacks a column, or the column has another type.
    #[error("column \"{column}\" of the log: expected {expected}, got {got}")]
    Column {
        /// Name of the column.
        column: String,
        /// What the schema promises.
        expected: &'static str,
        /// What the batch holds.
        got: String,
    },
    /// A row holds a value that the canonical log rules out.
    #[error("event {event}: {problem}")]
    Value {
        /// Event id of the row.
        event: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A row is older than the row before it.
    #[error(
        "the log is not sorted by time: event {event} at {} us follows a row at {} us; import the log again, which sorts it",
        time.0, previous.0
    )]
    Unsorted {
        /// Event id of the row.
        event: u64,
        /// Its time.
        time: Timestamp,
        /// Time of the row before it.
        previous: Timestamp,
    },
    /// The log could not be read.
    #[error("reading the log: {0}")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log holds another number of rows than its manifest says.
    #[error("the log's manifest says {expected} rows, reading it gave {got}; verify the log")]
    RowCount {
        /// According to the manifest.
        expected: u64,
        /// Read.
        got: u64,
    },
    /// A file of the cache could not be read or written.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Stored bytes are not what was written.
    #[error("{what} is damaged: {problem}; prepare the log again to rebuild it")]
    Corrupt {
        /// File, or kind of bytes.
        what: String,
        /// What does not hold.
        problem: String,
    },
    /// Whoever was told of the progress asked to stop.
    #[error("stopped while the log was being prepared")]
    Stopped,
    /// A period was used out of turn, or was scored wrongly.
    #[error("period {period}: {problem}")]
    Period {
        /// Index of the period.
        period: usize,
        /// What is wrong, and what was expected.
        problem: String,
    },
}

impl StreamError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StreamError {
        let path = path.to_owned();
        move |source| StreamError::Io { doing, path, source }
    }

    pub(crate) fn corrupt(what: impl Into<String>, problem: impl Into<String>) -> StreamError {
        StreamError::Corrupt { what: what.into(), problem: problem.into() }
    }
}
