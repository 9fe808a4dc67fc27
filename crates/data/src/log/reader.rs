//! Reading a log, as a stream in order of time.

use super::columns::arrow_schema;
use super::manifest::{FORMAT, Manifest, Part};
use super::writer::times;
use super::{MANIFEST_FILE, PARTS_DIR, SCHEMA_FILE};
use crate::error::{Error, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use perennial_core::{Digest, Schema, Timestamp};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A finished log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    schema: Schema,
    columns: SchemaRef,
    manifest: Manifest,
}

/// Rows to a batch when reading.
const BATCH: usize = 1 << 13;

impl Log {
    /// Opens the log in `dir`: reads its manifest and schema, and checks that every part is there in full length.
    pub fn open(dir: &Path) -> Result<Log> {
        let manifest = read_manifest(dir)?;
        let schema = read_schema(dir, &manifest)?;
        for part in &manifest.parts {
            let file = dir.join(PARTS_DIR).join(&part.file);
            let bytes = fs::metadata(&file).map_err(Error::io(&file))?.len();
            if bytes != part.bytes {
                return Err(damaged(&file, format!("{} bytes", part.bytes), format!("{bytes} bytes")));
            }
        }
        let columns = arrow_schema(&schema);
        Ok(Log { inner: Arc::new(Inner { dir: dir.to_owned(), schema, columns, manifest }) })
    }

    /// What the fields are.
    pub fn schema(&self) -> &Schema {
        &self.inner.schema
    }

    /// What the log holds.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// The columns of every batch: [`arrow_schema`].
    pub fn columns(&self) -> &SchemaRef {
        &self.inner.columns
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// All rows in order of time, a few thousand at once, in memory that does not grow with the log.
    pub fn batches(&self) -> Batches {
        self.batches_from(0)
    }

    /// As [`Log::batches`], starting with part number `part` of the manifest. Past the last part there is nothing.
    pub fn batches_from(&self, part: usize) -> Batches {
        Batches { log: self.clone(), part, reader: None, row: 0, last_time: None }
    }

    /// Reads every part and compares its checksum with the manifest's. Costs a read of the whole log.
    pub fn verify(&self) -> Result<()> {
        self.manifest().parts.iter().try_for_each(|part| {
            let file = self.path_of(part);
            let mut hasher = blake3::Hasher::new();
            let read = File::open(&file).and_then(|source| hasher.update_reader(source).map(|_| ()));
            read.map_err(Error::io(&file))?;
            let got = Digest::parse(&hasher.finalize().to_hex()).expect("64 hexadecimal digits");
            if got == part.blake3 {
                return Ok(());
            }
            Err(damaged(&file, format!("checksum {}", part.blake3), got.to_string()))
        })
    }

    fn path_of(&self, part: &Part) -> PathBuf {
        self.inner.dir.join(PARTS_DIR).join(&part.file)
    }
}

/// The rows of a log. After an error there is nothing more.
pub struct Batches {
    log: Log,
    part: usize,
    reader: Option<ParquetRecordBatchReader>,
    /// Rows of the open part that were given out.
    row: u64,
    last_time: Option<Timestamp>,
}

impl Batches {
    /// The number of the part that the next batch comes from, unless that part is exhausted.
    pub fn part(&self) -> usize {
        self.part
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let log = self.log.clone();
            let Some(part) = log.manifest().parts.get(self.part) else { return Ok(None) };
            let file = log.path_of(part);
            if self.reader.is_none() {
                self.reader = Some(open_part(&file, log.columns())?);
                self.row = 0;
            }
            match self.reader.as_mut().expect("opened above").next() {
                Some(batch) => {
                    let batch = batch.map_err(|error| Error::parquet(&file)(error.into()))?;
                    self.check_order(&file, &batch)?;
                    self.row += batch.num_rows() as u64;
                    return Ok(Some(batch));
                }
                None if self.row != part.rows => {
                    return Err(damaged(&file, format!("{} rows", part.rows), format!("{} rows", self.row)));
                }
                None => {
                    self.reader = None;
                    self.part += 1;
                }
            }
        }
    }

    fn check_order(&mut self, file: &Path, batch: &RecordBatch) -> Result<()> {
        for (row, &time) in times(batch).iter().enumerate() {
            let time = Timestamp(time);
            if let Some(previous) = self.last_time.filter(|&previous| time < previous) {
                return Err(Error::Unsorted {
                    file: file.display().to_string(),
                    row: self.row + row as u64,
                    time,
                    previous,
                });
            }
            self.last_time = Some(time);
        }
        Ok(())
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let next = self.next_batch();
        if next.is_err() {
            self.part = usize::MAX;
            self.reader = None;
        }
        next.transpose()
    }
}

pub(crate) fn open_part(file: &Path, columns: &SchemaRef) -> Result<ParquetRecordBatchReader> {
    let source = File::open(file).map_err(Error::io(file))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(source).map_err(Error::parquet(file))?;
    if builder.schema().fields() != columns.fields() {
        let (expected, got) = (format!("columns {:?}", columns.fields()), format!("{:?}", builder.schema().fields()));
        return Err(damaged(file, expected, got));
    }
    builder.with_batch_size(BATCH).build().map_err(Error::parquet(file))
}

fn read_manifest(dir: &Path) -> Result<Manifest> {
    let not_a_log = |problem: String| Error::NotALog { dir: dir.to_owned(), problem };
    let text = match fs::read_to_string(dir.join(MANIFEST_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(not_a_log(format!("it has no {MANIFEST_FILE}; make one with `perennial import`")));
        }
        Err(error) => return Err(Error::io(&dir.join(MANIFEST_FILE))(error)),
    };
    let manifest: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| not_a_log(format!("{MANIFEST_FILE}: {error}")))?;
    let format = manifest.get("format").and_then(serde_json::Value::as_u64);
    if format != Some(u64::from(FORMAT)) {
        let found = format.map_or("none".to_owned(), |format| format.to_string());
        return Err(not_a_log(format!("{MANIFEST_FILE}: expected format {FORMAT}, got {found}; import it again")));
    }
    serde_json::from_value(manifest).map_err(|error| not_a_log(format!("{MANIFEST_FILE}: {error}")))
}

fn read_schema(dir: &Path, manifest: &Manifest) -> Result<Schema> {
    let file = dir.join(SCHEMA_FILE);
    let text = fs::read_to_string(&file).map_err(Error::io(&file))?;
    let digest = Digest::of_bytes(text.as_bytes());
    if digest != manifest.schema {
        return Err(damaged(&file, format!("digest {}", manifest.schema), digest.to_string()));
    }
    Schema::parse(&text).map_err(|source| Error::Schema { file, source })
}

fn damaged(file: &Path, expected: String, got: String) -> Error {
    Error::Damaged { file: file.to_owned(), expected, got }
}
