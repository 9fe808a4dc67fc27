//! What was scored and learned, one small file each, written whole.
//!
//! `<method>/<seed>/scored-<period>.json` says that a period was scored, by which version and how well;
//! `<method>/<seed>/updated-<period>.json` that it was learned from and the version published. The second is written
//! last of all: a period that has it is done.

use anyhow::{Context, Result, bail};
use perennial_core::Digest;
use perennial_disk::Disk;
use perennial_eval::PeriodMetrics;
use perennial_learn::Trained;
use perennial_stream::Receipt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A period was scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    /// Who scored what.
    pub receipt: Receipt,
    /// Digest of the period's examples.
    pub data: Digest,
    /// How good the scores were.
    pub metrics: PeriodMetrics,
    /// Seconds that it took.
    pub seconds: f64,
}

/// A period was learned from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Updated {
    /// What the update did.
    pub trained: Trained,
    /// Content digest of the version that came of it.
    pub version: Digest,
    /// Digest of the examples of the periods that it is about.
    pub data: Digest,
    /// Seconds that it took.
    pub seconds: f64,
}

/// The files of a run's ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    folder: PathBuf,
    disk: Disk,
}

/// Where one method and seed keeps its records.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Name of the method.
    pub method: &'a str,
    /// Seed.
    pub seed: u64,
    /// Period.
    pub period: u32,
}

impl Ledger {
    /// A ledger in this folder.
    pub fn new(folder: PathBuf, disk: Disk) -> Ledger {
        Ledger { folder, disk }
    }

    /// The record of a scored period, if it was.
    pub fn scored(&self, place: Place<'_>) -> Result<Option<Scored>> {
        self.read(self.path(place, "scored"))
    }

    /// The record of an update, if it was made.
    pub fn updated(&self, place: Place<'_>) -> Result<Option<Updated>> {
        self.read(self.path(place, "updated"))
    }

    /// Records that a period was scored.
    pub fn record_scored(&self, place: Place<'_>, record: &Scored) -> Result<()> {
        self.write(self.path(place, "scored"), record)
    }

    /// Records that an update was made and its version published.
    pub fn record_updated(&self, place: Place<'_>, record: &Updated) -> Result<()> {
        self.write(self.path(place, "updated"), record)
    }

    fn path(&self, place: Place<'_>, what: &str) -> PathBuf {
        let Place { method, seed, period } = place;
        self.folder.join(method).join(seed.to_string()).join(format!("{what}-{period:04}.json"))
    }

    fn read<T: DeserializeOwned>(&self, path: PathBuf) -> Result<Option<T>> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let damaged = || format!("{} is damaged; delete it and run again to have it made again", path.display());
        let record = unsealed(&text).with_context(damaged)?;
        Ok(Some(serde_json::from_str(record).with_context(damaged)?))
    }

    fn write<T: Serialize>(&self, path: PathBuf, record: &T) -> Result<()> {
        let text = sealed(&serde_json::to_string_pretty(record).context("a record is plain data")?);
        let folder = path.parent().expect("a record lies in a folder");
        self.disk.create_folder(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        self.disk.replace(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Begins the last line of a record.
const SEAL: &str = "\nblake3 ";

/// A record and the checksum of its text.
fn sealed(record: &str) -> String {
    format!("{record}{SEAL}{}\n", Digest::of_bytes(record.as_bytes()))
}

/// The record, if it is what was written.
fn unsealed(text: &str) -> Result<&str> {
    let (record, seal) = text.rsplit_once(SEAL).context("it has no checksum")?;
    if seal.trim_end() != Digest::of_bytes(record.as_bytes()).to_string() {
        bail!("its checksum is that of another text");
    }
    Ok(record)
}
