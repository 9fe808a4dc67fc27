//! Logs: reading what the world has, and the canonical log that everything else reads.
//!
//! [`read`] turns any file into chunks of rows; [`import`] checks them, sorts them by time and writes them; [`log`] is
//! the canonical log on disk, written once and read as a stream in order of time. Nothing here knows of models.

pub mod bad_row;
pub mod dataset;
pub mod error;
pub mod import;
pub mod infer;
pub mod log;
pub mod read;
pub mod scores;

pub use bad_row::{BadRow, Reason};
pub use error::{Error, Result};
pub use import::{ImportOptions, ImportSummary, Progress, Stage, import};
pub use infer::infer;
pub use log::{Batches, Cut, ImportNotes, Log, LogWriter, Manifest, Part, PartitionOptions, SourceNote, arrow_schema};
