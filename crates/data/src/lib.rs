//! Logs: reading what the world has, and the canonical log that everything else reads.
//!
//! [`log`] is the canonical log on disk, written once and read as a stream in order of time. It knows nothing of
//! models.

pub mod error;
pub mod log;

pub use error::{Error, Result};
pub use log::{Batches, Cut, ImportNotes, Log, LogWriter, Manifest, Part, PartitionOptions, SourceNote, arrow_schema};
