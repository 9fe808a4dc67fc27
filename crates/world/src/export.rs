//! A marketplace on disk.

use crate::error::WorldError;
use crate::marketplace::Marketplace;
use arrow::array::{AsArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use parquet::arrow::ArrowWriter;
use perennial_core::Span;
use perennial_data::log::{Cut, EVENT_ID, ImportNotes, LogWriter, Manifest, PartitionOptions};
use perennial_disk::Disk;
use std::path::Path;
use std::sync::Arc;

/// The directory of the canonical log, beneath the one that [`Marketplace::write`] is given.
pub const LOG_DIR: &str = "log";

/// The file of true logits beside it: `event_id: UInt64, logit: Float32`.
pub const TRUTH_FILE: &str = "truth.parquet";

impl Marketplace {
    /// Writes the canonical log to `dir/log`, a part per period, and the true logits to `dir/truth.parquet`, joined to
    /// it by event id. A world that is already there is replaced; the truth gets its name only when it is whole, and
    /// after the log.
    pub fn write(&self, dir: &Path) -> Result<Manifest, WorldError> {
        self.write_on(&Disk::default(), dir)
    }

    /// As [`Marketplace::write`], on a disk that may be one made to fail.
    pub fn write_on(&self, disk: &Disk, dir: &Path) -> Result<Manifest, WorldError> {
        disk.create_folder(dir).map_err(WorldError::Write)?;
        let options = PartitionOptions { cut: Cut::Span(Span(crate::impressions::DAY)), replace: true };
        let mut log = LogWriter::create_on(disk, &dir.join(LOG_DIR), &self.schema(), options)?;
        let draft = disk.draft(&dir.join(TRUTH_FILE)).map_err(WorldError::Write)?;
        let mut truth = ArrowWriter::try_new(draft, truth_columns(), None)?;
        for impressions in self.periods() {
            log.write(&impressions.rows)?;
            truth.write(&truth_rows(&impressions.rows, impressions.logits))?;
        }
        let truth = truth.into_inner()?;
        let manifest = log.finish(ImportNotes::default())?;
        truth.finish().map_err(WorldError::Write)?;
        Ok(manifest)
    }
}

fn truth_columns() -> Arc<Schema> {
    let event = Field::new(EVENT_ID, DataType::UInt64, false);
    Arc::new(Schema::new(vec![event, Field::new("logit", DataType::Float32, false)]))
}

fn truth_rows(rows: &RecordBatch, logits: Vec<f32>) -> RecordBatch {
    let events = rows.column(0).as_primitive::<UInt64Type>().clone();
    RecordBatch::try_new(truth_columns(), vec![Arc::new(events), Arc::new(Float32Array::from(logits))])
        .expect("one logit for each row")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MarketplaceConfig;
    use arrow::compute::concat_batches;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use perennial_data::Log;
    use std::fs::{self, File};

    fn marketplace(seed: u64) -> Marketplace {
        Marketplace::new(MarketplaceConfig { periods: 3, rows: 500, ..MarketplaceConfig::default() }, seed).unwrap()
    }

    fn bytes_of(seed: u64) -> (Manifest, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let manifest = marketplace(seed).write(dir.path()).unwrap();
        (manifest, fs::read(dir.path().join(TRUTH_FILE)).unwrap())
    }

    /// The manifest holds the checksum of every part.
    #[test]
    fn same_seed_same_bytes() {
        assert_eq!(bytes_of(1), bytes_of(1));
        let (other, other_truth) = bytes_of(2);
        assert_ne!(bytes_of(1).0, other);
        assert_ne!(bytes_of(1).1, other_truth);
    }

    #[test]
    fn what_is_written_is_what_was_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let marketplace = marketplace(1);
        marketplace.write(dir.path()).unwrap();
        marketplace.write(dir.path()).unwrap(); // again, over the first
        let drawn: Vec<_> = marketplace.periods().collect();

        let log = Log::open(&dir.path().join(LOG_DIR)).unwrap();
        assert_eq!(log.schema(), &marketplace.schema());
        assert_eq!(log.manifest().parts.iter().map(|part| part.rows).collect::<Vec<_>>(), [500; 3]);
        let read: Vec<_> = log.batches().map(Result::unwrap).collect();
        let rows: Vec<_> = drawn.iter().map(|impressions| impressions.rows.clone()).collect();
        assert_eq!(
            concat_batches(log.columns(), &read).unwrap().columns(),
            concat_batches(log.columns(), &rows).unwrap().columns()
        );

        let file = File::open(dir.path().join(TRUTH_FILE)).unwrap();
        let truth: Vec<_> = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().collect();
        let truth: Vec<_> = truth.into_iter().map(Result::unwrap).collect();
        let expected: Vec<_> = drawn.into_iter().map(|part| truth_rows(&part.rows, part.logits)).collect();
        assert_eq!(
            concat_batches(&truth_columns(), &truth).unwrap(),
            concat_batches(&truth_columns(), &expected).unwrap()
        );
    }
}
