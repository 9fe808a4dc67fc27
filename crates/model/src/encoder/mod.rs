//! From keys and numbers to rows of tables: what a version knows about ids.
//!
//! An encoder learns only in [`Encoder::observe`], which is called with training data when a version is updated;
//! scoring never changes it. It is a part of the version: two versions give the same id different rows if they met
//! it at different times, and that is nobody else's business.

mod numeric;
mod vocabulary;

pub use numeric::{NumericEncoding, NumericState};
pub use vocabulary::{PAD_ROW, RESERVED_ROWS, UNKNOWN_ROW, Vocab};

use crate::ModelError;
use perennial_core::{Column, Examples, FeatureKind, FeatureSet, VocabId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// How ids and numbers are encoded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderConfig {
    /// What an id stands for at scoring when it has no row yet.
    pub unseen: Unseen,
    /// How numeric fields become inputs.
    pub numeric: NumericEncoding,
}

impl EncoderConfig {
    /// Refuses settings that cannot work.
    pub fn check(&self) -> Result<(), ModelError> {
        match self.numeric {
            NumericEncoding::Buckets(buckets) if !(2..=65_536).contains(&buckets) => Err(ModelError::Config {
                key: "encoder.numeric.buckets".into(),
                problem: format!("from 2 to 65,536 buckets are possible, got {buckets}"),
            }),
            _ => Ok(()),
        }
    }
}

/// What an id without a row stands for at scoring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unseen {
    /// The row that it will have when it is admitted: its hashed initialisation. The default, and what the
    /// published protocols do by allocating every id in advance.
    #[default]
    HashInit,
    /// The unknown row, which is trained by ids that were seen but not yet admitted.
    Unknown,
}

/// How one feature reaches a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// One row per example of the tables of this vocabulary.
    Row(VocabId),
    /// A weighted bag of rows per example of the tables of this vocabulary.
    Bag(VocabId),
    /// One number per example.
    Number,
}

/// Turns examples into rows and standardised numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoder {
    config: EncoderConfig,
    features: FeatureSet,
    /// The vocabularies of the feature set, then one per bucketised numeric feature.
    vocabularies: Vec<Vocab>,
    /// One per numeric feature, in order of features.
    numbers: Vec<NumericState>,
    /// The last period that was observed: periods overlap in what strategies train on, and count once.
    observed: Option<u32>,
}

/// Examples in rows, and the keys whose rows lie beyond the tables: they are made by growing a snapshot.
#[derive(Debug, Clone)]
pub struct EncodedInputs {
    /// One column per feature.
    pub columns: Vec<Column>,
    /// Per vocabulary, keys that stand for rows after the last one known.
    pub beyond: Vec<Vec<u64>>,
}

impl Encoder {
    /// An encoder that has seen nothing.
    pub fn new(features: FeatureSet, config: EncoderConfig) -> Encoder {
        let mut vocabularies: Vec<Vocab> = features.vocabularies.iter().map(Vocab::new).collect();
        let mut numbers = Vec::new();
        for feature in &features.features {
            if feature.kind == FeatureKind::Numeric {
                numbers.push(NumericState::Unfitted);
                if let NumericEncoding::Buckets(buckets) = config.numeric {
                    vocabularies.push(Vocab::buckets(buckets));
                }
            }
        }
        Encoder { config, features, vocabularies, numbers, observed: None }
    }

    /// The features that go in.
    pub fn features(&self) -> &FeatureSet {
        &self.features
    }

    /// How it was configured.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// How each feature comes out, in order.
    pub fn inputs(&self) -> Vec<Input> {
        let mut next_bucketised = self.features.vocabularies.len() as u32;
        let kinds = self.features.features.iter().map(|feature| match feature.kind {
            FeatureKind::Id(vocab) => Input::Row(vocab),
            FeatureKind::Bag(vocab) => Input::Bag(vocab),
            FeatureKind::Numeric => match self.config.numeric {
                NumericEncoding::Buckets(_) => {
                    next_bucketised += 1;
                    Input::Row(VocabId(next_bucketised - 1))
                }
                NumericEncoding::Standard | NumericEncoding::Raw => Input::Number,
            },
        });
        kinds.collect()
    }

    /// A readable name of a vocabulary, the same for ever.
    pub fn vocabulary_name(&self, vocab: VocabId) -> String {
        match self.features.vocabularies.get(vocab.0 as usize) {
            Some(spec) => spec.domain.clone(),
            None => {
                let nth = vocab.0 as usize - self.features.vocabularies.len();
                let mut numeric = self.features.features.iter().filter(|f| f.kind == FeatureKind::Numeric);
                format!("buckets.{}", numeric.nth(nth).expect("one vocabulary per numeric feature").name)
            }
        }
    }

    /// The vocabularies, in order of [`VocabId`].
    pub fn vocabularies(&self) -> &[Vocab] {
        &self.vocabularies
    }

    /// The last period that was observed.
    pub fn observed(&self) -> Option<u32> {
        self.observed
    }

    /// Notes that all periods up to this one have been observed.
    pub fn set_observed(&mut self, period: u32) {
        self.observed = Some(period);
    }

    /// Learns from training data that it has not seen before: counts ids, admits those seen often enough, and fits
    /// numeric features on the first values. Returns the keys that got a row, per vocabulary, in order of their rows.
    pub fn observe(&mut self, parts: &[&Examples]) -> Vec<Vec<u64>> {
        self.fit_numbers(parts);
        let before: Vec<usize> = self.vocabularies.iter().map(Vocab::rows).collect();
        for part in parts {
            for (vocab, counts) in occurrences(part, &self.features).iter().enumerate() {
                self.vocabularies[vocab].observe(&part.keys[vocab], counts);
            }
        }
        self.vocabularies.iter().zip(before).map(|(vocab, rows)| vocab.keys_from(rows).to_vec()).collect()
    }

    /// Encodes training data: every id that has no row is unknown.
    pub fn encode(&self, part: &Examples) -> Result<Vec<Column>, ModelError> {
        let rows =
            self.vocabularies.iter().zip(&part.keys).map(|(vocab, keys)| vocab.rows_of(keys)).collect::<Vec<_>>();
        self.columns(&part.columns, &rows)
    }

    /// Encodes inputs for scoring: ids without a row become what [`EncoderConfig::unseen`] says.
    pub fn encode_unlabelled(&self, keys: &[Vec<u64>], columns: &[Column]) -> Result<EncodedInputs, ModelError> {
        let mut beyond = vec![Vec::new(); self.vocabularies.len()];
        let mut rows = Vec::with_capacity(keys.len());
        for (vocab, (vocabulary, keys)) in self.vocabularies.iter().zip(keys).enumerate() {
            rows.push(match self.config.unseen {
                Unseen::Unknown => vocabulary.rows_of(keys),
                Unseen::HashInit => vocabulary.rows_and_beyond(keys, &mut beyond[vocab]),
            });
        }
        Ok(EncodedInputs { columns: self.columns(columns, &rows)?, beyond })
    }

    fn columns(&self, columns: &[Column], rows: &[Vec<u32>]) -> Result<Vec<Column>, ModelError> {
        if columns.len() != self.features.features.len() {
            return Err(ModelError::Features { expected: self.features.features.len(), got: columns.len() });
        }
        let mut numbers = self.numbers.iter();
        let mut next = || numbers.next().expect("one state per numeric feature");
        let encoded = self.features.features.iter().zip(columns).map(|(feature, column)| {
            Ok(match (feature.kind, column) {
                (FeatureKind::Id(vocab), Column::Id(ids)) => Column::Id(lookup(ids, &rows[vocab.0 as usize])),
                (FeatureKind::Bag(vocab), Column::Bag { spans, ids, weights }) => Column::Bag {
                    spans: spans.clone(),
                    ids: Arc::new(lookup(ids, &rows[vocab.0 as usize])),
                    weights: weights.clone(),
                },
                (FeatureKind::Numeric, Column::Numeric(values)) => next().encode(self.config.numeric, values),
                _ => return Err(ModelError::ColumnKind { feature: feature.name.clone() }),
            })
        });
        encoded.collect()
    }

    fn fit_numbers(&mut self, parts: &[&Examples]) {
        let features = self.features.features.iter().enumerate();
        let numeric = features.filter(|(_, feature)| feature.kind == FeatureKind::Numeric);
        for (state, (column, _)) in self.numbers.iter_mut().zip(numeric) {
            if *state == NumericState::Unfitted {
                let values = parts.iter().flat_map(|part| match &part.columns[column] {
                    Column::Numeric(values) => values.as_slice(),
                    _ => &[],
                });
                *state = NumericState::fit(self.config.numeric, values.copied());
            }
        }
    }
}

fn lookup(ids: &[u32], rows: &[u32]) -> Vec<u32> {
    ids.iter().map(|&id| rows[id as usize]).collect()
}

/// Per vocabulary, how often each key occurs outside histories, sampled negatives included: what is shown is observed.
/// A key that occurs in histories only is not observed here; it was when it was shown.
fn occurrences(part: &Examples, features: &FeatureSet) -> Vec<Vec<u32>> {
    let mut counts: Vec<Vec<u32>> = part.keys.iter().map(|keys| vec![0; keys.len()]).collect();
    for (feature, column) in features.features.iter().zip(&part.columns) {
        if feature.history_of.is_some() {
            continue;
        }
        match (feature.kind, column) {
            (FeatureKind::Id(vocab), Column::Id(ids)) => count(&mut counts[vocab.0 as usize], ids),
            (FeatureKind::Bag(vocab), Column::Bag { spans, ids, .. }) => {
                for example in 0..spans.start.len() {
                    count(&mut counts[vocab.0 as usize], &ids[spans.range(example)]);
                }
            }
            _ => {}
        }
    }
    counts
}

fn count(counts: &mut [u32], ids: &[u32]) {
    for &id in ids {
        counts[id as usize] += 1;
    }
}

/// What is stored of an encoder; see [`Encoder::to_bytes`].
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    format: u32,
    config: Cow<'a, EncoderConfig>,
    features: Cow<'a, FeatureSet>,
    numbers: Cow<'a, [NumericState]>,
    observed: Option<u32>,
}

const FORMAT: u32 = 1;

impl Encoder {
    /// Everything but the vocabularies' keys and counts, as JSON; those are stored by [`Vocab::to_bytes`].
    pub fn header(&self) -> Vec<u8> {
        let stored = Stored {
            format: FORMAT,
            config: Cow::Borrowed(&self.config),
            features: Cow::Borrowed(&self.features),
            numbers: Cow::Borrowed(&self.numbers),
            observed: self.observed,
        };
        serde_json::to_vec_pretty(&stored).expect("plain data is JSON")
    }

    /// Reads what [`Encoder::header`] and [`Vocab::to_bytes`] wrote.
    pub fn from_parts(header: &[u8], vocabularies: &[Vec<u8>]) -> Result<Encoder, ModelError> {
        let corrupt = |problem: String| ModelError::Corrupt { part: "encoder".into(), problem };
        let stored: Stored<'_> = serde_json::from_slice(header).map_err(|error| corrupt(error.to_string()))?;
        if stored.format != FORMAT {
            return Err(corrupt(format!("format {} is not {FORMAT}", stored.format)));
        }
        let mut encoder = Encoder::new(stored.features.into_owned(), stored.config.into_owned());
        if encoder.vocabularies.len() != vocabularies.len() {
            let (expected, got) = (encoder.vocabularies.len(), vocabularies.len());
            return Err(corrupt(format!("expected {expected} vocabularies, got {got}")));
        }
        encoder.numbers = stored.numbers.into_owned();
        encoder.observed = stored.observed;
        for (vocab, bytes) in encoder.vocabularies.iter_mut().zip(vocabularies) {
            vocab.restore(bytes).map_err(&corrupt)?;
        }
        Ok(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::{Schema, Spans};

    fn features(vocabulary: &str) -> FeatureSet {
        let text = format!(
            r#"
            name = "x"
            field = [
              {{ name = "u", kind = "id", role = "user" }},
              {{ name = "i", kind = "id", role = "item", vocabulary = {vocabulary} }},
              {{ name = "p", kind = "numeric" }},
              {{ name = "t", kind = "timestamp", unit = "s" }},
              {{ name = "y", kind = "label" }},
            ]"#
        );
        FeatureSet::of(&Schema::parse(&text).unwrap(), true)
    }

    /// Items are given by key; each example's user is 7; the history is all earlier items.
    fn examples(items: &[u64], prices: &[f32]) -> Examples {
        let mut keys: Vec<u64> = Vec::new();
        let mut local = Vec::new();
        for &item in items {
            let at = keys.iter().position(|&key| key == item).unwrap_or_else(|| {
                keys.push(item);
                keys.len() - 1
            });
            local.push(at as u32);
        }
        let n = items.len();
        let spans = Spans { start: vec![0; n], len: (0..n as u32).collect() };
        Examples {
            keys: vec![vec![7], keys],
            columns: vec![
                Column::Id(vec![0; n]),
                Column::Id(local.clone()),
                Column::Numeric(prices.to_vec()),
                Column::bag(spans, local, None),
            ],
            label: vec![1.0; n],
            ..Examples::default()
        }
    }

    #[test]
    fn ids_get_rows_in_order_of_first_use_and_only_in_an_update() {
        let mut encoder = Encoder::new(features("{ open = {} }"), EncoderConfig::default());
        let first = examples(&[50, 60, 50], &[1.0, 2.0, 3.0]);
        assert_eq!(encoder.observe(&[&first]), [vec![7], vec![50, 60]]);
        let columns = encoder.encode(&first).unwrap();
        assert_eq!(columns[1], Column::Id(vec![2, 3, 2]));

        let second = examples(&[60, 70], &[1.0, 1.0]);
        let before = encoder.clone();
        let scored = encoder.encode_unlabelled(&second.keys, &second.columns).unwrap();
        assert_eq!(encoder, before, "scoring must not change the encoder");
        assert_eq!(scored.columns[1], Column::Id(vec![3, 4]));
        assert_eq!(scored.beyond, [vec![], vec![70]]);
        assert_eq!(encoder.encode(&second).unwrap()[1], Column::Id(vec![3, UNKNOWN_ROW]));
    }

    #[test]
    fn ids_below_the_minimum_count_are_unknown_until_they_reach_it() {
        let mut encoder = Encoder::new(features("{ open = { min_count = 3 } }"), EncoderConfig::default());
        let part = examples(&[50, 50, 60], &[0.0; 3]);
        assert_eq!(encoder.observe(&[&part])[1], Vec::<u64>::new());
        assert_eq!(encoder.encode(&part).unwrap()[1], Column::Id(vec![UNKNOWN_ROW; 3]));
        assert_eq!(encoder.observe(&[&examples(&[50], &[0.0])])[1], [50], "counts carry over");
    }

    #[test]
    fn an_id_that_is_only_remembered_is_not_observed() {
        let mut encoder = Encoder::new(features("{ open = {} }"), EncoderConfig::default());
        let mut part = examples(&[50, 60], &[0.0; 2]);
        part.columns[1] = Column::Id(vec![1, 1]);
        assert_eq!(encoder.observe(&[&part])[1], [60], "50 occurs in a history only");
    }

    #[test]
    fn absurd_buckets_are_refused() {
        for buckets in [0, 1, 65_537, u32::MAX] {
            let config = EncoderConfig { numeric: NumericEncoding::Buckets(buckets), ..EncoderConfig::default() };
            assert!(config.check().is_err(), "{buckets}");
        }
    }

    #[test]
    fn fixed_and_hashed_vocabularies_do_not_grow() {
        let text = |value: &str| perennial_core::rng::hash_text(value);
        let mut fixed = Encoder::new(features("{ fixed = { values = [\"a\", \"b\"] } }"), EncoderConfig::default());
        let part = examples(&[text("b"), text("z")], &[0.0; 2]);
        assert_eq!(fixed.observe(&[&part])[1], Vec::<u64>::new());
        assert_eq!(fixed.encode(&part).unwrap()[1], Column::Id(vec![3, UNKNOWN_ROW]));

        let mut hashed = Encoder::new(features("{ hashed = { buckets = 4 } }"), EncoderConfig::default());
        hashed.observe(&[&part]);
        assert_eq!(hashed.vocabularies()[1].rows(), 6);
        let Column::Id(rows) = &hashed.encode(&part).unwrap()[1] else { panic!("an id column") };
        assert!(rows.iter().all(|row| (2..6).contains(row)), "{rows:?}");
    }

    #[test]
    fn unseen_may_be_the_unknown_row() {
        let config = EncoderConfig { unseen: Unseen::Unknown, ..EncoderConfig::default() };
        let mut encoder = Encoder::new(features("{ open = {} }"), config);
        encoder.observe(&[&examples(&[50], &[0.0])]);
        let part = examples(&[60], &[0.0]);
        let scored = encoder.encode_unlabelled(&part.keys, &part.columns).unwrap();
        assert_eq!(scored.columns[1], Column::Id(vec![UNKNOWN_ROW]));
        assert!(scored.beyond.iter().all(Vec::is_empty));
    }

    #[test]
    fn saving_and_loading_changes_nothing() {
        for (vocabulary, numeric) in [
            ("{ open = { min_count = 2 } }", NumericEncoding::Standard),
            ("{ hashed = { buckets = 9 } }", NumericEncoding::Buckets(3)),
        ] {
            let config = EncoderConfig { numeric, ..EncoderConfig::default() };
            let mut encoder = Encoder::new(features(vocabulary), config);
            encoder.observe(&[&examples(&[50, 60, 50], &[1.0, f32::NAN, 3.0])]);
            let bytes: Vec<Vec<u8>> = encoder.vocabularies().iter().map(Vocab::to_bytes).collect();
            let mut loaded = Encoder::from_parts(&encoder.header(), &bytes).unwrap();
            assert_eq!(loaded, encoder);
            let more = examples(&[60, 60, 80], &[1.0; 3]);
            assert_eq!(loaded.observe(&[&more]), encoder.observe(&[&more]), "it continues alike");
            for cut in 0..bytes[1].len() {
                let broken = [bytes[0].clone(), bytes[1][..cut].to_vec()];
                assert!(Encoder::from_parts(&encoder.header(), &broken).is_err(), "cut at {cut} was accepted");
            }
        }
    }
}
