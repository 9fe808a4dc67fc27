//! The account of bad rows: counted, written aside, and too many at some point.

use crate::bad_row::{BadRow, Reason};
use crate::error::{Error, Result};
use crate::log::BAD_ROWS_FILE;
use perennial_disk::{Disk, NewFile};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Counts bad rows and writes them to `bad_rows.jsonl`.
pub(crate) struct Refusals {
    disk: Disk,
    path: PathBuf,
    file: Option<NewFile>,
    counts: BTreeMap<Reason, u64>,
    bad: u64,
    rows: u64,
    limit: f64,
    samples: Vec<BadRow>,
}

/// Rows to be read before a share means anything.
const ENOUGH_ROWS: u64 = 10_000;

/// Bad rows shown when there are too many.
const SAMPLES: usize = 3;

impl Refusals {
    /// Bad rows go to the directory `aside`; more than a share of `limit` is an error.
    pub(crate) fn new(disk: &Disk, aside: &Path, limit: f64) -> Refusals {
        let (disk, path) = (disk.clone(), aside.join(BAD_ROWS_FILE));
        Refusals { disk, path, file: None, counts: BTreeMap::new(), bad: 0, rows: 0, limit, samples: Vec::new() }
    }

    /// Takes note of `rows` rows, of which `bad` are bad.
    pub(crate) fn add(&mut self, rows: u64, bad: Vec<BadRow>) -> Result<()> {
        self.rows += rows;
        self.bad += bad.len() as u64;
        for row in bad {
            *self.counts.entry(row.reason).or_default() += 1;
            self.write(&row).map_err(Error::io(&self.path))?;
            if self.samples.len() < SAMPLES {
                self.samples.push(row);
            }
        }
        if self.rows >= ENOUGH_ROWS { self.check() } else { Ok(()) }
    }

    /// Rows read and bad ones among them.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.rows, self.bad)
    }

    /// Ends the account: counts by the names of reasons.
    pub(crate) fn finish(mut self) -> Result<BTreeMap<String, u64>> {
        self.check()?;
        if let Some(file) = &mut self.file {
            file.sync().map_err(Error::io(&self.path))?;
        }
        Ok(self.counts.iter().map(|(reason, &count)| (reason.name().to_owned(), count)).collect())
    }

    fn write(&mut self, row: &BadRow) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            empty => empty.insert(self.disk.new_file(&self.path)?),
        };
        let text = serde_json::to_string(row).expect("a bad row is plain data");
        writeln!(file, "{text}")
    }

    fn check(&self) -> Result<()> {
        if self.bad as f64 <= self.limit * self.rows as f64 {
            return Ok(());
        }
        Err(Error::TooManyBadRows {
            bad: self.bad,
            rows: self.rows,
            limit: self.limit,
            counts: self.counts.clone(),
            samples: self.samples.clone(),
        })
    }
}
