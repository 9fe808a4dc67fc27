//! The inputs of a model as vectors of one width.

use super::{Recipe, check_width};
use crate::backbone::History;
use crate::encoder::{Encoder, Input};
use crate::view::Lookup;
use crate::{DenseId, DenseInit, EmbeddingInit, ModelError, ParamView};
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
}

impl Default for FieldsConfig {
    fn default() -> Self {
        FieldsConfig {
            dim: 10,
            inputs: None,
            history: History::Mean,
            init: EmbeddingInit::Normal { std: 1e-4 },
            init_of: BTreeMap::new(),
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

impl Fields {
    /// Declares one table `<prefix>.<domain>` per vocabulary and the tensor `<prefix>.numbers [numbers, dim]`. An
    /// unknown input, no input at all or an impossible width is an error.
    pub(in crate::backbone) fn build(
        prefix: &str,
        config: &FieldsConfig,
        encoder: &Encoder,
        recipe: &mut Recipe,
    ) -> Result<Fields, ModelError> {
        check_width("fields.dim", config.dim, 4096)?;
        let mut fields = Fields { rows: Vec::new(), numbers: Vec::new(), vectors: None, dim: config.dim };
        let mut tables = BTreeMap::new();
        for feature in chosen_features("fields.inputs", config.inputs.as_deref(), encoder)? {
            match encoder.inputs()[feature] {
                Input::Number => fields.numbers.push(Lookup::Number { feature }),
                Input::Row(vocab) | Input::Bag(vocab) => {
                    let table = *tables.entry(vocab).or_insert_with(|| {
                        let domain = encoder.vocabulary_name(vocab);
                        let init = config.init_of.get(&domain).copied().unwrap_or(config.init);
                        recipe.table(format!("{prefix}.{domain}"), vocab, config.dim, init)
                    });
                    fields.rows.push(Lookup::Rows { table, feature, pool: config.history.pool() });
                }
            }
        }
        let domains: Vec<String> = tables.keys().map(|vocab| encoder.vocabulary_name(*vocab)).collect();
        refuse_unused_inits("fields.init_of", &config.init_of, &domains)?;
        if !fields.numbers.is_empty() {
            let shape = [fields.numbers.len(), config.dim];
            fields.vectors = Some(recipe.dense(format!("{prefix}.numbers"), shape, DenseInit::of(config.init, shape)));
        }
        recipe.lookups.extend(fields.rows.iter().chain(&fields.numbers));
        Ok(fields)
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

/// An initialisation for a domain that has no table is a mistake, and a silent one would change results.
fn refuse_unused_inits(
    key: &str,
    init_of: &BTreeMap<String, EmbeddingInit>,
    domains: &[String],
) -> Result<(), ModelError> {
    match init_of.keys().find(|domain| !domains.contains(domain)) {
        None => Ok(()),
        Some(domain) => Err(ModelError::Config {
            key: format!("{key}.{domain}"),
            problem: format!("there is no such table; there are: {}", domains.join(", ")),
        }),
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
    if chosen.is_empty() {
        return Err(ModelError::Config { key: key.into(), problem: "a model needs at least one input".into() });
    }
    Ok(chosen)
}
