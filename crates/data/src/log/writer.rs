//! Writing a log, whole or not at all.

use super::columns::arrow_schema;
use super::manifest::{FORMAT, ImportNotes, Manifest, Part};
use super::staging::Staging;
use super::{MANIFEST_FILE, PARTS_DIR, SCHEMA_FILE};
use crate::error::{Error, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use perennial_core::{Digest, Schema, Span, Timestamp};
use perennial_disk::{Disk, NewFile};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where parts end, and whether an existing log may be replaced.
#[derive(Debug, Clone, Copy)]
pub struct PartitionOptions {
    /// Where parts end.
    pub cut: Cut,
    /// Replace the log that is already there, once the new one is whole.
    pub replace: bool,
}

/// Where the parts of a log end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// After so many rows.
    Rows(u64),
    /// At multiples of a span since 1970, in UTC.
    Span(Span),
}

impl Default for PartitionOptions {
    /// About a million rows to a part: big enough to compress, small enough to copy and check one by one.
    fn default() -> Self {
        PartitionOptions { cut: Cut::Rows(1 << 20), replace: false }
    }
}

/// Writes a log to a directory. Nothing of it can be seen there before [`LogWriter::finish`]; dropped unfinished, it
/// leaves nothing behind.
pub struct LogWriter {
    dir: PathBuf,
    staging: Staging,
    schema: Schema,
    columns: SchemaRef,
    options: PartitionOptions,
    open: Option<OpenPart>,
    parts: Vec<Part>,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    rows: u64,
    last_time: Option<Timestamp>,
}

/// Rows are handed to Parquet in pieces of this size, however they arrive: page boundaries, and so the bytes of a
/// part, depend on the rows alone.
const BLOCK: usize = 1 << 14;

/// A row group is what a reader of one column must touch at once.
const ROW_GROUP: usize = 1 << 18;

impl LogWriter {
    /// Starts a log in `dir`, which must be absent, empty, the remains of a writer that was killed, or (with
    /// `options.replace`) a log.
    pub fn create(dir: &Path, schema: &Schema, options: PartitionOptions) -> Result<LogWriter> {
        LogWriter::create_on(&Disk::default(), dir, schema, options)
    }

    /// As [`LogWriter::create`], on a disk that may be one made to fail.
    pub fn create_on(disk: &Disk, dir: &Path, schema: &Schema, options: PartitionOptions) -> Result<LogWriter> {
        let staging = Staging::open(disk, dir, options.replace)?;
        Ok(LogWriter {
            dir: dir.to_owned(),
            staging,
            schema: schema.clone(),
            columns: arrow_schema(schema),
            options,
            open: None,
            parts: Vec::new(),
            waiting: Vec::new(),
            waiting_rows: 0,
            rows: 0,
            last_time: None,
        })
    }

    /// Adds rows: columns as in [`arrow_schema`], times in order and not before those already written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.schema_ref().fields() != self.columns.fields() {
            let problem = format!("expected {:?}, got {:?}", self.columns.fields(), batch.schema_ref().fields());
            return Err(arrow::error::ArrowError::SchemaError(problem).into());
        }
        self.check_order(batch)?;
        self.rows += batch.num_rows() as u64;
        let mut rest = batch.clone();
        while self.waiting_rows + rest.num_rows() >= BLOCK {
            let take = BLOCK - self.waiting_rows;
            self.waiting.push(rest.slice(0, take));
            rest = rest.slice(take, rest.num_rows() - take);
            self.flush_block()?;
        }
        if rest.num_rows() > 0 {
            self.waiting_rows += rest.num_rows();
            self.waiting.push(rest);
        }
        Ok(())
    }

    /// Number of rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Closes the last part, moves everything into place and writes the manifest last.
    pub fn finish(mut self, notes: ImportNotes) -> Result<Manifest> {
        self.flush_block()?;
        self.close_part()?;
        let schema_text = self.schema.to_toml();
        let manifest = Manifest {
            format: FORMAT,
            schema: Digest::of_bytes(schema_text.as_bytes()),
            rows: self.rows,
            first_time: self.parts.first().map(|part| part.first_time),
            last_time: self.parts.last().map(|part| part.last_time),
            parts: std::mem::take(&mut self.parts),
            notes,
        };
        self.staging.write(SCHEMA_FILE, schema_text.as_bytes())?;
        let text = serde_json::to_string_pretty(&manifest).expect("a manifest is plain data");
        self.staging.write(MANIFEST_FILE, text.as_bytes())?;
        self.staging.publish(&self.dir)?;
        Ok(manifest)
    }

    /// The directory in which the log is being made: for files that belong to it (`bad_rows.jsonl`) and for scratch.
    pub(crate) fn staging(&self) -> &Path {
        &self.staging.path
    }

    /// The disk that the log is written to.
    pub(crate) fn disk(&self) -> &Disk {
        &self.staging.disk
    }

    /// Takes back what was written, as files in order, and starts again: a sorter found rows that belong before it.
    pub(crate) fn take_back(&mut self) -> Result<Vec<PathBuf>> {
        self.flush_block()?;
        self.close_part()?;
        let (from, to) = (self.staging.path.join(PARTS_DIR), self.staging.path.join("taken-back"));
        self.disk().rename(&from, &to).map_err(Error::io(&to))?;
        self.disk().create_folder(&from).map_err(Error::io(&from))?;
        (self.rows, self.last_time) = (0, None);
        Ok(std::mem::take(&mut self.parts).into_iter().map(|part| to.join(part.file)).collect())
    }

    fn check_order(&mut self, batch: &RecordBatch) -> Result<()> {
        for (row, &time) in times(batch).iter().enumerate() {
            let time = Timestamp(time);
            if let Some(previous) = self.last_time.filter(|&previous| time < previous) {
                let row = self.rows + row as u64;
                return Err(Error::Unsorted { file: self.dir.display().to_string(), row, time, previous });
            }
            self.last_time = Some(time);
        }
        Ok(())
    }

    fn flush_block(&mut self) -> Result<()> {
        let block = match self.waiting.as_slice() {
            [] => return Ok(()),
            [only] => only.clone(),
            several => concat_batches(&self.columns, several)?,
        };
        self.waiting.clear();
        self.waiting_rows = 0;
        let mut start = 0;
        while start < block.num_rows() {
            let end = start + self.rows_until_cut(&times(&block)[start..])?;
            self.write_to_part(&block.slice(start, end - start))?;
            start = end;
        }
        Ok(())
    }

    /// How many of the rows at `times` go to the open part, at least one; closes the part if none does.
    fn rows_until_cut(&mut self, times: &[i64]) -> Result<usize> {
        match self.options.cut {
            Cut::Rows(limit) => {
                let limit = limit.max(1);
                if self.open.as_ref().is_some_and(|part| part.rows >= limit) {
                    self.close_part()?;
                }
                let room = limit - self.open.as_ref().map_or(0, |part| part.rows);
                Ok(times.len().min(usize::try_from(room).unwrap_or(usize::MAX)))
            }
            Cut::Span(span) => {
                let cell = |time: i64| time.div_euclid(span.0.max(1));
                if self.open.as_ref().is_some_and(|part| cell(part.first_time.0) != cell(times[0])) {
                    self.close_part()?;
                }
                Ok(times.partition_point(|&time| cell(time) == cell(times[0])))
            }
        }
    }

    fn write_to_part(&mut self, block: &RecordBatch) -> Result<()> {
        if self.open.is_none() {
            let number = self.parts.len();
            self.open = Some(OpenPart::create(&self.staging, &self.columns, number, Timestamp(times(block)[0]))?);
        }
        self.open.as_mut().expect("opened above").write(block)
    }

    fn close_part(&mut self) -> Result<()> {
        if let Some(open) = self.open.take() {
            self.parts.push(open.close()?);
        }
        Ok(())
    }
}

/// The part that is being written.
struct OpenPart {
    path: PathBuf,
    name: String,
    writer: ArrowWriter<Hashing>,
    rows: u64,
    first_time: Timestamp,
    last_time: Timestamp,
}

impl OpenPart {
    fn create(staging: &Staging, columns: &SchemaRef, number: usize, first_time: Timestamp) -> Result<OpenPart> {
        let name = part_name(first_time, number);
        let path = staging.path.join(PARTS_DIR).join(&name);
        let file = Hashing::create(&staging.disk, &path)?;
        let writer = ArrowWriter::try_new(file, columns.clone(), Some(properties(columns)));
        let writer = writer.map_err(Error::writing(&path))?;
        Ok(OpenPart { path, name, writer, rows: 0, first_time, last_time: first_time })
    }

    fn write(&mut self, block: &RecordBatch) -> Result<()> {
        self.writer.write(block).map_err(Error::writing(&self.path))?;
        self.rows += block.num_rows() as u64;
        self.last_time = Timestamp(*times(block).last().expect("a block has rows"));
        Ok(())
    }

    fn close(mut self) -> Result<Part> {
        self.writer.finish().map_err(Error::writing(&self.path))?;
        let (bytes, blake3) = self.writer.inner_mut().sync().map_err(Error::io(&self.path))?;
        let (rows, first_time, last_time) = (self.rows, self.first_time, self.last_time);
        Ok(Part { file: self.name, rows, first_time, last_time, bytes, blake3 })
    }
}

/// `part-20171001T020000Z-00000.parquet`: sorts by name as by time.
fn part_name(first: Timestamp, number: usize) -> String {
    let start = match jiff::Timestamp::from_microsecond(first.0) {
        Ok(time) => time.strftime("%Y%m%dT%H%M%SZ").to_string(),
        Err(_) => format!("{}us", first.0), // outside the years that a calendar has
    };
    format!("part-{start}-{number:05}.parquet")
}

/// How parts are encoded. LZ4 is for the many reads: on the log of `examples/import_speed` parts take 30 bytes a row
/// without compression, 25 with LZ4 or Snappy and 23 with zstd 1, and importing Parquet costs 0.31, 0.32, 0.34 and
/// 0.37 microseconds of processor a row.
fn properties(columns: &SchemaRef) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::LZ4_RAW)
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by("perennial".to_owned());
    for column in columns.fields() {
        let path = ColumnPath::from(column.name().as_str());
        let encoding = match column.data_type() {
            DataType::UInt64 => Encoding::PLAIN, // event ids are as good as random
            DataType::Timestamp(..) => Encoding::DELTA_BINARY_PACKED,
            _ => continue,
        };
        builder = builder.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding);
    }
    builder.build()
}

/// A file that hashes what is written to it.
struct Hashing {
    file: NewFile,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Hashing {
    fn create(disk: &Disk, path: &Path) -> Result<Hashing> {
        let file = disk.new_file(path).map_err(Error::io(path))?;
        Ok(Hashing { file, hasher: blake3::Hasher::new(), bytes: 0 })
    }

    fn sync(&mut self) -> std::io::Result<(u64, Digest)> {
        self.file.sync()?;
        let hex = self.hasher.finalize().to_hex();
        Ok((self.bytes, Digest::parse(&hex).expect("64 hexadecimal digits")))
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

pub(crate) fn times(batch: &RecordBatch) -> &[i64] {
    batch.column(1).as_primitive::<TimestampMicrosecondType>().values()
}
