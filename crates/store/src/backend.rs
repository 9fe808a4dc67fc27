//! Where files are kept.

mod bucket;
mod local;

pub(crate) use bucket::Bucket;
pub(crate) use local::Local;

use crate::Result;
use std::fmt;

/// What a store needs of a place that holds files under `/`-separated paths. Absent is `None`, never an error.
pub(crate) trait ReadFiles: fmt::Debug + Send + Sync {
    /// The bytes at `path`; errs before reading if there are more than `limit`.
    fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>>;

    /// Length of the file at `path`.
    fn size(&self, path: &str) -> Result<Option<u64>>;

    /// All files under the folder, in order of their paths. What a broken write has left is not among them.
    fn list(&self, folder: &str) -> Result<Vec<Entry>>;

    /// Where `path` is, for messages.
    fn locate(&self, path: &str) -> String;
}

/// The writing half. What returned `Ok` survives a crash.
pub(crate) trait WriteFiles: ReadFiles {
    /// Writes files whole, each replacing what was there.
    fn put(&self, files: &[(String, &[u8])]) -> Result<()>;

    /// Writes `new` if the file holds exactly `expected` (`None`: if there is no file); otherwise changes nothing and
    /// returns `false`.
    fn replace_if(&self, path: &str, expected: Option<&[u8]>, new: &[u8]) -> Result<bool>;

    /// Removes files; those that are not there are passed over.
    fn delete(&self, paths: &[String]) -> Result<()>;

    /// Removes what broken writes have left; returns how many files. Called under [`Hold::Alone`] only.
    fn sweep(&self) -> Result<usize>;

    /// Declares what is about to be done, until the guard is dropped; `Error::Busy` if it cannot be done now.
    fn hold(&self, hold: Hold<'_>) -> Result<Guard>;

    /// Ends the claims of processes that died without ending them.
    fn void_claims(&self) -> Result<()>;
}

/// A file in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

/// A claim on a store. Any number may add at the same time; one who removes is alone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hold<'a> {
    /// To add something; the text names what. Two holds of one name count as one.
    Adding(&'a str),
    /// To remove something.
    Alone,
}

/// Ends a [`Hold`] when dropped.
pub(crate) struct Guard {
    _release: Box<dyn std::any::Any>,
}

impl Guard {
    fn new(release: impl std::any::Any) -> Guard {
        Guard { _release: Box::new(release) }
    }
}
