//! Sorting a log by time in bounded memory.
//!
//! Rows in order go straight to the log. From the first row that is out of order on, rows are collected, sorted and
//! spilled as runs (Arrow IPC, in the log's staging directory), and the runs are merged at the end; what had been
//! written before is the first run. Runs are in the order of the source and ties go to the earlier run, so that the
//! sort is stable and its result does not depend on the memory that it had.

use crate::error::{Error, Result};
use crate::log::{ImportNotes, LogWriter, Manifest, open_part, times};
use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use perennial_disk::{Disk, NewFile};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

/// Sorts rows by time on their way into a log.
pub(crate) struct Sorter {
    writer: LogWriter,
    columns: SchemaRef,
    memory: usize,
    buffered: Vec<RecordBatch>,
    buffered_bytes: usize,
    buffered_rows: usize,
    runs: Vec<Run>,
    spilled: usize,
    last_time: Option<i64>,
}

/// Rows in order of time.
enum Run {
    /// Parts that had been written to the log.
    Parts(Vec<PathBuf>),
    /// A spilled file.
    Spill(PathBuf),
}

/// Runs merged at once. Each holds one batch in memory.
const FAN_IN: usize = 64;

/// Rows to a batch of merged rows.
const MERGED: usize = 1 << 13;

impl Sorter {
    /// Sorts into `writer` with about `memory` bytes for rows.
    pub(crate) fn new(writer: LogWriter, columns: &SchemaRef, memory: u64) -> Sorter {
        Sorter {
            writer,
            columns: columns.clone(),
            memory: usize::try_from(memory).unwrap_or(usize::MAX),
            buffered: Vec::new(),
            buffered_bytes: 0,
            buffered_rows: 0,
            runs: Vec::new(),
            spilled: 0,
            last_time: None,
        }
    }

    /// Adds the next rows of the source.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.is_sorted() {
            let times = times(&batch);
            if self.last_time.is_none_or(|last| last <= times[0]) && times.is_sorted() {
                self.last_time = times.last().copied();
                return self.writer.write(&batch);
            }
            self.last_time = None;
            let written = self.writer.take_back()?;
            self.runs.push(Run::Parts(written));
        }
        self.buffered_rows += batch.num_rows();
        self.buffered_bytes += batch.get_array_memory_size();
        self.buffered.push(batch);
        let sort_keys = self.buffered_rows * size_of::<(i64, u32, u32)>();
        if self.buffered_bytes + sort_keys > self.memory / 4 * 3 {
            self.spill()?;
        }
        Ok(())
    }

    /// Merges what was collected and finishes the log.
    pub(crate) fn finish(mut self, notes: ImportNotes) -> Result<Manifest> {
        if !self.is_sorted() {
            self.merge_all()?;
        }
        self.writer.finish(notes)
    }

    fn is_sorted(&self) -> bool {
        self.runs.is_empty()
    }

    fn merge_all(&mut self) -> Result<()> {
        while self.runs.len() > FAN_IN {
            self.merge_some()?;
        }
        let mut cursors: Vec<Cursor> = Vec::new();
        for run in &self.runs {
            cursors.push(Cursor::open(run.open(&self.columns)?));
        }
        let rest = self.take_sorted();
        cursors.push(Cursor::open(Box::new(rest)));
        merge(cursors, |batch| self.writer.write(&batch))
    }

    /// Merges the first runs into one, so that few enough remain.
    fn merge_some(&mut self) -> Result<()> {
        let rest = self.runs.split_off(FAN_IN);
        let first = std::mem::replace(&mut self.runs, rest);
        let opened: Result<Vec<Cursor>> = first.iter().map(|run| Ok(Cursor::open(run.open(&self.columns)?))).collect();
        let path = self.spill_path();
        let mut spill = Spill::create(self.writer.disk(), &path, &self.columns, self.spill_rows())?;
        merge(opened?, |batch| spill.write(&batch))?;
        spill.finish()?;
        first.iter().try_for_each(|run| run.remove(self.writer.disk()))?;
        self.runs.insert(0, Run::Spill(path));
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        let path = self.spill_path();
        let mut spill = Spill::create(self.writer.disk(), &path, &self.columns, self.spill_rows())?;
        self.take_sorted().try_for_each(|batch| spill.write(&batch?))?;
        spill.finish()?;
        self.runs.push(Run::Spill(path));
        Ok(())
    }

    /// The collected rows, sorted; the buffer starts again.
    fn take_sorted(&mut self) -> Sorted {
        let mut order = Vec::with_capacity(self.buffered_rows);
        for (number, batch) in self.buffered.iter().enumerate() {
            let keys = times(batch).iter().enumerate().map(|(row, &time)| (time, number as u32, row as u32));
            order.extend(keys);
        }
        order.sort_unstable(); // keys are distinct, so this is stable
        (self.buffered_rows, self.buffered_bytes) = (0, 0);
        Sorted { batches: std::mem::take(&mut self.buffered), order, next: 0 }
    }

    fn spill_path(&mut self) -> PathBuf {
        self.spilled += 1;
        self.writer.staging().join(format!("run-{:06}.arrow", self.spilled))
    }

    /// Rows to a spilled batch, so that one of each merged run fits into a quarter of the memory.
    fn spill_rows(&self) -> usize {
        let row = self.buffered_bytes.checked_div(self.buffered_rows).unwrap_or(128) + 1;
        (self.memory / 4 / FAN_IN / row).clamp(64, MERGED)
    }
}

impl Run {
    fn open(&self, columns: &SchemaRef) -> Result<Batches> {
        match self {
            Run::Parts(files) => {
                let (files, columns) = (files.clone(), columns.clone());
                let read = move |file: PathBuf| -> Batches {
                    match open_part(&file, &columns) {
                        Ok(batches) => {
                            Box::new(batches.map(move |batch| batch.map_err(|e| Error::parquet(&file)(e.into()))))
                        }
                        Err(error) => Box::new(std::iter::once(Err(error))),
                    }
                };
                Ok(Box::new(files.into_iter().flat_map(read)))
            }
            Run::Spill(path) => {
                let file = File::open(path).map_err(Error::io(path))?;
                let reader = StreamReader::try_new(BufReader::with_capacity(1 << 16, file), None)?;
                Ok(Box::new(reader.map(|batch| Ok(batch?))))
            }
        }
    }

    fn remove(&self, disk: &Disk) -> Result<()> {
        let files: &[PathBuf] = match self {
            Run::Parts(files) => files,
            Run::Spill(path) => std::slice::from_ref(path),
        };
        files.iter().try_for_each(|file| disk.remove(file).map_err(Error::io(file)))
    }
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>>>;

/// Collected rows in order of time.
struct Sorted {
    batches: Vec<RecordBatch>,
    order: Vec<(i64, u32, u32)>,
    next: usize,
}

impl Iterator for Sorted {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let end = (self.next + MERGED).min(self.order.len());
        let order = &self.order[self.next..end];
        self.next = end;
        if order.is_empty() {
            return None;
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let rows: Vec<(usize, usize)> = order.iter().map(|&(_, batch, row)| (batch as usize, row as usize)).collect();
        Some(interleave_record_batch(&batches, &rows).map_err(Error::from))
    }
}

/// A run on disk in the making.
struct Spill {
    path: PathBuf,
    writer: StreamWriter<NewFile>,
    rows: usize,
}

impl Spill {
    fn create(disk: &Disk, path: &Path, columns: &SchemaRef, rows: usize) -> Result<Spill> {
        let file = disk.new_file(path).map_err(Error::io(path))?;
        let writer = StreamWriter::try_new(file, columns)?;
        Ok(Spill { path: path.to_owned(), writer, rows })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for start in (0..batch.num_rows()).step_by(self.rows) {
            let piece = batch.slice(start, self.rows.min(batch.num_rows() - start));
            self.writer.write(&piece).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.writer.finish().map_err(|error| self.failed(error))?;
        self.writer.get_mut().flush().map_err(Error::io(&self.path))
    }

    /// A full disk is the file's error, not a mistake in its columns.
    fn failed(&self, error: arrow::error::ArrowError) -> Error {
        match error {
            arrow::error::ArrowError::IoError(_, source) => Error::io(&self.path)(source),
            other => other.into(),
        }
    }
}

/// A run being merged.
struct Cursor {
    batches: Batches,
    /// Number of the current batch in the pool.
    pooled: usize,
    times: Vec<i64>,
    row: usize,
}

impl Cursor {
    fn open(batches: Batches) -> Cursor {
        Cursor { batches, pooled: 0, times: Vec::new(), row: 0 }
    }

    /// Moves to the next batch, which joins the pool; false if there is none.
    fn advance(&mut self, pool: &mut Vec<RecordBatch>) -> Result<bool> {
        for batch in self.batches.by_ref() {
            let batch = batch?;
            if batch.num_rows() > 0 {
                (self.pooled, self.row) = (pool.len(), 0);
                self.times = times(&batch).to_vec();
                pool.push(batch);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Merges runs; of rows of one time those of an earlier run come first.
fn merge(mut cursors: Vec<Cursor>, mut write: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
    let mut pool: Vec<RecordBatch> = Vec::new();
    let mut heap = BinaryHeap::new();
    for (run, cursor) in cursors.iter_mut().enumerate() {
        if cursor.advance(&mut pool)? {
            heap.push(Reverse((cursor.times[0], run)));
        }
    }
    let mut rows: Vec<(usize, usize)> = Vec::with_capacity(MERGED);
    while let Some(Reverse((_, run))) = heap.pop() {
        let next = heap.peek().map(|Reverse(key)| *key);
        // The run goes on for as long as it stays ahead of all others.
        loop {
            let cursor = &mut cursors[run];
            rows.push((cursor.pooled, cursor.row));
            cursor.row += 1;
            let more = cursor.row < cursor.times.len() || cursor.advance(&mut pool)?;
            if rows.len() == MERGED {
                write(interleave_record_batch(&pool.iter().collect::<Vec<_>>(), &rows)?)?;
                rows.clear();
                keep_current(&mut pool, &mut cursors);
            }
            let cursor = &cursors[run];
            if !more {
                break;
            }
            let key = (cursor.times[cursor.row], run);
            if next.is_some_and(|next| next < key) {
                heap.push(Reverse(key));
                break;
            }
        }
    }
    if !rows.is_empty() {
        write(interleave_record_batch(&pool.iter().collect::<Vec<_>>(), &rows)?)?;
    }
    Ok(())
}

/// Drops the batches that no run needs any more.
fn keep_current(pool: &mut Vec<RecordBatch>, cursors: &mut [Cursor]) {
    let mut kept = Vec::with_capacity(cursors.len());
    for cursor in cursors.iter_mut().filter(|cursor| cursor.row < cursor.times.len()) {
        kept.push(pool[cursor.pooled].clone());
        cursor.pooled = kept.len() - 1;
    }
    *pool = kept;
}
