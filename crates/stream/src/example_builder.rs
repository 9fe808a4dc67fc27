//! Rows and what is known of the past, as examples.

use crate::catalogue::{Attribute, Catalogue};
use crate::error::{Result, StreamError};
use crate::histories::Positive;
use crate::history_state::HistoryState;
use crate::layout::Layout;
use crate::rows::{Rows, Value};
use hashbrown::HashMap;
use perennial_core::rng::hash_parts;
use perennial_core::{Column, Examples, Feature, FeatureKind, Role, Spans, Timestamp};
use std::sync::Arc;

/// Collects the examples of one period.
///
/// A history feature of an id holds one id for each past item, oldest first. One of a bag holds the ids of each past
/// item in turn, weighted so that every past item that has any counts 1 in all: a pooled mean is the mean over items
/// of the mean over their ids. The attributes of a past item are those that the catalogue knows now.
#[derive(Debug)]
pub(crate) struct ExampleBuilder {
    interners: Vec<HashMap<u64, u32>>,
    examples: Examples,
    sampled: Vec<bool>,
}

impl ExampleBuilder {
    pub(crate) fn new(layout: &Layout) -> ExampleBuilder {
        let vocabularies = layout.features.vocabularies.len();
        let features = &layout.features.features;
        let columns = features.iter().map(|feature| empty_column(features, feature)).collect();
        ExampleBuilder {
            interners: vec![HashMap::new(); vocabularies],
            examples: Examples { keys: vec![Vec::new(); vocabularies], columns, ..Examples::default() },
            sampled: Vec::new(),
        }
    }

    /// Adds a row of the log.
    pub(crate) fn row(&mut self, layout: &Layout, rows: &Rows, row: usize, known: &HistoryState) -> Result<()> {
        for (at, feature) in layout.features.features.iter().enumerate() {
            match feature.history_of {
                None => self.value(at, feature, rows.features[at].at(row))?,
                Some(of) => {
                    let catalogued = layout.item_features.iter().position(|&item_feature| item_feature == of as usize);
                    let catalogued = catalogued.expect("histories are of item features");
                    let attribute = &known.catalogue.attributes[catalogued];
                    self.history(at, feature, attribute, known.histories.of(rows.user[row]))?;
                }
            }
        }
        let examples = &mut self.examples;
        examples.label.push(rows.label[row]);
        examples.weight.push(rows.weight[row]);
        examples.time.push(Timestamp(rows.time[row]));
        examples.observable.push(Timestamp(rows.observable[row]));
        examples.event.push(rows.event[row]);
        examples.user.push(rows.user[row]);
        examples.item.push(rows.item[row]);
        examples.request.extend(rows.request.get(row));
        examples.previous.extend(rows.score.get(row));
        self.sampled.push(false);
        Ok(())
    }

    /// Adds the `ordinal`-th negative of the positive `event`, which must be the last row added: the same example with
    /// another item. Both are of one request: the log's, or where it knows of none, one named by the event.
    pub(crate) fn negative(
        &mut self,
        layout: &Layout,
        event: u64,
        ordinal: u32,
        item: u32,
        catalogue: &Catalogue,
    ) -> Result<()> {
        let mut attributes = catalogue.attributes.iter();
        for (at, feature) in layout.features.features.iter().enumerate() {
            match feature.role {
                Role::Item => {
                    let attribute = attributes.next().expect("the catalogue holds every item feature");
                    self.value(at, feature, attribute.at(item))?;
                }
                _ => repeat_last(&mut self.examples.columns[at]),
            }
        }
        let examples = &mut self.examples;
        examples.label.push(0.0);
        examples.event.push(negative_event(event, ordinal));
        examples.item.push(catalogue.keys[item as usize]);
        examples.request.resize(examples.label.len() - 1, 0);
        let positive = examples.request.last_mut().expect("a negative follows its positive");
        *positive = if *positive == 0 { event } else { *positive };
        push_last(&mut examples.request);
        // Nobody served it.
        if !examples.previous.is_empty() {
            examples.previous.push(f32::NAN);
        }
        push_last(&mut examples.weight);
        push_last(&mut examples.time);
        push_last(&mut examples.observable);
        push_last(&mut examples.user);
        self.sampled.push(true);
        Ok(())
    }

    /// The examples, and which of them were sampled.
    pub(crate) fn finish(mut self) -> (Examples, Vec<bool>) {
        if !self.examples.request.is_empty() {
            self.examples.request.resize(self.examples.label.len(), 0);
        }
        (self.examples, self.sampled)
    }

    fn value(&mut self, at: usize, feature: &Feature, value: Value<'_>) -> Result<()> {
        match value {
            Value::Id(key) => {
                let id = self.intern(feature, key);
                let Column::Id(ids) = &mut self.examples.columns[at] else { unreachable!("made by empty_column") };
                ids.push(id);
            }
            Value::Numeric(value) => {
                let Column::Numeric(values) = &mut self.examples.columns[at] else {
                    unreachable!("made by empty_column")
                };
                values.push(value);
            }
            Value::Bag(keys) => {
                let start = self.bag_len(at);
                for &key in keys {
                    let id = self.intern(feature, key);
                    self.push_to_bag(at, id, 1.0);
                }
                self.end_bag(at, start)?;
            }
        }
        Ok(())
    }

    fn history(&mut self, at: usize, feature: &Feature, attribute: &Attribute, history: &[Positive]) -> Result<()> {
        let start = self.bag_len(at);
        for past in history {
            match attribute.at(past.item) {
                Value::Id(key) => {
                    let id = self.intern(feature, key);
                    self.push_to_bag(at, id, 1.0);
                }
                Value::Bag(keys) => {
                    let weight = 1.0 / keys.len() as f32;
                    for &key in keys {
                        let id = self.intern(feature, key);
                        self.push_to_bag(at, id, weight);
                    }
                }
                Value::Numeric(_) => unreachable!("only ids have histories"),
            }
        }
        self.end_bag(at, start)
    }

    fn intern(&mut self, feature: &Feature, key: u64) -> u32 {
        let (FeatureKind::Id(vocab) | FeatureKind::Bag(vocab)) = feature.kind else {
            unreachable!("only ids are interned")
        };
        let keys = &mut self.examples.keys[vocab.0 as usize];
        *self.interners[vocab.0 as usize].entry(key).or_insert_with(|| {
            keys.push(key);
            (keys.len() - 1) as u32
        })
    }

    fn bag_len(&self, at: usize) -> usize {
        let Column::Bag { ids, .. } = &self.examples.columns[at] else { unreachable!("made by empty_column") };
        ids.len()
    }

    fn push_to_bag(&mut self, at: usize, id: u32, weight: f32) {
        let Column::Bag { ids, weights, .. } = &mut self.examples.columns[at] else {
            unreachable!("made by empty_column")
        };
        Arc::make_mut(ids).push(id);
        if let Some(weights) = weights {
            Arc::make_mut(weights).push(weight);
        }
    }

    fn end_bag(&mut self, at: usize, start: usize) -> Result<()> {
        let Column::Bag { spans, ids, .. } = &mut self.examples.columns[at] else {
            unreachable!("made by empty_column")
        };
        let end = u32::try_from(ids.len()).map_err(|_| {
            StreamError::Config(
                "a period holds more than 2^32 ids of one feature; cut the log into shorter periods".into(),
            )
        })?;
        spans.push(start as u32, end - start as u32);
        Ok(())
    }
}

/// The event id of a sampled negative.
pub(crate) fn negative_event(event: u64, ordinal: u32) -> u64 {
    hash_parts(&[event, u64::from(ordinal)])
}

fn empty_column(features: &[Feature], feature: &Feature) -> Column {
    let bags_of_bags = feature.history_of.is_some_and(|of| matches!(features[of as usize].kind, FeatureKind::Bag(_)));
    match feature.kind {
        FeatureKind::Id(_) => Column::Id(Vec::new()),
        FeatureKind::Numeric => Column::Numeric(Vec::new()),
        FeatureKind::Bag(_) => Column::bag(Spans::default(), Vec::new(), bags_of_bags.then(Vec::new)),
    }
}

fn repeat_last(column: &mut Column) {
    match column {
        Column::Id(ids) => push_last(ids),
        Column::Numeric(values) => push_last(values),
        Column::Bag { spans, .. } => {
            push_last(&mut spans.start);
            push_last(&mut spans.len);
        }
    }
}

fn push_last<T: Copy>(values: &mut Vec<T>) {
    values.push(*values.last().expect("a negative follows its positive"));
}
