//! Rows of a log as keys and numbers, free of Arrow.

use crate::MISSING;
use crate::error::{Result, StreamError};
use crate::key::{int_key, text_key};
use crate::layout::Layout;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use perennial_core::{Column, Examples, FeatureKind};

/// A label that never becomes observable does so at the end of time.
pub(crate) const NEVER: i64 = i64::MAX;

/// Some rows, in columns. All vectors hold one entry per row.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) event: Vec<u64>,
    pub(crate) time: Vec<i64>,
    /// [`MISSING`](crate::MISSING) for a null; 0 where the log has no such field.
    pub(crate) user: Vec<u64>,
    pub(crate) item: Vec<u64>,
    /// 0 for a null; empty where the log has no such field.
    pub(crate) request: Vec<u64>,
    /// 0, 1, or NaN for a null.
    pub(crate) label: Vec<f32>,
    /// With the label delay; never before the event itself; [`NEVER`] without a label.
    pub(crate) observable: Vec<i64>,
    pub(crate) weight: Vec<f32>,
    /// The logit that the version in service gave, NaN for a null; empty where the log has no such field.
    pub(crate) score: Vec<f32>,
    /// Empty where the log has no such field.
    pub(crate) period: Vec<i32>,
    /// One per feature that is not a history.
    pub(crate) features: Vec<Values>,
}

/// The values of one field.
#[derive(Debug)]
pub(crate) enum Values {
    Id(Vec<u64>),
    /// Row r holds `keys[offsets[r]..offsets[r + 1]]`.
    Bag {
        offsets: Vec<usize>,
        keys: Vec<u64>,
    },
    Numeric(Vec<f32>),
}

/// One value of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Id(u64),
    Bag(&'a [u64]),
    Numeric(f32),
}

impl Values {
    pub(crate) fn at(&self, row: usize) -> Value<'_> {
        match self {
            Values::Id(keys) => Value::Id(keys[row]),
            Values::Bag { offsets, keys } => Value::Bag(&keys[offsets[row]..offsets[row + 1]]),
            Values::Numeric(values) => Value::Numeric(values[row]),
        }
    }
}

impl Rows {
    /// Reads the columns of a batch of the canonical log.
    ///
    /// Label and weight may be absent, as in rows that are only to be scored; so may the period column.
    pub(crate) fn from_batch(layout: &Layout, delay: i64, batch: &RecordBatch) -> Result<Rows> {
        let reader = Reader { batch };
        let event = reader.event()?;
        let time = reader.time()?;
        let label = reader.label(&layout.label, &event)?;
        let observable = reader.observable(&layout.label, delay, &time, &label)?;
        let features = layout.features.features[..layout.base].iter();
        Ok(Rows {
            user: reader.key(layout.user.as_deref())?,
            item: reader.key(layout.item.as_deref())?,
            request: reader.request(layout.request.as_deref())?,
            weight: reader.weight(layout.weight.as_deref())?,
            score: reader.score(layout.score.as_deref())?,
            period: reader.period(layout.period.as_deref())?,
            features: features
                .map(|feature| reader.values(&feature.name, feature.kind, &event))
                .collect::<Result<_>>()?,
            event,
            time,
            label,
            observable,
        })
    }

    /// The log's rows among prepared examples: all but the sampled ones.
    pub(crate) fn from_examples(layout: &Layout, examples: &Examples, sampled: &[bool]) -> Rows {
        let real: Vec<usize> = (0..examples.len()).filter(|&row| !sampled[row]).collect();
        let features = layout.features.features[..layout.base].iter().zip(&examples.columns);
        Rows {
            event: real.iter().map(|&row| examples.event[row]).collect(),
            time: real.iter().map(|&row| examples.time[row].0).collect(),
            user: real.iter().map(|&row| examples.user[row]).collect(),
            item: real.iter().map(|&row| examples.item[row]).collect(),
            request: match layout.request {
                Some(_) => real.iter().filter_map(|&row| examples.request.get(row).copied()).collect(),
                // Where the log knows of none, those that there are were made for sampled negatives.
                None => Vec::new(),
            },
            label: real.iter().map(|&row| examples.label[row]).collect(),
            observable: real.iter().map(|&row| examples.observable[row].0).collect(),
            weight: real.iter().map(|&row| examples.weight[row]).collect(),
            score: real.iter().filter_map(|&row| examples.previous.get(row).copied()).collect(),
            period: Vec::new(),
            features: features
                .map(|(feature, column)| match feature.kind {
                    FeatureKind::Id(vocab) | FeatureKind::Bag(vocab) => {
                        values_of(column, &examples.keys[vocab.0 as usize], &real)
                    }
                    FeatureKind::Numeric => values_of(column, &[], &real),
                })
                .collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.event.len()
    }

    pub(crate) fn is_positive(&self, row: usize) -> bool {
        self.label[row] == 1.0
    }
}

fn values_of(column: &Column, keys: &[u64], rows: &[usize]) -> Values {
    let key = |&id: &u32| keys[id as usize];
    match column {
        Column::Id(ids) => Values::Id(rows.iter().map(|&row| key(&ids[row])).collect()),
        Column::Numeric(values) => Values::Numeric(rows.iter().map(|&row| values[row]).collect()),
        Column::Bag { spans, ids, .. } => {
            let mut offsets = vec![0];
            let mut bag = Vec::new();
            for &row in rows {
                bag.extend(ids[spans.range(row)].iter().map(key));
                offsets.push(bag.len());
            }
            Values::Bag { offsets, keys: bag }
        }
    }
}

/// Typed access to a batch.
struct Reader<'a> {
    batch: &'a RecordBatch,
}

impl<'a> Reader<'a> {
    fn event(&self) -> Result<Vec<u64>> {
        let column = self.column("event_id", "UInt64", |kind| *kind == DataType::UInt64)?;
        no_null("event_id", column)?;
        Ok(column.as_primitive::<UInt64Type>().values().to_vec())
    }

    fn time(&self) -> Result<Vec<i64>> {
        let column = self.column("time", "Timestamp(Microsecond)", is_time)?;
        no_null("time", column)?;
        Ok(column.as_primitive::<TimestampMicrosecondType>().values().to_vec())
    }

    fn label(&self, name: &str, event: &[u64]) -> Result<Vec<f32>> {
        if self.batch.column_by_name(name).is_none() {
            return Ok(vec![f32::NAN; event.len()]);
        }
        let column = self.column(name, "Float32", |kind| *kind == DataType::Float32)?;
        let labels = column.as_primitive::<Float32Type>().iter().zip(event);
        labels
            .map(|(label, &event)| match label {
                None => Ok(f32::NAN),
                Some(label) if label == 0.0 || label == 1.0 => Ok(label),
                Some(label) => {
                    Err(StreamError::Value { event, problem: format!("label \"{name}\" must be 0 or 1, got {label}") })
                }
            })
            .collect()
    }

    /// A label is observable no sooner than its event happened, whatever the log says.
    fn observable(&self, label: &str, delay: i64, time: &[i64], labels: &[f32]) -> Result<Vec<i64>> {
        let name = format!("{label}.observable");
        let mut observable = time.to_vec();
        if self.batch.column_by_name(&name).is_some() {
            let column = self.column(&name, "Timestamp(Microsecond)", is_time)?;
            for (row, said) in column.as_primitive::<TimestampMicrosecondType>().iter().enumerate() {
                observable[row] = said.unwrap_or(NEVER).max(time[row]);
            }
        }
        for (observable, label) in observable.iter_mut().zip(labels) {
            *observable = if label.is_nan() { NEVER } else { observable.saturating_add(delay) };
        }
        Ok(observable)
    }

    fn key(&self, name: Option<&str>) -> Result<Vec<u64>> {
        match name {
            Some(name) => self.ids(name, "Int64 or Utf8"),
            None => Ok(vec![0; self.batch.num_rows()]),
        }
    }

    /// Rows that are only to be scored need not have the column.
    fn request(&self, name: Option<&str>) -> Result<Vec<u64>> {
        let Some(name) = name.filter(|name| self.batch.column_by_name(name).is_some()) else {
            return Ok(Vec::new());
        };
        let keys = self.ids(name, "Int64 or Utf8")?;
        Ok(keys.into_iter().map(|key| if key == MISSING { 0 } else { key }).collect())
    }

    fn weight(&self, name: Option<&str>) -> Result<Vec<f32>> {
        let Some(name) = name.filter(|name| self.batch.column_by_name(name).is_some()) else {
            return Ok(vec![1.0; self.batch.num_rows()]);
        };
        let column = self.column(name, "Float32", |kind| *kind == DataType::Float32)?;
        Ok(column.as_primitive::<Float32Type>().iter().map(|weight| weight.unwrap_or(1.0)).collect())
    }

    fn score(&self, name: Option<&str>) -> Result<Vec<f32>> {
        let Some(name) = name.filter(|name| self.batch.column_by_name(name).is_some()) else {
            return Ok(Vec::new());
        };
        let column = self.column(name, "Float32", |kind| *kind == DataType::Float32)?;
        Ok(column.as_primitive::<Float32Type>().iter().map(|logit| logit.unwrap_or(f32::NAN)).collect())
    }

    fn period(&self, name: Option<&str>) -> Result<Vec<i32>> {
        let Some(name) = name.filter(|name| self.batch.column_by_name(name).is_some()) else {
            return Ok(Vec::new());
        };
        let column = self.column(name, "Int32", |kind| *kind == DataType::Int32)?;
        no_null(name, column)?;
        Ok(column.as_primitive::<Int32Type>().values().to_vec())
    }

    fn values(&self, name: &str, kind: FeatureKind, event: &[u64]) -> Result<Values> {
        match kind {
            FeatureKind::Id(_) => Ok(Values::Id(self.ids(name, "Int64 or Utf8")?)),
            FeatureKind::Bag(_) => self.bags(name),
            FeatureKind::Numeric => self.numbers(name, event),
        }
    }

    fn ids(&self, name: &str, expected: &'static str) -> Result<Vec<u64>> {
        keys_of(name, expected, self.column(name, expected, |_| true)?)
    }

    /// A null is the empty bag.
    fn bags(&self, name: &str) -> Result<Values> {
        const EXPECTED: &str = "List of Int64 or Utf8";
        let column = self.column(name, EXPECTED, |kind| matches!(kind, DataType::List(_)))?;
        let list = column.as_list::<i32>();
        let all = keys_of(name, EXPECTED, list.values())?;
        let (mut offsets, mut keys) = (vec![0], Vec::with_capacity(all.len()));
        for (row, range) in list.value_offsets().windows(2).enumerate() {
            if list.is_valid(row) {
                keys.extend_from_slice(&all[range[0] as usize..range[1] as usize]);
            }
            offsets.push(keys.len());
        }
        Ok(Values::Bag { offsets, keys })
    }

    fn numbers(&self, name: &str, event: &[u64]) -> Result<Values> {
        let column = self.column(name, "Float64", |kind| *kind == DataType::Float64)?;
        let numbers = column.as_primitive::<Float64Type>().iter().zip(event);
        let values = numbers.map(|(number, &event)| {
            let value = number.map_or(f32::NAN, |number| number as f32);
            match value.is_infinite() {
                true => Err(StreamError::Value { event, problem: format!("\"{name}\" does not fit 32 bits: {value}") }),
                false => Ok(value),
            }
        });
        Ok(Values::Numeric(values.collect::<Result<_>>()?))
    }

    fn column(&self, name: &str, expected: &'static str, fits: fn(&DataType) -> bool) -> Result<&'a dyn Array> {
        match self.batch.column_by_name(name) {
            None => Err(mismatch(name, expected, "no such column")),
            Some(column) if !fits(column.data_type()) => Err(mismatch(name, expected, column.data_type())),
            Some(column) => Ok(column.as_ref()),
        }
    }
}

fn keys_of(name: &str, expected: &'static str, column: &dyn Array) -> Result<Vec<u64>> {
    match column.data_type() {
        DataType::Int64 => Ok(column.as_primitive::<Int64Type>().iter().map(int_key).collect()),
        DataType::Utf8 => Ok(column.as_string::<i32>().iter().map(text_key).collect()),
        other => Err(mismatch(name, expected, other)),
    }
}

fn is_time(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(TimeUnit::Microsecond, _))
}

fn no_null(name: &str, column: &dyn Array) -> Result<()> {
    match column.null_count() {
        0 => Ok(()),
        nulls => Err(mismatch(name, "no null", format!("{nulls} nulls"))),
    }
}

fn mismatch(column: &str, expected: &'static str, got: impl ToString) -> StreamError {
    StreamError::Column { column: column.to_owned(), expected, got: got.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::MISSING;
    use crate::testing::{Event, batch, busy_log, click, schema};
    use arrow::array::{ArrayRef, Int64Array, UInt64Array};
    use std::sync::Arc;

    fn layout() -> Layout {
        Layout::new(&schema(), None, true).unwrap()
    }

    fn read(batch: &RecordBatch) -> Result<Rows> {
        Rows::from_batch(&layout(), 0, batch)
    }

    /// The batch with another column under this name, or with none.
    fn with(batch: &RecordBatch, name: &str, column: Option<ArrayRef>) -> RecordBatch {
        let fields = batch.schema();
        let mut columns: Vec<(String, ArrayRef)> = fields
            .fields()
            .iter()
            .zip(batch.columns())
            .filter(|(field, _)| field.name() != name)
            .map(|(field, column)| (field.name().clone(), column.clone()))
            .collect();
        columns.extend(column.map(|column| (name.to_owned(), column)));
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap()
    }

    #[test]
    fn nulls_are_what_the_schema_says() {
        let batch = batch(0, &[click(1, 7, "a").unlabelled()]);
        let rows = read(&with(&batch, "user", Some(Arc::new(Int64Array::from(vec![None]))))).unwrap();
        assert_eq!((rows.user[0], rows.observable[0]), (MISSING, NEVER));
        assert!(rows.label[0].is_nan());
        assert!(matches!(rows.features[0].at(0), Value::Id(MISSING)));
        assert!(matches!(rows.features[2].at(0), Value::Bag(&[])));
        assert!(matches!(rows.features[3].at(0), Value::Numeric(price) if price.is_nan()));
    }

    #[test]
    fn rows_to_be_scored_need_no_label() {
        let labelled = batch(0, &[click(1, 7, "a")]);
        let bare = with(&with(&labelled, "click", None), "click.observable", None);
        let rows = read(&with(&bare, "part", None)).unwrap();
        assert!(rows.label[0].is_nan() && rows.period.is_empty());
        assert_eq!((rows.weight[0], rows.observable[0]), (1.0, NEVER));
    }

    #[test]
    fn a_slice_of_a_batch_reads_as_its_rows() {
        let events = busy_log(20, 1);
        let slice = read(&batch(0, &events).slice(5, 9)).unwrap();
        let alone = read(&batch(5, &events[5..14])).unwrap();
        assert_eq!(format!("{slice:?}"), format!("{alone:?}"));
    }

    #[test]
    fn wrong_columns_are_named_with_what_was_expected() {
        let batch = batch(0, &[click(1, 7, "a").priced(1.0)]);
        let refused = |name: &str, column: Option<ArrayRef>, expected: &str| {
            let error = read(&with(&batch, name, column)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(expected), "got: {error}");
        };
        let floats: ArrayRef = Arc::new(arrow::array::Float32Array::from(vec![0.5]));
        refused("price", None, "no such column");
        refused("price", Some(floats.clone()), "expected Float64, got Float32");
        refused("item", Some(floats.clone()), "expected Int64 or Utf8, got Float32");
        refused("tags", Some(floats.clone()), "expected List of Int64 or Utf8, got Float32");
        refused("time", Some(floats.clone()), "expected Timestamp(Microsecond), got Float32");
        refused("click", Some(floats), "must be 0 or 1, got 0.5");
        refused("event_id", Some(Arc::new(UInt64Array::from(vec![None]))), "expected no null, got 1 nulls");
        refused("price", Some(Arc::new(arrow::array::Float64Array::from(vec![1e300]))), "does not fit 32 bits");
    }

    #[test]
    fn the_rows_of_a_period_are_the_rows_it_was_made_of() {
        let events: Vec<Event> = busy_log(30, 2);
        let layout = layout();
        let rows = read(&batch(0, &events)).unwrap();
        let mut builder = crate::example_builder::ExampleBuilder::new(&layout);
        let past = crate::past::Past::new(&layout, 3, None);
        for row in 0..rows.len() {
            builder.row(&layout, &rows, row, past.known()).unwrap();
        }
        let (examples, sampled) = builder.finish();
        let again = Rows::from_examples(&layout, &examples, &sampled);
        assert_eq!(format!("{again:?}"), format!("{:?}", Rows { period: Vec::new(), ..rows }));
    }
}
