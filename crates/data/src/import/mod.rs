//! From any files to the canonical log: read, check, sort by time, write.

mod cells;
mod convert;
mod pipeline;
mod refusals;
mod side;
mod sort;
mod times;

pub use side::SideTable;
pub(crate) use times::parse_time;

use crate::error::{Error, Result};
use crate::log::{ImportNotes, LogWriter, Manifest, PartitionOptions, SourceNote};
use crate::read::{Format, ReadOptions, SourceFile, find_sources};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int64Type};
use convert::Converter;
use hashbrown::HashMap;
use perennial_core::rng::hash_text;
use perennial_core::{Role, Schema};
use perennial_disk::Disk;
use pipeline::{Event, Sources};
use refusals::Refusals;
use sort::Sorter;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// What to import, and how.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Files, directories and patterns; see [`find_sources`].
    pub sources: Vec<PathBuf>,
    /// The format of all files; `None` guesses each by its name.
    pub format: Option<Format>,
    /// What the columns are.
    pub schema: Schema,
    /// Attributes to join.
    pub sides: Vec<SideTable>,
    /// The directory of the log.
    pub out: PathBuf,
    /// The largest share of bad rows that is tolerated.
    pub max_bad: f64,
    /// About how many bytes of rows to hold while sorting.
    pub memory: u64,
    /// Where parts end, and whether a log may be replaced.
    pub partition: PartitionOptions,
    /// 1 does all work on the calling thread; more adds one for reading and one for converting.
    pub threads: usize,
    /// Keep only users with at least so many events. This looks at the whole log, the future included: it chooses a
    /// population, as published protocols do, and reads all files twice.
    pub min_events: Option<u32>,
    /// Longest line in bytes.
    pub max_line: usize,
    /// The disk; one that is made to fail, in tests.
    pub disk: Disk,
}

impl ImportOptions {
    /// Everything at its default: 1 % of bad rows, 1 GiB, about a million rows to a part, all cores.
    pub fn new(sources: Vec<PathBuf>, schema: Schema, out: PathBuf) -> ImportOptions {
        ImportOptions {
            sources,
            format: None,
            schema,
            sides: Vec::new(),
            out,
            max_bad: 0.01,
            memory: 1 << 30,
            partition: PartitionOptions::default(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            min_events: None,
            max_line: ReadOptions::default().max_line,
            disk: Disk::default(),
        }
    }
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// Bytes taken from the files in this stage.
    pub bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// Rows read in this stage, bad ones included.
    pub rows: u64,
    /// Bad rows among them.
    pub bad_rows: u64,
}

/// What an import is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Counting the events of users, for `min_events`.
    Counting,
    /// Reading, and writing what is in order.
    Reading,
    /// Merging what was not in order.
    Sorting,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportSummary {
    /// The log.
    pub manifest: Manifest,
    /// Rows read, bad ones included.
    pub rows_read: u64,
    /// What a person should know, such as files without rows.
    pub warnings: Vec<String>,
}

/// Imports files into a log. The files are not changed; on any error no log is left behind. The bytes of the log
/// depend on the files and the schema, not on memory or threads.
///
/// `progress` is called on the calling thread, once per chunk of rows. A process that is killed leaves `.partial/` in the
/// directory, which the next import into it clears away.
///
/// ```
/// use perennial_core::Schema;
/// use perennial_data::{ImportOptions, Log, import};
///
/// let dir = tempfile::tempdir()?;
/// let file = dir.path().join("clicks.csv");
/// std::fs::write(&file, "user,item,clicked,at\n7,a,1,1506826829\n8,b,0,1506826828\n")?;
/// let schema = Schema::parse(
///     r#"
///     name = "clicks"
///     field = [
///       { name = "user", kind = "id", role = "user", id = "int" },
///       { name = "item", kind = "id", role = "item" },
///       { name = "clicked", kind = "label" },
///       { name = "at", kind = "timestamp", unit = "s" },
///     ]"#,
/// )?;
/// let out = dir.path().join("log");
/// let summary = import(&ImportOptions::new(vec![file], schema, out.clone()), &|_| {})?;
/// assert_eq!(summary.manifest.rows, 2);
/// assert_eq!(Log::open(&out)?.batches().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import(options: &ImportOptions, progress: &dyn Fn(Progress)) -> Result<ImportSummary> {
    if !(0.0..=1.0).contains(&options.max_bad) {
        return Err(Error::Usage(format!("--max-bad: expected a share from 0 to 1, got {}", options.max_bad)));
    }
    let files = find_sources(&options.sources)?;
    let converter = Converter::new(&options.schema, &options.sides)?;
    let import = Import { options, files: &files, converter: &converter, progress };
    let frequent = options.min_events.map(|least| import.frequent_users(least)).transpose()?;
    import.write(frequent.as_ref())
}

/// Events by user.
type Counts = HashMap<u64, u32>;

struct Import<'a> {
    options: &'a ImportOptions,
    files: &'a [SourceFile],
    converter: &'a Converter,
    progress: &'a dyn Fn(Progress),
}

impl Import<'_> {
    /// Users with at least `least` events that are good rows.
    fn frequent_users(&self, least: u32) -> Result<Counts> {
        let user = self.user_column()?;
        let mut counts = Counts::new();
        let (mut rows, mut bad_rows) = (0, 0);
        self.read(Stage::Counting, |event, progress| {
            if let Event::Rows(converted) = event {
                each_key(converted.batch.column(user), |key| *counts.entry(key).or_default() += 1);
                (rows, bad_rows) = (rows + converted.rows, bad_rows + converted.bad.len() as u64);
                progress(rows, bad_rows);
            }
            Ok(())
        })?;
        counts.retain(|_, count| *count >= least);
        Ok(counts)
    }

    fn user_column(&self) -> Result<usize> {
        let key = self.options.schema.key_of(Role::User);
        let key = key.ok_or_else(|| Error::Usage("--min-events: the schema has no user to count events of".into()))?;
        Ok(self.converter.columns().index_of(&key.name)?)
    }

    fn write(&self, frequent: Option<&Counts>) -> Result<ImportSummary> {
        let options = self.options;
        let user = frequent.map(|_| self.user_column()).transpose()?;
        let writer = LogWriter::create_on(&options.disk, &options.out, &options.schema, options.partition)?;
        let mut refusals = Refusals::new(&options.disk, writer.staging(), options.max_bad);
        let mut sorter = Sorter::new(writer, self.converter.columns(), options.memory);
        let mut notes = ImportNotes::default();
        self.read(Stage::Reading, |event, progress| {
            match event {
                Event::EndOfFile { rows } => notes.sources.push(self.note(notes.sources.len(), rows)),
                Event::Rows(converted) => {
                    refusals.add(converted.rows, converted.bad)?;
                    let mut batch = converted.batch;
                    if let (Some(counts), Some(user)) = (frequent, user) {
                        let kept = keep_users(&batch, user, counts)?;
                        notes.filtered_rows += (batch.num_rows() - kept.num_rows()) as u64;
                        batch = kept;
                    }
                    sorter.push(batch)?;
                    let (rows, bad) = refusals.totals();
                    progress(rows, bad);
                }
            }
            Ok(())
        })?;
        let (rows_read, bad_rows) = refusals.totals();
        if rows_read == 0 {
            return Err(Error::NoSources(format!(
                "all {} files are empty; there is nothing to import",
                self.files.len()
            )));
        }
        notes.bad_rows = refusals.finish()?;
        let warnings = notes.sources.iter().filter(|source| source.rows == 0);
        let warnings = warnings.map(|source| format!("{} holds no rows", source.file)).collect();
        self.report(Stage::Sorting, self.total_bytes(), rows_read, bad_rows);
        Ok(ImportSummary { manifest: sorter.finish(notes)?, rows_read, warnings })
    }

    /// Runs over all files; `consume` gets a function that reports rows and bad rows.
    fn read(&self, stage: Stage, mut consume: impl FnMut(Event, &dyn Fn(u64, u64)) -> Result<()>) -> Result<()> {
        let read_options = ReadOptions { max_line: self.options.max_line, ..ReadOptions::default() };
        let sources = Sources {
            files: self.files,
            format: self.options.format.as_ref(),
            options: &read_options,
            converter: self.converter,
            threads: self.options.threads,
        };
        let report = |rows, bad| self.report(stage, read_options.progress.load(Ordering::Relaxed), rows, bad);
        sources.run(|event| consume(event, &report))
    }

    fn report(&self, stage: Stage, bytes: u64, rows: u64, bad_rows: u64) {
        (self.progress)(Progress { stage, bytes, total_bytes: self.total_bytes(), rows, bad_rows });
    }

    fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    fn note(&self, file: usize, rows: u64) -> SourceNote {
        let source = &self.files[file];
        SourceNote { file: source.name.clone(), bytes: source.bytes, rows }
    }
}

fn keep_users(batch: &RecordBatch, user: usize, counts: &Counts) -> Result<RecordBatch> {
    let mut kept = Vec::with_capacity(batch.num_rows());
    each_key(batch.column(user), |key| kept.push(counts.contains_key(&key)));
    Ok(filter_record_batch(batch, &BooleanArray::from(kept))?)
}

/// Keys of a column of ids without nulls.
fn each_key(ids: &ArrayRef, mut visit: impl FnMut(u64)) {
    match ids.data_type() {
        DataType::Int64 => ids.as_primitive::<Int64Type>().values().iter().for_each(|&id| visit(id as u64)),
        _ => {
            let texts = ids.as_string::<i32>();
            (0..texts.len()).for_each(|row| visit(hash_text(texts.value(row))));
        }
    }
}
