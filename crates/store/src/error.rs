//! What can go wrong, with both sides of each disagreement.

use crate::name::{AliasName, ObjectName, VersionId};
use perennial_core::Digest;
use std::io;

/// Every failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that cannot become a path.
    #[error("{got:?} is not a name for {what}: {problem}")]
    Name {
        /// What was to be named.
        what: &'static str,
        /// The refused text.
        got: String,
        /// Which rule it breaks.
        problem: &'static str,
    },
    /// The disk refused. Nothing that was readable before has been lost.
    #[error("could not {action} {path}: {source}{}", advice(.source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The object store refused.
    #[error("could not {action} {path} in the object store: {source}")]
    Bucket {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: String,
        /// What the object store said.
        source: object_store::Error,
    },
    /// There is no version of that name.
    #[error("there is no version \"{id}\" here; `list` names those there are")]
    NoVersion {
        /// The version asked for.
        id: VersionId,
    },
    /// There is no alias of that name.
    #[error("there is no alias \"{alias}\" here")]
    NoAlias {
        /// The alias asked for.
        alias: AliasName,
    },
    /// A version has no object of that name.
    #[error("version \"{id}\" has no object \"{object}\"; it holds {holds}")]
    NoObject {
        /// The version.
        id: VersionId,
        /// The object asked for.
        object: String,
        /// The names it does hold, or the first of them.
        holds: String,
    },
    /// The bytes of an object are not those that were published.
    #[error(
        "object \"{object}\" of version \"{id}\" is damaged: {problem} (file {path}); nothing was loaded. Publish \
         the version again from its source or restore the file"
    )]
    Damaged {
        /// The version that was being read.
        id: VersionId,
        /// The object's name within it.
        object: ObjectName,
        /// The file that holds it.
        path: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// A manifest or an alias is not what was written.
    #[error(
        "{path} is damaged: {problem}; restore the file, or remove the version (`perennial versions RUN delete VERSION`) or the alias \
         (`alias ALIAS --remove`) and run again what made it"
    )]
    DamagedFile {
        /// The file.
        path: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// A file written in a format this build does not read.
    #[error(
        "{path} is written in {what} format {found} by Perennial {writer}; this is Perennial {} and reads format \
         {reads}. Use {writer} or later",
        env!("CARGO_PKG_VERSION")
    )]
    Format {
        /// The file.
        path: String,
        /// Which kind of file.
        what: &'static str,
        /// The number found.
        found: u32,
        /// The release that wrote it.
        writer: String,
        /// The numbers read here.
        reads: String,
    },
    /// The name is taken by a version of other content.
    #[error(
        "version \"{id}\" exists with content {stored}, but content {offered} was offered under that name; versions \
         never change: choose another name, or delete the old one first"
    )]
    Conflict {
        /// The name.
        id: VersionId,
        /// Content of the version that exists.
        stored: Digest,
        /// Content that was to be published.
        offered: Digest,
    },
    /// Somebody else moved the alias.
    #[error("alias \"{alias}\" was expected to be {}, but is {}; read it again and decide anew", at(.expected), at(.found))]
    AliasMoved {
        /// The alias.
        alias: AliasName,
        /// What the caller had seen.
        expected: Option<VersionId>,
        /// What it is.
        found: Option<VersionId>,
    },
    /// A version to which an alias points cannot be deleted.
    #[error("version \"{id}\" is what alias \"{alias}\" points to; move the alias first")]
    InUse {
        /// The version.
        id: VersionId,
        /// The alias.
        alias: AliasName,
    },
    /// Something else works on the store.
    #[error("the store is in use: {holder}")]
    Busy {
        /// Who, and what to do if they are gone.
        holder: String,
    },
    /// Another process holds the folder.
    #[error(
        "{folder} is in use by {holder}; two runs cannot share a folder. Wait for it, stop it, or choose another \
         folder"
    )]
    Locked {
        /// The folder.
        folder: String,
        /// The holder, as far as it is known.
        holder: String,
    },
    /// More than a limit allows.
    #[error("{what} is {got}, over the limit of {limit}; the file is damaged or not ours, or raise the limit")]
    Limit {
        /// What was measured.
        what: String,
        /// The measure.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// A bundle that cannot be published as it is.
    #[error("this bundle cannot be published: {problem}")]
    Bundle {
        /// What is wrong with it.
        problem: String,
    },
    /// Dense weights that are not what they should be.
    #[error("dense weights: {problem}")]
    Dense {
        /// What was expected and what was found.
        problem: String,
    },
}

impl Error {
    /// For `map_err` after a call of the operating system.
    pub(crate) fn io(action: &'static str, path: impl AsRef<std::path::Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().display().to_string();
        move |source| Error::Io { action, path, source }
    }

    /// Whether the disk (or the user's share of it) is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Io { source, .. } if full(source))
    }
}

fn full(source: &io::Error) -> bool {
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn advice(source: &io::Error) -> &'static str {
    if full(source) {
        "; what was stored before is untouched: make room (`perennial versions RUN collect` frees what nothing needs) and run the \
         same command again"
    } else {
        ""
    }
}

fn at(version: &Option<VersionId>) -> String {
    match version {
        Some(id) => format!("at \"{id}\""),
        None => "absent".into(),
    }
}
