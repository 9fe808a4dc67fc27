//! Served scores as side files: `event_id: UInt64, logit: Float32`, joined to a log by event id.

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, Float32Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, UInt64Type};
use hashbrown::HashMap;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// The bytes of a score file.
pub(crate) fn to_parquet(events: &[u64], logits: &[f32]) -> Result<Vec<u8>> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("event_id", DataType::UInt64, false),
        Field::new("logit", DataType::Float32, false),
    ]));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(UInt64Array::from(events.to_vec())), Arc::new(Float32Array::from(logits.to_vec()))];
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(bytes)
}

/// The logit of each event.
pub(crate) fn read(path: &Path) -> Result<HashMap<u64, f32>> {
    let damaged = || format!("{} is no score file (event_id: UInt64, logit: Float32)", path.display());
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).with_context(damaged)?.build().with_context(damaged)?;
    let mut scores = HashMap::new();
    for batch in reader {
        let batch = batch.with_context(damaged)?;
        let events = batch.column_by_name("event_id").and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let logits = batch.column_by_name("logit").and_then(|column| column.as_primitive_opt::<Float32Type>());
        let (events, logits) = events.zip(logits).with_context(damaged)?;
        scores.extend(events.values().iter().copied().zip(logits.values().iter().copied()));
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.parquet");
        std::fs::write(&path, to_parquet(&[7, 9], &[0.5, -1.0]).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), HashMap::from_iter([(7, 0.5), (9, -1.0)]));
        std::fs::write(&path, b"nonsense").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("no score file"));
    }
}
