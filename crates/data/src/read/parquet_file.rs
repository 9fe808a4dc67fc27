//! Parquet files.

use super::{CHUNK_ROWS, Chunk, ReadChunks, ReadOptions, Wanted, missing_column};
use crate::error::{Error, Result};
use arrow::array::{ArrayRef, NullArray};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads the wanted columns of a Parquet file.
pub(crate) struct Reader {
    file: PathBuf,
    reader: ParquetRecordBatchReader,
    /// For each wanted column its place in a batch.
    places: Vec<Option<usize>>,
    next_row: u64,
    /// For progress: the share of the file's bytes that a row stands for.
    bytes: u64,
    rows: u64,
    progress: Arc<AtomicU64>,
}

impl Reader {
    pub(crate) fn open(file: &Path, wanted: &[Wanted], options: &ReadOptions) -> Result<Reader> {
        let source = File::open(file).map_err(Error::io(file))?;
        let bytes = source.metadata().map_err(Error::io(file))?.len();
        let builder = ParquetRecordBatchReaderBuilder::try_new(source).map_err(Error::parquet(file))?;
        let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut roots = Vec::new();
        for want in wanted {
            let root = names.iter().position(|name| *name == want.name);
            if root.is_none() && !want.optional {
                return Err(missing_column(file, &want.name, &names));
            }
            roots.push(root);
        }
        let mut kept: Vec<usize> = roots.iter().flatten().copied().collect();
        kept.sort_unstable();
        let place = |root: &Option<usize>| root.map(|root| kept.partition_point(|&other| other < root));
        let places = roots.iter().map(place).collect();
        let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let mask = ProjectionMask::roots(builder.parquet_schema(), kept.iter().copied());
        let reader = builder.with_projection(mask).with_batch_size(CHUNK_ROWS).build().map_err(Error::parquet(file))?;
        let (file, progress) = (file.to_owned(), options.progress.clone());
        Ok(Reader { file, reader, places, next_row: 0, bytes, rows, progress })
    }
}

/// Names of the columns of a file.
pub(crate) fn names(file: &Path) -> Result<Vec<String>> {
    let source = File::open(file).map_err(Error::io(file))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(source).map_err(Error::parquet(file))?;
    Ok(builder.schema().fields().iter().map(|field| field.name().clone()).collect())
}

impl ReadChunks for Reader {
    fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|error| Error::parquet(&self.file)(error.into()))?;
        let rows = batch.num_rows() as u64;
        let column = |place: &Option<usize>| -> ArrayRef {
            match place {
                Some(place) => batch.column(*place).clone(),
                None => Arc::new(NullArray::new(batch.num_rows())),
            }
        };
        let columns = self.places.iter().map(column).collect();
        let ordinals: Vec<u64> = (self.next_row..self.next_row + rows).collect();
        let lines = ordinals.iter().map(|row| row + 1).collect();
        self.next_row += rows;
        self.progress.fetch_add(self.bytes * rows / self.rows.max(1), Ordering::Relaxed);
        Ok(Some(Chunk { columns, ordinals, lines, refused: Vec::new() }))
    }
}
