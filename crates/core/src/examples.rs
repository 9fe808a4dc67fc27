//! Rows of a log as a model's inputs, in columns.

use crate::time::Timestamp;

/// Where each example's ids lie in a shared array. Several examples may share one stretch: sampled negatives share
/// their positive's history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spans {
    /// First position of each example's ids.
    pub start: Vec<u32>,
    /// Number of ids of each example.
    pub len: Vec<u32>,
}

impl Spans {
    /// The positions of example `i`.
    #[inline]
    pub fn range(&self, i: usize) -> std::ops::Range<usize> {
        let start = self.start[i] as usize;
        start..start + self.len[i] as usize
    }

    /// Adds an example.
    pub fn push(&mut self, start: u32, len: u32) {
        self.start.push(start);
        self.len.push(len);
    }
}

/// The values of one feature for all examples.
///
/// In [`Examples`] an id is an index into the period's own list of keys ([`Examples::keys`]); in [`Encoded`] it is a
/// row of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// `[examples]` ids.
    Id(Vec<u32>),
    /// Weighted bags of ids; order is kept (a history is oldest first).
    Bag {
        /// Where each example's ids lie.
        spans: Spans,
        /// The ids of all examples.
        ids: Vec<u32>,
        /// One weight per id; `None` means that all weights are 1. A pooled mean divides by the sum of weights.
        weights: Option<Vec<f32>>,
    },
    /// `[examples]` numbers; NaN is null.
    Numeric(Vec<f32>),
}

/// One period (or part of one) of a log, independent of any model: ids are interned per vocabulary, so that a
/// version's encoder looks up each distinct key once.
///
/// All vectors hold one entry per example, in order of time; a sampled negative follows its positive.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examples {
    /// For each vocabulary the distinct keys that occur, in order of first use.
    pub keys: Vec<Vec<u64>>,
    /// One column per feature.
    pub columns: Vec<Column>,
    /// 0 or 1; NaN where no label ever became observable.
    pub label: Vec<f32>,
    /// Weights in losses and metrics.
    pub weight: Vec<f32>,
    /// When the event happened.
    pub time: Vec<Timestamp>,
    /// When its label became observable.
    pub observable: Vec<Timestamp>,
    /// Stable names.
    pub event: Vec<u64>,
    /// Key of the user, 0 where the log knows none.
    pub user: Vec<u64>,
    /// Key of the item, 0 where the log knows none.
    pub item: Vec<u64>,
}

impl Examples {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.label.len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.label.is_empty()
    }

    /// The examples at `index`, in that order. Ids of bags stay where they are, only spans are copied.
    pub fn select(&self, index: &[u32]) -> Examples {
        Examples {
            keys: self.keys.clone(),
            columns: self.columns.iter().map(|column| column.select(index)).collect(),
            label: pick(&self.label, index),
            weight: pick(&self.weight, index),
            time: pick(&self.time, index),
            observable: pick(&self.observable, index),
            event: pick(&self.event, index),
            user: pick(&self.user, index),
            item: pick(&self.item, index),
        }
    }
}

impl Column {
    fn select(&self, index: &[u32]) -> Column {
        match self {
            Column::Id(ids) => Column::Id(pick(ids, index)),
            Column::Numeric(values) => Column::Numeric(pick(values, index)),
            Column::Bag { spans, ids, weights } => Column::Bag {
                spans: Spans { start: pick(&spans.start, index), len: pick(&spans.len, index) },
                ids: ids.clone(),
                weights: weights.clone(),
            },
        }
    }

    /// Appends the examples of `other`; both must be of one kind.
    pub fn append(&mut self, other: &Column) {
        match (self, other) {
            (Column::Id(mine), Column::Id(theirs)) => mine.extend_from_slice(theirs),
            (Column::Numeric(mine), Column::Numeric(theirs)) => mine.extend_from_slice(theirs),
            (
                Column::Bag { spans, ids, weights },
                Column::Bag { spans: their_spans, ids: their_ids, weights: their_weights },
            ) => {
                if weights.is_some() || their_weights.is_some() {
                    let mine = weights.get_or_insert_with(|| vec![1.0; ids.len()]);
                    match their_weights {
                        Some(theirs) => mine.extend_from_slice(theirs),
                        None => mine.resize(ids.len() + their_ids.len(), 1.0),
                    }
                }
                let shift = u32::try_from(ids.len()).expect("a bag column holds fewer than 2^32 ids");
                spans.start.extend(their_spans.start.iter().map(|start| start + shift));
                spans.len.extend_from_slice(&their_spans.len);
                ids.extend_from_slice(their_ids);
                assert!(u32::try_from(ids.len()).is_ok(), "a bag column holds fewer than 2^32 ids");
            }
            (mine, theirs) => panic!("columns of different kinds: {mine:?} and {theirs:?}"),
        }
    }
}

fn pick<T: Copy>(values: &[T], index: &[u32]) -> Vec<T> {
    index.iter().map(|&i| values[i as usize]).collect()
}

/// Examples as one version's encoder sees them: ids are rows of its tables. What a model is trained and scored on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Encoded {
    /// One column per feature.
    pub columns: Vec<Column>,
    /// `[examples]` 0 or 1.
    pub label: Vec<f32>,
    /// `[examples]` weights in the loss.
    pub weight: Vec<f32>,
}

impl Encoded {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.label.len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.label.is_empty()
    }

    /// Appends the examples of `other`, encoded by the same encoder.
    pub fn append(&mut self, other: &Encoded) {
        if self.columns.is_empty() {
            *self = other.clone();
            return;
        }
        for (mine, theirs) in self.columns.iter_mut().zip(&other.columns) {
            mine.append(theirs);
        }
        self.label.extend_from_slice(&other.label);
        self.weight.extend_from_slice(&other.weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bag(start: &[u32], len: &[u32], ids: &[u32], weights: Option<&[f32]>) -> Column {
        Column::Bag {
            spans: Spans { start: start.to_vec(), len: len.to_vec() },
            ids: ids.to_vec(),
            weights: weights.map(<[f32]>::to_vec),
        }
    }

    #[test]
    fn appended_bags_keep_their_ids_and_weights() {
        let mut left = bag(&[0, 0], &[2, 2], &[5, 6], None);
        left.append(&bag(&[0], &[1], &[7], Some(&[0.5])));
        assert_eq!(left, bag(&[0, 0, 2], &[2, 2, 1], &[5, 6, 7], Some(&[1.0, 1.0, 0.5])));
    }

    #[test]
    fn selecting_copies_spans_only() {
        let column = bag(&[0, 2], &[2, 1], &[5, 6, 7], None);
        assert_eq!(column.select(&[1, 1]), bag(&[2, 2], &[1, 1], &[5, 6, 7], None));
    }
}
