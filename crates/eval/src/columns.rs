//! Results as one flat Parquet table, for notebooks and SQL.

use crate::{Error, METRICS, MethodKind, PeriodFacts, PeriodMetrics, PeriodRecord, Results};
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use parquet::arrow::ArrowWriter;
use std::sync::Arc;

/// The bytes of `results.parquet`: one row per method, seed and period, and per period of the ceiling.
///
/// Columns: `experiment`, `log`, `method`, `kind` (`reference`, `frozen`, `updated` or `ceiling`), `seed` (null for
/// the ceiling), `period`, `in_span`, `start` and `end` (UTC), `rows`, `positives`, `unlabelled`, one per metric by
/// its name (null where undefined), `train_seconds`, `score_seconds`, `trained_rows`, `version`.
pub fn to_parquet(results: &Results) -> Result<Vec<u8>, Error> {
    results.check()?;
    let batch = batch(results)?;
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(bytes)
}

/// One row of the table, borrowed from the results.
struct Line<'a> {
    method: &'a str,
    kind: &'static str,
    seed: Option<u64>,
    facts: &'a PeriodFacts,
    metrics: &'a PeriodMetrics,
    record: Option<&'a PeriodRecord>,
}

fn lines(results: &Results) -> Vec<Line<'_>> {
    let facts = |period: u32| {
        let found = results.periods.iter().find(|facts| facts.index == period);
        found.expect("checked results speak of scored periods only")
    };
    let mut lines = Vec::new();
    for method in &results.methods {
        for run in &method.seeds {
            lines.extend(run.periods.iter().map(|record| Line {
                method: &method.name,
                kind: kind(method.kind),
                seed: Some(run.seed),
                facts: facts(record.period),
                metrics: &record.metrics,
                record: Some(record),
            }));
        }
    }
    lines.extend(results.ceiling.iter().flatten().map(|score| Line {
        method: "ceiling",
        kind: "ceiling",
        seed: None,
        facts: facts(score.period),
        metrics: &score.metrics,
        record: None,
    }));
    lines
}

fn kind(kind: MethodKind) -> &'static str {
    match kind {
        MethodKind::Reference => "reference",
        MethodKind::Frozen => "frozen",
        MethodKind::Updated => "updated",
    }
}

fn batch(results: &Results) -> Result<RecordBatch, Error> {
    let lines = lines(results);
    let texts =
        |f: &dyn Fn(&Line) -> Option<String>| Arc::new(lines.iter().map(f).collect::<StringArray>()) as ArrayRef;
    let counts = |f: &dyn Fn(&Line) -> Option<u64>| Arc::new(lines.iter().map(f).collect::<UInt64Array>()) as ArrayRef;
    let numbers =
        |f: &dyn Fn(&Line) -> Option<f64>| Arc::new(lines.iter().map(f).collect::<Float64Array>()) as ArrayRef;
    let times = |f: &dyn Fn(&Line) -> i64| {
        Arc::new(TimestampMicrosecondArray::from_iter_values(lines.iter().map(f)).with_timezone("UTC")) as ArrayRef
    };
    let mut columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("experiment", texts(&|_| Some(results.experiment.clone())), false),
        ("log", texts(&|_| Some(results.log.clone())), false),
        ("method", texts(&|line| Some(line.method.to_owned())), false),
        ("kind", texts(&|line| Some(line.kind.to_owned())), false),
        ("seed", counts(&|line| line.seed), true),
        ("period", Arc::new(UInt32Array::from_iter_values(lines.iter().map(|line| line.facts.index))), false),
        (
            "in_span",
            Arc::new(BooleanArray::from_iter(lines.iter().map(|line| Some(results.span.contains(&line.facts.index))))),
            false,
        ),
        ("start", times(&|line| line.facts.start.0), false),
        ("end", times(&|line| line.facts.end.0), false),
        ("rows", counts(&|line| Some(line.metrics.rows)), false),
        ("positives", counts(&|line| Some(line.metrics.positives)), false),
        ("unlabelled", counts(&|line| Some(line.metrics.unlabelled)), false),
    ];
    columns.extend(METRICS.iter().map(|metric| (metric.name, numbers(&|line| line.metrics.get(metric.name)), true)));
    columns.extend([
        ("train_seconds", numbers(&|line| line.record?.train_seconds), true),
        ("score_seconds", numbers(&|line| Some(line.record?.score_seconds)), true),
        ("trained_rows", counts(&|line| Some(line.record?.trained_rows)), true),
        ("version", texts(&|line| line.record?.version.map(|digest| digest.to_string())), true),
    ]);
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use arrow::array::Array;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use std::io::Write;

    #[test]
    fn reads_back_row_by_row() {
        let results = sample::marketplace();
        let written = batch(&results).unwrap();
        // Methods x seeds x periods, and the ceiling: (1 + 1 + 3 + 3 + 3 + 1) * 20.
        assert_eq!(written.num_rows(), 240);
        let auc = written.column_by_name("auc").unwrap().as_any().downcast_ref::<Float64Array>().unwrap().clone();
        assert_eq!(Some(auc.value(0)), results.methods[0].seeds[0].periods[0].metrics.get("auc"));
        assert_eq!(written.column_by_name("gauc").unwrap().null_count(), 12, "one undefined period per run");
        assert_eq!(written.column_by_name("seed").unwrap().null_count(), 20);

        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&to_parquet(&results).unwrap()).unwrap();
        let read: Vec<RecordBatch> = ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap()
            .map(|batch| batch.unwrap())
            .collect();
        assert_eq!(read, [written]);
    }
}
