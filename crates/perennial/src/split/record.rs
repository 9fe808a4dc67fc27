//! Finished runs, one file each.

use anyhow::{Context, Result, bail};
use perennial_core::Digest;
use perennial_disk::Disk;
use perennial_eval::SplitRun;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::PathBuf;

/// The folder of finished runs.
pub(super) struct Records<'a> {
    pub(super) folder: PathBuf,
    pub(super) disk: &'a Disk,
}

/// A finished run, and all that it depends on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    key: Digest,
    run: SplitRun,
}

impl Records<'_> {
    /// The run of this method and seed, if it was made. One that depends on something else is refused.
    pub(super) fn find(&self, method: &str, seed: u64, key: Digest) -> Result<Option<SplitRun>> {
        let path = self.path(method, seed);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let record: Record = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged; delete it to have the run made again", path.display()))?;
        if record.key != key {
            bail!(
                "{} is a run of \"{method}\" with other settings or other data; choose another folder with --out, or \
                 delete it",
                path.display()
            );
        }
        Ok(Some(record.run))
    }

    pub(super) fn keep(&self, method: &str, seed: u64, key: Digest, run: &SplitRun) -> Result<()> {
        let path = self.path(method, seed);
        let text = serde_json::to_vec_pretty(&Record { key, run: run.clone() }).context("a record is plain data")?;
        let folder = path.parent().expect("a record lies in a folder");
        self.disk.create_folder(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        self.disk.replace(&path, &text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn path(&self, method: &str, seed: u64) -> PathBuf {
        self.folder.join(method).join(format!("{seed}.json"))
    }
}
