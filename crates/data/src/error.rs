//! What can go wrong between a file and the canonical log.

use crate::bad_row::{BadRow, Reason};
use perennial_core::{SchemaError, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The result of anything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

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
    /// A compressed file that ends too early.
    #[error("{}: ends in the middle of its compressed data, after line {line}; fetch the file again", file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// The last line that began.
        line: u64,
    },
    /// A compressed file that does not unpack.
    #[error("{}: cannot be unpacked after line {line}: {source}; fetch the file again", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// The last line that began.
        line: u64,
        /// What the decompressor says.
        source: std::io::Error,
    },
    /// The line that should name the columns does not.
    #[error(
        "{}:{line}: cannot read the names of the columns; say them in the options if the file has no header",
        file.display()
    )]
    BadHeader {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u64,
    },
    /// A column of the schema is not in a file.
    #[error(
        "{}: expected column \"{column}\", got {found}{hint}; correct the field's column, or mark it optional = true",
        file.display()
    )]
    MissingColumn {
        /// The file.
        file: PathBuf,
        /// The column that is wanted.
        column: String,
        /// The columns that are there.
        found: String,
        /// The one that was perhaps meant.
        hint: String,
    },
    /// There is nothing to import.
    #[error("{0}")]
    NoSources(String),
    /// A file was given twice.
    #[error("duplicate files: {} and {} {how}; import one of them", first.display(), second.display())]
    DuplicateFiles {
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// In what they are the same.
        how: String,
    },
    /// A column cannot hold what its field needs.
    #[error("{file}: column \"{column}\": expected {expected}, got {got}; correct the field's kind in the schema")]
    WrongType {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// What the field needs.
        expected: String,
        /// What the file has.
        got: String,
    },
    /// Too many rows are bad.
    #[error("{}", too_many_bad(*bad, *rows, *limit, counts, samples))]
    TooManyBadRows {
        /// Refused rows.
        bad: u64,
        /// Rows read, refused ones included.
        rows: u64,
        /// The largest share that is allowed.
        limit: f64,
        /// Refused rows by reason.
        counts: BTreeMap<Reason, u64>,
        /// The first few.
        samples: Vec<BadRow>,
    },
    /// An option makes no sense.
    #[error("{0}")]
    Usage(String),
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

    /// For `map_err`: names the Parquet file that cannot be written. A full disk is the disk's error, not the file's.
    pub(crate) fn writing(file: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Error + '_ {
        move |error| match error {
            parquet::errors::ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
                Ok(source) => Error::io(file)(*source),
                Err(cause) => Error::parquet(file)(parquet::errors::ParquetError::External(cause)),
            },
            other => Error::parquet(file)(other),
        }
    }

    /// For `map_err`: names the file that a Parquet error is about.
    pub(crate) fn parquet(file: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Error + '_ {
        move |source| Error::Parquet { file: file.to_owned(), source }
    }
}

fn too_many_bad(bad: u64, rows: u64, limit: f64, counts: &BTreeMap<Reason, u64>, samples: &[BadRow]) -> String {
    let share = 100.0 * bad as f64 / rows.max(1) as f64;
    let mut text = format!("{bad} of {rows} rows are bad ({share:.1} %), more than --max-bad allows ({}):", limit);
    for (reason, count) in counts {
        text.push_str(&format!("\n  {count:>9}  {reason}"));
    }
    text.push_str("\nfor example");
    for sample in samples {
        text.push_str(&format!("\n  {sample}"));
    }
    text.push_str("\ncorrect the schema or the files, or allow more with --max-bad");
    text
}
