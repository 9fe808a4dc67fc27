//! Rows of a log as a model's inputs, in columns.

use crate::feature::{FeatureKind, FeatureSet};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

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
        /// The ids of all examples; examples that are picked from others share these.
        ids: Arc<Vec<u32>>,
        /// One weight per id; `None` means that all weights are 1. A pooled mean divides by the sum of weights.
        weights: Option<Arc<Vec<f32>>>,
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
    /// Key of the request in which the example was shown, 0 for one of its own. A sampled negative is of its positive's
    /// request. Empty where the log knows of no requests.
    pub request: Vec<u64>,
    /// The logit that the version in service gave when the event happened, NaN where none is known. Empty if none is.
    pub previous: Vec<f32>,
}

impl Examples {
    /// No examples, in the columns of these features.
    pub fn empty(features: &FeatureSet) -> Examples {
        let column = |kind: FeatureKind| match kind {
            FeatureKind::Id(_) => Column::Id(Vec::new()),
            FeatureKind::Bag(_) => Column::bag(Spans::default(), Vec::new(), None),
            FeatureKind::Numeric => Column::Numeric(Vec::new()),
        };
        Examples {
            keys: vec![Vec::new(); features.vocabularies.len()],
            columns: features.features.iter().map(|feature| column(feature.kind)).collect(),
            ..Examples::default()
        }
    }

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
            request: pick_some(&self.request, index),
            previous: pick_some(&self.previous, index),
        }
    }
}

impl Examples {
    /// Appends the examples of `other` at `index`, in that order; both have the columns of `features`. Only keys and
    /// ids of bags that these examples use are taken over, so that what is gathered from many periods stays as small
    /// as what it holds. Stretches of ids that examples share stay shared.
    pub fn append(&mut self, other: &Examples, index: &[u32], features: &FeatureSet) {
        let ids = self.intern(other, index, features);
        for ((mine, theirs), feature) in self.columns.iter_mut().zip(&other.columns).zip(&features.features) {
            let renamed = match feature.kind {
                FeatureKind::Id(vocab) | FeatureKind::Bag(vocab) => ids[vocab.0 as usize].as_slice(),
                FeatureKind::Numeric => &[],
            };
            mine.append(&theirs.compact(index, renamed));
        }
        let rows = self.len();
        extend_some(&mut self.request, rows, pick_some(&other.request, index), index.len(), 0);
        extend_some(&mut self.previous, rows, pick_some(&other.previous, index), index.len(), f32::NAN);
        self.label.extend(pick(&other.label, index));
        self.weight.extend(pick(&other.weight, index));
        self.time.extend(pick(&other.time, index));
        self.observable.extend(pick(&other.observable, index));
        self.event.extend(pick(&other.event, index));
        self.user.extend(pick(&other.user, index));
        self.item.extend(pick(&other.item, index));
    }

    /// Takes over the keys that the examples of `other` at `index` use, in order of first use. Returns, per vocabulary,
    /// what the ids of `other` are here; meaningless for those not in use.
    fn intern(&mut self, other: &Examples, index: &[u32], features: &FeatureSet) -> Vec<Vec<u32>> {
        let known = |keys: &Vec<u64>| keys.iter().zip(0u32..).map(|(&key, id)| (key, id)).collect();
        let mut known: Vec<HashMap<u64, u32>> = self.keys.iter().map(known).collect();
        let mut ids: Vec<Vec<u32>> = other.keys.iter().map(|keys| vec![0; keys.len()]).collect();
        for &example in index {
            for (feature, column) in features.features.iter().zip(&other.columns) {
                let (FeatureKind::Id(vocab) | FeatureKind::Bag(vocab)) = feature.kind else { continue };
                let vocab = vocab.0 as usize;
                for &id in column.ids_of(example as usize) {
                    let (key, mine) = (other.keys[vocab][id as usize], &mut self.keys[vocab]);
                    ids[vocab][id as usize] = *known[vocab].entry(key).or_insert_with(|| {
                        mine.push(key);
                        u32::try_from(mine.len() - 1).expect("there are fewer than 2^32 keys")
                    });
                }
            }
        }
        ids
    }
}

impl Column {
    /// Bags of ids; see [`Column::Bag`].
    pub fn bag(spans: Spans, ids: Vec<u32>, weights: Option<Vec<f32>>) -> Column {
        Column::Bag { spans, ids: Arc::new(ids), weights: weights.map(Arc::new) }
    }

    /// The ids of one example; none of a number.
    fn ids_of(&self, example: usize) -> &[u32] {
        match self {
            Column::Id(ids) => &ids[example..=example],
            Column::Bag { spans, ids, .. } => &ids[spans.range(example)],
            Column::Numeric(_) => &[],
        }
    }

    /// The examples at `index` with what they use and nothing else; `renamed` says what each id becomes.
    fn compact(&self, index: &[u32], renamed: &[u32]) -> Column {
        let rename = |ids: &[u32]| ids.iter().map(|&id| renamed[id as usize]).collect::<Vec<_>>();
        match self {
            Column::Id(ids) => Column::Id(rename(&pick(ids, index))),
            Column::Numeric(values) => Column::Numeric(pick(values, index)),
            Column::Bag { spans, ids, weights } => {
                let (mut moved, mut places) = (HashMap::new(), Spans::default());
                let (mut kept, mut kept_weights) = (Vec::new(), weights.as_ref().map(|_| Vec::new()));
                for &example in index {
                    let range = spans.range(example as usize);
                    let start = *moved.entry((range.start, range.end)).or_insert_with(|| {
                        let start = kept.len() as u32;
                        kept.extend(rename(&ids[range.clone()]));
                        if let (Some(kept), Some(weights)) = (&mut kept_weights, weights) {
                            kept.extend_from_slice(&weights[range.clone()]);
                        }
                        start
                    });
                    places.push(start, range.len() as u32);
                }
                Column::bag(places, kept, kept_weights)
            }
        }
    }

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
                    let mine = weights.get_or_insert_with(|| Arc::new(vec![1.0; ids.len()]));
                    let mine = Arc::make_mut(mine);
                    match their_weights {
                        Some(theirs) => mine.extend_from_slice(theirs),
                        None => mine.resize(ids.len() + their_ids.len(), 1.0),
                    }
                }
                let shift = u32::try_from(ids.len()).expect("a bag column holds fewer than 2^32 ids");
                spans.start.extend(their_spans.start.iter().map(|start| start + shift));
                spans.len.extend_from_slice(&their_spans.len);
                Arc::make_mut(ids).extend_from_slice(their_ids);
                assert!(u32::try_from(ids.len()).is_ok(), "a bag column holds fewer than 2^32 ids");
            }
            (mine, theirs) => panic!("columns of different kinds: {mine:?} and {theirs:?}"),
        }
    }
}

fn pick<T: Copy>(values: &[T], index: &[u32]) -> Vec<T> {
    index.iter().map(|&i| values[i as usize]).collect()
}

/// [`pick`] of a vector that may be empty for want of any value.
fn pick_some<T: Copy>(values: &[T], index: &[u32]) -> Vec<T> {
    if values.is_empty() { Vec::new() } else { pick(values, index) }
}

/// Appends the values of `more` examples to those of `rows`; either may be empty for want of any value, for which then
/// stands `none`.
fn extend_some<T: Copy>(mine: &mut Vec<T>, rows: usize, theirs: Vec<T>, more: usize, none: T) {
    if mine.is_empty() && theirs.is_empty() {
        return;
    }
    mine.resize(rows, none);
    mine.extend(theirs);
    mine.resize(rows + more, none);
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
    /// See [`Examples::request`].
    pub request: Vec<u64>,
    /// See [`Examples::previous`].
    pub previous: Vec<f32>,
}

impl Encoded {
    /// The examples that these columns encode, with all else that training needs.
    pub fn new(columns: Vec<Column>, examples: &Examples) -> Encoded {
        Encoded {
            columns,
            label: examples.label.clone(),
            weight: examples.weight.clone(),
            request: examples.request.clone(),
            previous: examples.previous.clone(),
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.label.len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.label.is_empty()
    }

    /// The examples at `index`, in that order. Ids of bags stay where they are, only spans are copied.
    pub fn select(&self, index: &[u32]) -> Encoded {
        Encoded {
            columns: self.columns.iter().map(|column| column.select(index)).collect(),
            label: pick(&self.label, index),
            weight: pick(&self.weight, index),
            request: pick_some(&self.request, index),
            previous: pick_some(&self.previous, index),
        }
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
        let (rows, more) = (self.len(), other.len());
        extend_some(&mut self.request, rows, other.request.clone(), more, 0);
        extend_some(&mut self.previous, rows, other.previous.clone(), more, f32::NAN);
        self.label.extend_from_slice(&other.label);
        self.weight.extend_from_slice(&other.weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bag(start: &[u32], len: &[u32], ids: &[u32], weights: Option<&[f32]>) -> Column {
        let spans = Spans { start: start.to_vec(), len: len.to_vec() };
        Column::bag(spans, ids.to_vec(), weights.map(<[f32]>::to_vec))
    }

    #[test]
    fn appended_bags_keep_their_ids_and_weights() {
        let mut left = bag(&[0, 0], &[2, 2], &[5, 6], None);
        left.append(&bag(&[0], &[1], &[7], Some(&[0.5])));
        assert_eq!(left, bag(&[0, 0, 2], &[2, 2, 1], &[5, 6, 7], Some(&[1.0, 1.0, 0.5])));
    }

    /// Two users and three items; both examples share a history of the first two items.
    fn features() -> FeatureSet {
        let schema = r#"
            name = "x"
            field = [
              { name = "u", kind = "id", role = "user" },
              { name = "i", kind = "id", role = "item" },
              { name = "p", kind = "numeric" },
              { name = "t", kind = "timestamp", unit = "s" },
              { name = "y", kind = "label" },
            ]"#;
        FeatureSet::of(&crate::Schema::parse(schema).unwrap(), true)
    }

    fn examples(items: [u64; 3]) -> Examples {
        Examples {
            keys: vec![vec![1, 2], items.to_vec()],
            columns: vec![
                Column::Id(vec![1, 0, 0]),
                Column::Id(vec![2, 1, 0]),
                Column::Numeric(vec![0.5, 1.5, 2.5]),
                bag(&[0, 0, 1], &[2, 2, 1], &[0, 1], Some(&[1.0, 0.5])),
            ],
            label: vec![1.0, 0.0, 1.0],
            weight: vec![1.0, 2.0, 3.0],
            time: [7, 8, 9].map(Timestamp).to_vec(),
            observable: [8, 9, 10].map(Timestamp).to_vec(),
            event: vec![70, 80, 90],
            user: vec![2, 1, 1],
            item: vec![items[2], items[1], items[0]],
            ..Examples::default()
        }
    }

    /// Per example the keys of all its ids, its number, and the weights of its bag.
    fn spelled_out(examples: &Examples, example: usize) -> (Vec<u64>, Vec<f32>) {
        let (mut keys, mut numbers) = (Vec::new(), Vec::new());
        for (column, vocab) in examples.columns.iter().zip([0, 1, 9, 1]) {
            keys.extend(column.ids_of(example).iter().map(|&id| examples.keys[vocab][id as usize]));
            match column {
                Column::Numeric(values) => numbers.push(values[example]),
                Column::Bag { spans, weights: Some(weights), .. } => numbers.extend(&weights[spans.range(example)]),
                _ => {}
            }
        }
        (keys, numbers)
    }

    #[test]
    fn appended_examples_say_the_same_in_other_ids() {
        let (one, two) = (examples([50, 60, 70]), examples([70, 80, 50]));
        let mut all = Examples::empty(&features());
        all.append(&one, &[2, 0], &features());
        all.append(&two, &[1, 1], &features());
        let expected = [(&one, 2), (&one, 0), (&two, 1), (&two, 1)];
        for (at, (from, example)) in expected.into_iter().enumerate() {
            assert_eq!(spelled_out(&all, at), spelled_out(from, example), "example {at}");
            assert_eq!((all.event[at], all.item[at]), (from.event[example], from.item[example]));
            assert_eq!((all.label[at], all.weight[at]), (from.label[example], from.weight[example]));
            assert_eq!((all.time[at], all.observable[at]), (from.time[example], from.observable[example]));
            assert_eq!(all.user[at], from.user[example]);
        }
        assert_eq!(all.keys, [vec![1, 2], vec![50, 60, 70, 80]], "in order of first use");
    }

    #[test]
    fn nothing_that_is_not_used_is_taken_over_and_shared_histories_stay_shared() {
        let mut all = Examples::empty(&features());
        all.append(&examples([50, 60, 70]), &[1], &features());
        assert_eq!(all.keys, [vec![1], vec![60, 50]]);
        all.append(&examples([50, 60, 70]), &[0, 1], &features());
        let Column::Bag { spans, ids, .. } = &all.columns[3] else { panic!("a bag") };
        assert_eq!((&spans.start, ids.len()), (&vec![0, 2, 2], 4));
    }

    #[test]
    fn selecting_copies_spans_only() {
        let column = bag(&[0, 2], &[2, 1], &[5, 6, 7], None);
        assert_eq!(column.select(&[1, 1]), bag(&[2, 2], &[1, 1], &[5, 6, 7], None));
    }
}
