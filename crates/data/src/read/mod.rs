//! Readers: any file as a stream of [`Chunk`]s, in memory that does not grow with the file.
//!
//! A new format is one file here and one line in [`Format::open`].

pub(crate) mod bytes;
mod delimited;
mod json_lines;
mod lines;
mod parquet_file;
mod sources;
mod svm;

pub use delimited::Delimited;
pub(crate) use sources::natural;
pub use sources::{SourceFile, find_sources};

use crate::bad_row::Reason;
use crate::error::{Error, Result};
use arrow::array::{ArrayRef, BinaryArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// How a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// CSV, TSV and their kin.
    Delimited(Delimited),
    /// One JSON object to a line.
    JsonLines,
    /// libsvm and libfm: `label index:value index:value ...`, comments after `#`. Columns are `label`, `qid`,
    /// `f0`, `f1`, ... (the index of the line's first, second, ... feature), `v0`, `v1`, ... (its value) and
    /// `features` (all indices of the line).
    Svm,
    /// Apache Parquet.
    Parquet,
}

/// A column that is wanted from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in the file.
    pub name: String,
    /// Whether the file may lack it.
    pub optional: bool,
    /// For a column of lists: what separates their elements in a text.
    pub separator: Option<String>,
}

/// Some consecutive rows of a file.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// One column per wanted column. Text is `Binary`, in which an empty text is a null; JSON lists are
    /// `List<Binary>`; Parquet gives its own types; a column that the file lacks is `Null`.
    pub columns: Vec<ArrayRef>,
    /// Ordinal of each row in its file, from 0, refused rows included.
    pub ordinals: Vec<u64>,
    /// Line of each row, from 1; in Parquet the row.
    pub lines: Vec<u64>,
    /// Rows that could not be taken apart.
    pub refused: Vec<Refused>,
}

/// A row that could not be taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Line, from 1.
    pub line: u64,
    /// Why.
    pub reason: Reason,
    /// The start of the line.
    pub excerpt: String,
}

/// A file being read.
pub trait ReadChunks: Send {
    /// The next rows, or `None` at the end.
    fn next_chunk(&mut self) -> Result<Option<Chunk>>;
}

/// Rows to a chunk, at most.
pub(crate) const CHUNK_ROWS: usize = 1 << 14;

/// Bytes of text to a chunk, about: long rows make chunks of fewer rows.
pub(crate) const CHUNK_BYTES: usize = 1 << 23;

/// Limits and counters of reading.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Longest line in bytes; a longer one is a bad row and is never held in memory.
    pub max_line: usize,
    /// Counts the bytes taken from files, before decompression.
    pub progress: Arc<AtomicU64>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions { max_line: 16 << 20, progress: Arc::default() }
    }
}

impl Format {
    /// Guesses the format from a file's name, without `.gz` or `.zst`.
    ///
    /// `.csv`, `.tsv`, `.tab`, `.txt` and `.dat` are delimited with a header; `.jsonl`, `.ndjson`, `.json`;
    /// `.libsvm`, `.libfm`, `.svm`; `.parquet`, `.pq`.
    pub fn guess(file: &Path) -> Option<Format> {
        let name = file.file_name()?.to_str()?.to_ascii_lowercase();
        let bare = [".gz", ".zst", ".zstd"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        Some(match bare.rsplit_once('.')?.1 {
            "csv" => Format::Delimited(Delimited::csv()),
            "tsv" | "tab" | "txt" | "dat" => Format::Delimited(Delimited::tsv()),
            "json" | "jsonl" | "ndjson" => Format::JsonLines,
            "libsvm" | "libfm" | "svm" => Format::Svm,
            "parquet" | "pq" => Format::Parquet,
            _ => return None,
        })
    }

    /// Starts to read a file. A text file may be compressed by gzip (any number of members) or zstd: its first
    /// bytes tell, not its name. A wanted column that is neither there nor optional is an error that names it.
    pub fn open(&self, file: &Path, wanted: &[Wanted], options: &ReadOptions) -> Result<Box<dyn ReadChunks>> {
        Ok(match self {
            Format::Delimited(how) => Box::new(delimited::Reader::open(file, how, wanted, options)?),
            Format::JsonLines => Box::new(json_lines::Reader::open(file, wanted, options)?),
            Format::Svm => Box::new(svm::Reader::open(file, wanted, options)?),
            Format::Parquet => Box::new(parquet_file::Reader::open(file, wanted, options)?),
        })
    }
}

impl Format {
    /// The names of the columns of a file; of JSON lines those of the first rows.
    pub fn column_names(&self, file: &Path) -> Result<Vec<String>> {
        let options = ReadOptions::default();
        match self {
            Format::Delimited(how) => {
                delimited::Reader::open(file, how, &[], &options).map(delimited::Reader::into_names)
            }
            Format::JsonLines => json_lines::Reader::open(file, &[], &options)?.into_names(),
            Format::Svm => Ok(vec!["label".to_owned(), "features".to_owned()]),
            Format::Parquet => parquet_file::names(file),
        }
    }
}

/// Texts of one column, end to end.
#[derive(Debug)]
pub(crate) struct TextColumn {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl TextColumn {
    pub(crate) fn new() -> TextColumn {
        TextColumn { bytes: Vec::new(), offsets: vec![0] }
    }

    #[inline]
    pub(crate) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.offsets.push(i32::try_from(self.bytes.len()).expect("a chunk is far smaller than 2 GB"));
    }

    /// Takes the texts out and starts again.
    pub(crate) fn take(&mut self) -> BinaryArray {
        let rows = self.offsets.len();
        let taken = std::mem::replace(self, TextColumn::with_capacity(self.bytes.len(), rows));
        let offsets = OffsetBuffer::new(taken.offsets.into());
        BinaryArray::new(offsets, Buffer::from_vec(taken.bytes), None)
    }

    fn with_capacity(bytes: usize, rows: usize) -> TextColumn {
        let mut offsets = Vec::with_capacity(rows);
        offsets.push(0);
        TextColumn { bytes: Vec::with_capacity(bytes), offsets }
    }
}

/// What every reader of text keeps about the rows of the chunk in the making.
#[derive(Debug, Default)]
pub(crate) struct RowLog {
    next_ordinal: u64,
    bytes: usize,
    ordinals: Vec<u64>,
    lines: Vec<u64>,
    refused: Vec<Refused>,
}

impl RowLog {
    pub(crate) fn accept(&mut self, line: u64, bytes: usize) {
        self.ordinals.push(self.next_ordinal);
        self.lines.push(line);
        self.next_ordinal += 1;
        self.bytes += bytes;
    }

    pub(crate) fn refuse(&mut self, line: u64, reason: Reason, row: &[u8]) {
        self.refused.push(Refused { line, reason, excerpt: crate::bad_row::excerpt(row) });
        self.next_ordinal += 1;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.ordinals.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES || self.refused.len() >= CHUNK_ROWS
    }

    /// The chunk of `columns`, if it holds anything.
    pub(crate) fn take(&mut self, columns: Vec<ArrayRef>) -> Option<Chunk> {
        if self.ordinals.is_empty() && self.refused.is_empty() {
            return None;
        }
        let taken = std::mem::replace(self, RowLog { next_ordinal: self.next_ordinal, ..RowLog::default() });
        Some(Chunk { columns, ordinals: taken.ordinals, lines: taken.lines, refused: taken.refused })
    }
}

/// The error for a column that is not there.
pub(crate) fn missing_column(file: &Path, column: &str, found: &[String]) -> Error {
    let score = |name: &&String| strsim::jaro_winkler(column, name);
    let nearest = found.iter().max_by(|a, b| score(a).total_cmp(&score(b))).filter(|name| score(name) > 0.7);
    Error::MissingColumn {
        file: file.to_owned(),
        column: column.to_owned(),
        found: found.join(", "),
        hint: nearest.map_or(String::new(), |name| format!("; did you mean \"{name}\"?")),
    }
}
