//! The inputs of a model as vectors of one width.

use super::{Recipe, check_width};
use crate::backbone::History;
use crate::encoder::{Encoder, Input};
use crate::view::Lookup;
use crate::{DenseId, DenseInit, EmbeddingInit, ModelError, ParamView, TableId};
use perennial_core::VocabId;
use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which features go in, and as which vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldsConfig {
    /// Floats per vector. 10 in the public benchmark of the models that use it.
    pub dim: usize,
    /// Names of the features that go in; all of them if absent.
    pub inputs: Option<Vec<String>>,
    /// How a bag or a history becomes one vector. Mean, since a sum grows with its length.
    pub history: History,
    /// Initial values of vectors. Normal with standard deviation 1e-4 as in FuxiCTR: products of such vectors are
    /// nothing at first, so that a model starts as its linear part.
    pub init: EmbeddingInit,
    /// Initial values of the vectors of one domain, where they differ from `init`.
    pub init_of: BTreeMap<String, EmbeddingInit>,
    /// Initial values of the weights of a linear part, where the model has one. Zero, where a convex model may start;
    /// FuxiCTR starts them as it does vectors.
    pub linear_init: EmbeddingInit,
}

impl Default for FieldsConfig {
    fn default() -> Self {
        FieldsConfig {
            dim: 10,
            inputs: None,
            history: History::Mean,
            init: EmbeddingInit::Normal { std: 1e-4 },
            init_of: BTreeMap::new(),
            linear_init: EmbeddingInit::Zero,
        }
    }
}

/// One vector per feature: `e_f` is the row of an id, the pooled rows of a bag, or a number times its own vector.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::backbone) struct Fields {
    rows: Vec<Lookup>,
    numbers: Vec<Lookup>,
    /// `[numbers, dim]`, if there are numbers.
    vectors: Option<DenseId>,
    dim: usize,
}

/// One table per vocabulary, made when it is first asked for.
pub(in crate::backbone) struct Tables<'a> {
    prefix: &'a str,
    config: &'a FieldsConfig,
    encoder: &'a Encoder,
    made: BTreeMap<VocabId, TableId>,
}

impl<'a> Tables<'a> {
    /// Tables called `<prefix>.<domain>`; an impossible width is an error.
    pub(in crate::backbone) fn new(
        prefix: &'a str,
        config: &'a FieldsConfig,
        encoder: &'a Encoder,
    ) -> Result<Tables<'a>, ModelError> {
        check_width("fields.dim", config.dim, 4096)?;
        Ok(Tables { prefix, config, encoder, made: BTreeMap::new() })
    }

    /// Width of all tables.
    pub(in crate::backbone) fn dim(&self) -> usize {
        self.config.dim
    }

    /// Whose vocabularies they are of.
    pub(in crate::backbone) fn encoder(&self) -> &'a Encoder {
        self.encoder
    }

    /// The table of a vocabulary.
    pub(in crate::backbone) fn of(&mut self, vocab: VocabId, recipe: &mut Recipe) -> TableId {
        *self.made.entry(vocab).or_insert_with(|| {
            let domain = self.encoder.vocabulary_name(vocab);
            let init = self.config.init_of.get(&domain).copied().unwrap_or(self.config.init);
            recipe.table(format!("{}.{domain}", self.prefix), vocab, self.config.dim, init)
        })
    }

    /// An initialisation for a domain that has no table is a mistake, and a silent one would change results.
    pub(in crate::backbone) fn finish(self) -> Result<(), ModelError> {
        let domains: Vec<String> = self.made.keys().map(|vocab| self.encoder.vocabulary_name(*vocab)).collect();
        match self.config.init_of.keys().find(|domain| !domains.contains(domain)) {
            None => Ok(()),
            Some(domain) => Err(ModelError::Config {
                key: format!("fields.init_of.{domain}"),
                problem: format!("there is no such table; there are: {}", domains.join(", ")),
            }),
        }
    }
}

impl Fields {
    /// Declares one table `<prefix>.<domain>` per vocabulary and the tensor `<prefix>.numbers [numbers, dim]`. An
    /// unknown input, no input at all or an impossible width is an error.
    pub(in crate::backbone) fn build(
        prefix: &str,
        config: &FieldsConfig,
        encoder: &Encoder,
        recipe: &mut Recipe,
    ) -> Result<Fields, ModelError> {
        let mut tables = Tables::new(prefix, config, encoder)?;
        let chosen = chosen_features("fields.inputs", config.inputs.as_deref(), encoder)?;
        let fields = Fields::of(&chosen, &mut tables, recipe);
        tables.finish()?;
        Ok(fields)
    }

    /// The vectors of these features, of which there may be none.
    pub(in crate::backbone) fn of(features: &[usize], tables: &mut Tables<'_>, recipe: &mut Recipe) -> Fields {
        let config = tables.config;
        let mut fields = Fields { rows: Vec::new(), numbers: Vec::new(), vectors: None, dim: config.dim };
        for &feature in features {
            match tables.encoder.inputs()[feature] {
                Input::Number => fields.numbers.push(Lookup::Number { feature }),
                Input::Row(vocab) | Input::Bag(vocab) => {
                    let table = tables.of(vocab, recipe);
                    fields.rows.push(Lookup::Rows { table, feature, pool: config.history.pool() });
                }
            }
        }
        if !fields.numbers.is_empty() {
            let (name, shape) = (format!("{}.numbers", tables.prefix), [fields.numbers.len(), config.dim]);
            fields.vectors = Some(recipe.dense(name, shape, DenseInit::of(config.init, shape)));
        }
        fields.rows.iter().chain(&fields.numbers).for_each(|lookup| recipe.look_up(*lookup));
        fields
    }

    /// Number of vectors.
    pub(in crate::backbone) fn count(&self) -> usize {
        self.rows.len() + self.numbers.len()
    }

    /// Floats per vector.
    pub(in crate::backbone) fn dim(&self) -> usize {
        self.dim
    }

    /// Floats of all vectors.
    pub(in crate::backbone) fn width(&self) -> usize {
        self.count() * self.dim
    }

    /// All vectors side by side, `[batch, fields * dim]`: ids and bags in the order of features, then numbers.
    pub(in crate::backbone) fn embed<T: Real>(&self, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        let Some(vectors) = self.vectors else { return view.embed(tape, &self.rows) };
        let numbers = view.embed(tape, &self.numbers);
        let vectors = view.dense(tape, vectors);
        let scaled = tape.scaled_vectors(numbers, vectors);
        match self.rows.is_empty() {
            true => scaled,
            false => {
                let rows = view.embed(tape, &self.rows);
                tape.concat(&[rows, scaled])
            }
        }
    }
}

/// Positions of the features of these names, or of all; an unknown name or no feature at all is an error.
pub(in crate::backbone) fn chosen_features(
    key: &str,
    names: Option<&[String]>,
    encoder: &Encoder,
) -> Result<Vec<usize>, ModelError> {
    let features = encoder.features();
    let position = |name: &String| {
        features.position(name).ok_or_else(|| ModelError::Config {
            key: key.into(),
            problem: format!(
                "there is no feature \"{name}\"; there are: {}",
                features.features.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        })
    };
    let chosen = match names {
        None => (0..features.features.len()).collect(),
        Some(names) => names.iter().map(position).collect::<Result<Vec<_>, _>>()?,
    };
    if let Some(twice) = (1..chosen.len()).find(|&at| chosen[..at].contains(&chosen[at])) {
        let name = &features.features[chosen[twice]].name;
        return Err(ModelError::Config { key: key.into(), problem: format!("\"{name}\" is there twice") });
    }
    if chosen.is_empty() {
        return Err(ModelError::Config { key: key.into(), problem: "a model needs at least one input".into() });
    }
    Ok(chosen)
}
