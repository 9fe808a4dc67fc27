//! Tiny logs for tests, written by hand.

use crate::key::text_key;
use crate::{PeriodFacts, Slice, period_file};
use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, UInt64Array,
};
use perennial_core::{Column, Examples, FeatureKind, FeatureSet, Schema, Stream};
use std::sync::Arc;

/// Users, items with tags and a price, a context, a click.
pub(crate) fn schema() -> Schema {
    Schema::parse(
        r#"
        name = "tiny"
        field = [
          { name = "user", kind = "id", role = "user", id = "int" },
          { name = "item", kind = "id", role = "item", id = "text" },
          { name = "tags", kind = "ids", role = "item", id = "text" },
          { name = "price", kind = "numeric", role = "item" },
          { name = "place", kind = "id", role = "context", id = "int" },
          { name = "when", kind = "timestamp", unit = "us" },
          { name = "click", kind = "label" },
          { name = "part", kind = "period" },
        ]"#,
    )
    .unwrap()
}

/// One row; the builder methods say what departs from a click in period 0 that is observable at once.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) time: i64,
    pub(crate) user: i64,
    pub(crate) item: String,
    pub(crate) tags: Vec<String>,
    pub(crate) price: Option<f64>,
    pub(crate) label: Option<f32>,
    pub(crate) observable: Option<i64>,
    pub(crate) part: i32,
}

/// A click of `user` on `item`.
pub(crate) fn click(time: i64, user: i64, item: &str) -> Event {
    Event {
        time,
        user,
        item: item.to_owned(),
        tags: Vec::new(),
        price: None,
        label: Some(1.0),
        observable: Some(time),
        part: 0,
    }
}

impl Event {
    pub(crate) fn labelled(self, label: f32) -> Event {
        Event { label: Some(label), ..self }
    }

    pub(crate) fn unlabelled(self) -> Event {
        Event { label: None, observable: None, ..self }
    }

    pub(crate) fn observable(self, at: i64) -> Event {
        Event { observable: Some(at), ..self }
    }

    pub(crate) fn tagged(self, tags: &[&str]) -> Event {
        Event { tags: tags.iter().map(|&tag| tag.to_owned()).collect(), ..self }
    }

    pub(crate) fn priced(self, price: f64) -> Event {
        Event { price: Some(price), ..self }
    }

    pub(crate) fn part(self, part: i32) -> Event {
        Event { part, ..self }
    }
}

/// The rows as a batch of the canonical log. Event ids count from `first`.
pub(crate) fn batch(first: u64, events: &[Event]) -> RecordBatch {
    let times = |at: fn(&Event) -> Option<i64>| -> ArrayRef {
        Arc::new(events.iter().map(at).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let mut tags = ListBuilder::new(StringBuilder::new());
    for event in events {
        tags.append_value(event.tags.iter().map(Some));
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("event_id", Arc::new(UInt64Array::from_iter_values((0..events.len() as u64).map(|row| first + row)))),
        ("time", times(|event| Some(event.time))),
        ("user", Arc::new(events.iter().map(|event| Some(event.user)).collect::<Int64Array>())),
        ("item", Arc::new(events.iter().map(|event| Some(event.item.as_str())).collect::<StringArray>())),
        ("tags", Arc::new(tags.finish())),
        ("price", Arc::new(events.iter().map(|event| event.price).collect::<Float64Array>())),
        ("place", Arc::new(events.iter().map(|event| Some(event.user + 100)).collect::<Int64Array>())),
        ("click", Arc::new(events.iter().map(|event| event.label).collect::<Float32Array>())),
        ("click.observable", times(|event| event.observable)),
        ("part", Arc::new(events.iter().map(|event| Some(event.part)).collect::<Int32Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

/// The rows in batches of `size`, as a log gives them.
pub(crate) fn batches(
    events: &[Event],
    size: usize,
) -> impl Iterator<Item = Result<RecordBatch, crate::StreamError>> + Clone + use<> {
    let batches: Vec<RecordBatch> =
        events.chunks(size).enumerate().map(|(i, part)| batch((i * size) as u64, part)).collect();
    batches.into_iter().map(Ok)
}

/// A log of `rows` rows in which all there is to get wrong happens: ties in time, rows on borders of periods, a gap,
/// items that change their tags, negatives, rows without label, and labels that come late and out of order.
pub(crate) fn busy_log(rows: u64, seed: u64) -> Vec<Event> {
    let mut time = 0;
    (0..rows)
        .map(|row| {
            let mut stream = Stream::new(&[seed, row]);
            time += if row == rows / 2 { 60 } else { 5 * (stream.below(3) as i64) };
            let item = format!("i{}", stream.below(3 + row / 10));
            let tags: Vec<String> = (0..stream.below(3)).map(|tag| format!("t{}", tag + stream.below(4))).collect();
            let event = Event { tags, ..click(time, stream.below(4) as i64, &item) };
            let late = [0, 0, 3, 30][stream.below(4) as usize];
            match stream.below(8) {
                0 => event.unlabelled(),
                1 | 2 => event.labelled(0.0).priced(stream.unit_f64()).observable(time + late),
                _ => event.observable(time + late),
            }
        })
        .collect()
}

/// Name and value of every input of an example, with keys in place of local ids and numbers to the bit.
pub(crate) fn resolve(schema: &Schema, examples: &Examples, row: usize) -> Vec<(String, String)> {
    let features = FeatureSet::of(schema, examples.columns.len() > FeatureSet::of(schema, false).features.len());
    let columns = features.features.iter().zip(&examples.columns);
    let mut inputs: Vec<(String, String)> = columns
        .map(|(feature, column)| {
            let keys = match feature.kind {
                FeatureKind::Id(vocab) | FeatureKind::Bag(vocab) => &examples.keys[vocab.0 as usize][..],
                FeatureKind::Numeric => &[],
            };
            (feature.name.clone(), resolve_column(column, keys, row))
        })
        .collect();
    let rest = [examples.event[row], examples.user[row], examples.item[row], examples.time[row].0 as u64];
    inputs.push(("event, user, item, time".to_owned(), format!("{rest:?}")));
    inputs
}

fn resolve_column(column: &Column, keys: &[u64], row: usize) -> String {
    match column {
        Column::Id(ids) => keys[ids[row] as usize].to_string(),
        Column::Numeric(values) => format!("{:#x}", values[row].to_bits()),
        Column::Bag { spans, ids, weights } => {
            let weight = |at: usize| weights.as_ref().map_or(1.0, |weights| weights[at]);
            let entries = spans.range(row).map(|at| (keys[ids[at] as usize], weight(at).to_bits()));
            format!("{:?}", entries.collect::<Vec<_>>())
        }
    }
}

/// The bag of an example as `name` or, where weighted, `name*weight`. Names are looked for among single letters.
pub(crate) fn bag(examples: &Examples, feature: &str, row: usize) -> Vec<String> {
    let features = FeatureSet::of(&schema(), true);
    let at = features.position(feature).unwrap();
    let FeatureKind::Bag(vocab) = features.features[at].kind else { panic!("{feature} is no bag") };
    let Column::Bag { spans, ids, weights } = &examples.columns[at] else { panic!("{feature} is no bag") };
    let name = |id: u32| name_of(examples.keys[vocab.0 as usize][id as usize]);
    let entry = |at: usize| match weights {
        None => name(ids[at]),
        Some(weights) => format!("{}*{}", name(ids[at]), weights[at]),
    };
    spans.range(row).map(entry).collect()
}

/// The single letter that this is the key of.
pub(crate) fn name_of(key: u64) -> String {
    let letter = ('a'..='z').find(|letter| text_key(Some(&letter.to_string())) == key);
    letter.expect("items and tags in tests have one letter").to_string()
}

/// All of a prepared period, to the bit: comparing floats would call two nulls different.
pub(crate) fn bits(slice: &Slice) -> (PeriodFacts, Vec<u8>) {
    let mut bytes = Vec::new();
    period_file::write(&mut bytes, &slice.examples, &slice.sampled).unwrap();
    (slice.facts.clone(), bytes)
}
