//! Score files: what a model said of the events of a log, joined to them by event id.
//!
//! Parquet with the columns `event_id: UInt64` and `logit: Float32`, in any order of rows, and possibly `version: Utf8`, the name
//! of the model that gave the score.

use crate::error::{Error, Result};
use crate::log::EVENT_ID;
use arrow::array::{Array, AsArray, Float32Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef, UInt64Type};
use hashbrown::HashMap;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use perennial_core::{Digest, DigestBuilder};
use perennial_disk::{Disk, Draft};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOGIT: &str = "logit";
const VERSION: &str = "version";

/// Writes a score file, which appears under its name only when it is whole.
pub struct ScoreWriter {
    path: PathBuf,
    writer: ArrowWriter<Draft>,
}

/// The scores of a file, by event id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    by_event: HashMap<u64, f32>,
    versions: BTreeSet<String>,
}

impl ScoreWriter {
    /// Starts the file `path`; one that is there is replaced at the end.
    pub fn create(path: &Path) -> Result<ScoreWriter> {
        ScoreWriter::create_on(&Disk::default(), path)
    }

    /// As [`ScoreWriter::create`], on a disk that may be one made to fail.
    pub fn create_on(disk: &Disk, path: &Path) -> Result<ScoreWriter> {
        let file = disk.draft(path).map_err(Error::io(path))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::LZ4_RAW)
            .set_dictionary_enabled(false)
            .set_created_by("perennial".to_owned())
            .build();
        let writer = ArrowWriter::try_new(file, columns(), Some(properties)).map_err(Error::writing(path))?;
        Ok(ScoreWriter { path: path.to_owned(), writer })
    }

    /// Adds scores: `logits[i]` belongs to `events[i]`.
    pub fn write(&mut self, events: &[u64], logits: &[f32]) -> Result<()> {
        let batch = RecordBatch::try_new(
            columns(),
            vec![Arc::new(UInt64Array::from(events.to_vec())), Arc::new(Float32Array::from(logits.to_vec()))],
        )?;
        self.writer.write(&batch).map_err(Error::writing(&self.path))
    }

    /// Ends the file and gives it its name; durable on return.
    pub fn finish(self) -> Result<()> {
        let draft = self.writer.into_inner().map_err(Error::writing(&self.path))?;
        draft.finish().map_err(Error::io(&self.path))
    }
}

impl Scores {
    /// Reads a score file into memory: 16 bytes an event, about. An event that is in it twice, a null and a logit that is not
    /// finite are errors.
    pub fn read(path: &Path) -> Result<Scores> {
        let file = File::open(path).map_err(Error::io(path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(Error::parquet(path))?;
        let fields = builder.schema().fields();
        let is = |field: &Field, like: &Field| field.name() == like.name() && field.data_type() == like.data_type();
        let known = fields.len() >= 2 && fields.iter().zip(columns().fields()).all(|(field, like)| is(field, like));
        let versioned = fields.len() == 3 && is(&fields[2], &Field::new(VERSION, DataType::Utf8, true));
        if !(known && (fields.len() == 2 || versioned)) {
            let got = builder.schema().fields().iter().map(|field| field.to_string()).collect::<Vec<_>>().join(", ");
            let problem = format!(
                "{}: expected event_id: UInt64, logit: Float32 and perhaps version: Utf8, got {got}",
                path.display()
            );
            return Err(Error::Usage(problem));
        }
        let (mut by_event, mut versions) = (HashMap::new(), BTreeSet::new());
        for batch in builder.build().map_err(Error::parquet(path))? {
            let batch = batch.map_err(|error| Error::parquet(path)(error.into()))?;
            if batch.columns()[..2].iter().any(|column| column.null_count() > 0) {
                return Err(Error::Usage(format!("{}: an event or a logit is null", path.display())));
            }
            if versioned {
                note_versions(&mut versions, batch.column(2));
            }
            let events = batch.column(0).as_primitive::<UInt64Type>().values();
            let logits = batch.column(1).as_primitive::<Float32Type>().values();
            for (&event, &logit) in events.iter().zip(logits) {
                if !logit.is_finite() {
                    return Err(Error::Usage(format!("{}: the logit of event {event} is {logit}", path.display())));
                }
                if by_event.insert(event, logit).is_some() {
                    return Err(Error::Usage(format!("{}: event {event} is scored twice", path.display())));
                }
            }
        }
        Ok(Scores { by_event, versions })
    }

    /// Number of events that have a score.
    pub fn len(&self) -> usize {
        self.by_event.len()
    }

    /// Names of the models that gave the scores, as far as the file says; at most a thousand of them.
    pub fn versions(&self) -> &BTreeSet<String> {
        &self.versions
    }

    /// Digest over events and their scores, whatever the order of rows.
    pub fn digest(&self) -> Digest {
        let mut events: Vec<u64> = self.by_event.keys().copied().collect();
        events.sort_unstable();
        let logits: Vec<f32> = events.iter().map(|event| self.by_event[event]).collect();
        let mut digest = DigestBuilder::new("scores");
        events.iter().for_each(|&event| {
            digest.u64(event);
        });
        digest.f32s(&logits).finish()
    }

    /// Whether no event has a score.
    pub fn is_empty(&self) -> bool {
        self.by_event.is_empty()
    }

    /// Events and their scores, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, f32)> + '_ {
        self.by_event.iter().map(|(&event, &logit)| (event, logit))
    }

    /// The score of an event.
    pub fn get(&self, event: u64) -> Option<f32> {
        self.by_event.get(&event).copied()
    }

    /// The scores of the rows of a log's batch, in their order; null where an event has none.
    pub fn join(&self, batch: &RecordBatch) -> Float32Array {
        let events = batch.column_by_name(EVENT_ID).expect("a batch of a log has event ids");
        events.as_primitive::<UInt64Type>().values().iter().map(|&event| self.get(event)).collect()
    }
}

/// More names than these say nothing more.
const MOST_VERSIONS: usize = 1000;

/// Adds the names of versions in a column of texts to those known, up to a thousand.
pub fn note_versions(versions: &mut BTreeSet<String>, column: &dyn Array) {
    for name in column.as_string::<i32>().iter().flatten() {
        if versions.len() < MOST_VERSIONS && !versions.contains(name) {
            versions.insert(name.to_owned());
        }
    }
}

fn columns() -> SchemaRef {
    let fields = vec![Field::new(EVENT_ID, DataType::UInt64, false), Field::new(LOGIT, DataType::Float32, false)];
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_find_their_events() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scores.parquet");
        let mut writer = ScoreWriter::create(&path).unwrap();
        writer.write(&[u64::MAX, 3], &[0.25, -1e-30]).unwrap();
        writer.write(&[5], &[f32::MIN]).unwrap();
        assert!(!path.exists(), "a file that is not whole has no name yet");
        writer.finish().unwrap();
        let scores = Scores::read(&path).unwrap();
        assert_eq!((scores.len(), scores.get(u64::MAX), scores.get(4)), (3, Some(0.25), None));
        let events: arrow::array::ArrayRef = Arc::new(UInt64Array::from(vec![5, 4, 3]));
        let joined = scores.join(&RecordBatch::try_from_iter([("event_id", events)]).unwrap());
        assert_eq!(joined, Float32Array::from(vec![Some(f32::MIN), None, Some(-1e-30)]));
    }

    #[test]
    fn a_doubly_scored_event_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scores.parquet");
        let mut writer = ScoreWriter::create(&path).unwrap();
        writer.write(&[7, 7], &[0.0, 1.0]).unwrap();
        writer.finish().unwrap();
        assert!(Scores::read(&path).unwrap_err().to_string().contains("event 7"));
    }
}
