//! Tiny logs for tests, written by hand.

use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, UInt64Array,
};
use perennial_core::Schema;
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
