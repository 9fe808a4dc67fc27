//! The canonical log: Parquet parts that are contiguous ranges of time, in order, under a checksummed manifest.
//!
//! ```text
//! clicks/
//!   schema.toml                                the schema, every default spelled out
//!   manifest.json                              written last: a directory without it is not a log
//!   parts/part-20171001T020000Z-00000.parquet  named for the time of the first row, then numbered
//!   bad_rows.jsonl                             rows that were refused, if any
//! ```
//!
//! Rows are sorted by time over the whole log; rows of one time keep the order of their source. The columns are
//! those of [`arrow_schema`]. Files are written under `.partial/`, synced, and moved into place with the manifest
//! last, so that a log is whole or absent. Format number: [`FORMAT`].

mod columns;
mod manifest;
mod reader;
mod staging;
mod writer;

pub use columns::{EVENT_ID, TIME, arrow_schema, observable_name, version_name};
pub(crate) use columns::{is_required_key, time_type};
pub use manifest::{FORMAT, ImportNotes, Manifest, Part, SourceNote};
pub(crate) use reader::open_part;
pub use reader::{Batches, Log};
pub(crate) use writer::times;
pub use writer::{Cut, LogWriter, PartitionOptions};

pub(crate) const SCHEMA_FILE: &str = "schema.toml";
pub(crate) const MANIFEST_FILE: &str = "manifest.json";
pub(crate) const BAD_ROWS_FILE: &str = "bad_rows.jsonl";
pub(crate) const PARTS_DIR: &str = "parts";
pub(crate) const STAGING_DIR: &str = ".partial";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt64Array};
    use perennial_core::{Schema, Span};
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    fn schema() -> Schema {
        Schema::parse(
            r#"
            name = "x"
            field = [
              { name = "u", kind = "id", role = "user", id = "int" },
              { name = "when", kind = "timestamp", unit = "s" },
              { name = "click", kind = "label" },
            ]"#,
        )
        .unwrap()
    }

    /// Rows whose times, ids and users are `times`.
    fn rows(times: &[i64]) -> RecordBatch {
        let time = || Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC")) as ArrayRef;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_iter_values(times.iter().map(|&t| t as u64))),
            time(),
            Arc::new(Int64Array::from(times.to_vec())),
            Arc::new(Float32Array::from(vec![1.0; times.len()])),
            time(),
        ];
        RecordBatch::try_new(arrow_schema(&schema()), columns).unwrap()
    }

    fn write(dir: &Path, cut: Cut, batches: &[Vec<i64>]) -> Manifest {
        let options = PartitionOptions { cut, replace: true };
        let mut writer = LogWriter::create(dir, &schema(), options).unwrap();
        batches.iter().for_each(|times| writer.write(&rows(times)).unwrap());
        writer.finish(ImportNotes::default()).unwrap()
    }

    fn read_times(log: &Log) -> Vec<i64> {
        log.batches().flat_map(|batch| writer::times(&batch.unwrap()).to_vec()).collect()
    }

    #[test]
    fn reads_back_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let times: Vec<i64> = (0..50_000).collect();
        let manifest = write(dir.path(), Cut::Rows(20_000), &[times[..7].to_vec(), times[7..].to_vec()]);
        assert_eq!(manifest.parts.iter().map(|part| part.rows).collect::<Vec<_>>(), [20_000, 20_000, 10_000]);
        let log = Log::open(dir.path()).unwrap();
        assert_eq!(log.manifest(), &manifest);
        assert_eq!(log.schema(), &schema());
        assert_eq!(read_times(&log), times);
        let from_second = log.batches_from(1).map(|batch| batch.unwrap().num_rows()).sum::<usize>();
        assert_eq!(from_second, 30_000);
        log.verify().unwrap();
    }

    #[test]
    fn bytes_do_not_depend_on_how_rows_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let times: Vec<i64> = (0..100_000).map(|i| i / 3).collect();
        let whole = write(dir.path(), Cut::Rows(60_000), std::slice::from_ref(&times));
        let pieces: Vec<Vec<i64>> = times.chunks(777).map(<[i64]>::to_vec).collect();
        assert_eq!(write(dir.path(), Cut::Rows(60_000), &pieces), whole);
    }

    #[test]
    fn spans_cut_at_their_multiples() {
        let dir = tempfile::tempdir().unwrap();
        let hour = 3_600_000_000;
        let times = vec![-1, 0, 5, hour - 1, hour, 3 * hour];
        let manifest = write(dir.path(), Cut::Span(Span(hour)), std::slice::from_ref(&times));
        assert_eq!(manifest.parts.iter().map(|part| part.rows).collect::<Vec<_>>(), [1, 3, 1, 1]);
        assert_eq!(manifest.parts[2].file, "part-19700101T010000Z-00002.parquet");
        assert_eq!(read_times(&Log::open(dir.path()).unwrap()), times);
    }

    #[test]
    fn an_empty_log_is_a_log() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), Cut::Rows(10), &[]);
        assert!(read_times(&Log::open(dir.path()).unwrap()).is_empty());
    }

    #[test]
    fn unsorted_rows_are_refused_on_both_sides() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(dir.path(), &schema(), PartitionOptions::default()).unwrap();
        writer.write(&rows(&[1, 2])).unwrap();
        assert!(matches!(writer.write(&rows(&[3, 2])), Err(Error::Unsorted { row: 3, .. })));
        drop(writer);

        write(dir.path(), Cut::Rows(2), &[vec![1, 2, 3, 4]]);
        swap_first_two_parts(dir.path());
        let error = Log::open(dir.path()).unwrap().batches().find_map(Result::err).unwrap().to_string();
        assert!(error.contains("00000.parquet: row 0") && error.contains("import the log again"), "{error}");
    }

    /// Lists the second part first, as a careless hand might.
    fn swap_first_two_parts(dir: &Path) {
        let mut manifest = Log::open(dir).unwrap().manifest().clone();
        manifest.parts.swap(0, 1);
        fs::write(dir.join(MANIFEST_FILE), serde_json::to_string(&manifest).unwrap()).unwrap();
    }

    #[test]
    fn damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = write(dir.path(), Cut::Rows(100), &[(0..100).collect()]);
        let part = dir.path().join(PARTS_DIR).join(&manifest.parts[0].file);
        let whole = fs::read(&part).unwrap();
        let mut flipped = whole.clone();
        flipped[40] ^= 1;
        fs::write(&part, &flipped).unwrap();
        let error = Log::open(dir.path()).unwrap().verify().unwrap_err().to_string();
        assert!(error.contains(&manifest.parts[0].file) && error.contains("checksum"), "{error}");

        fs::write(&part, &whole[..whole.len() - 1]).unwrap();
        assert!(matches!(Log::open(dir.path()), Err(Error::Damaged { .. })));
        fs::write(dir.path().join(SCHEMA_FILE), "name = \"y\"").unwrap();
        assert!(matches!(Log::open(dir.path()), Err(Error::Damaged { .. })));
    }

    #[test]
    fn nothing_stays_of_an_unfinished_log() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("log");
        let mut writer = LogWriter::create(&dir, &schema(), PartitionOptions::default()).unwrap();
        writer.write(&rows(&[1])).unwrap();
        assert!(matches!(Log::open(&dir), Err(Error::NotALog { .. })));
        drop(writer);
        assert!(!dir.exists());
    }

    #[test]
    fn only_free_directories_are_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let create = |replace| {
            let options = PartitionOptions { replace, ..PartitionOptions::default() };
            LogWriter::create(dir.path(), &schema(), options).map(drop)
        };
        let held = LogWriter::create(dir.path(), &schema(), PartitionOptions::default()).unwrap();
        assert!(create(false).unwrap_err().to_string().contains("another import"));
        drop(held);
        fs::create_dir(dir.path().join(STAGING_DIR)).unwrap(); // what a killed writer leaves
        create(false).unwrap();
        write(dir.path(), Cut::Rows(10), &[vec![1]]);
        assert!(create(false).unwrap_err().to_string().contains("--replace"));
        create(true).unwrap();
        assert_eq!(read_times(&Log::open(dir.path()).unwrap()), [1], "an abandoned replacement changes nothing");
        fs::remove_file(dir.path().join(MANIFEST_FILE)).unwrap();
        assert!(create(true).unwrap_err().to_string().contains("not empty"));
    }

    #[test]
    fn other_formats_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), Cut::Rows(10), &[vec![1]]);
        let path = dir.path().join(MANIFEST_FILE);
        let text = fs::read_to_string(&path).unwrap().replace("\"format\": 1", "\"format\": 2");
        fs::write(&path, text).unwrap();
        assert!(Log::open(dir.path()).unwrap_err().to_string().contains("expected format 1, got 2"));
    }
}
