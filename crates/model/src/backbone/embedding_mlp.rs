//! Embedding&MLP, the base model of ASMG (Peng et al., RecSys 2021, section 5.1.3).
//!
//! Every id becomes an embedding; the user's history is pooled with the same tables as the item at hand; all are
//! concatenated and go through an MLP with ReLU:
//!
//! ```text
//! x = [E_user(u); pool_h E_item(h); E_item(i); ...]      z = W_L relu(... relu(W_1 x + b_1) ...) + b_L
//! ```
//!
//! Departures: any features of the schema may go in, numbers as they are encoded; and where a past item has no
//! category at all, it is left out of the mean over the history's categories, while the paper's code divides by the
//! length of the history.

use super::part::chosen_features;
use crate::encoder::{Encoder, Input};
use crate::view::Lookup;
use crate::{DenseId, DenseInit, DenseSpec, EmbeddingInit, ModelError, ModelSpec, ParamView, TableId, TableSpec};
use perennial_core::VocabId;
use perennial_nn::{Act, Real, Tape, Var};
use perennial_table::Pool;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Options of Embedding&MLP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingMlpConfig {
    /// Floats per embedding. 8 in the paper.
    pub dim: usize,
    /// Widths of the hidden layers. 20 and 10 in the paper.
    pub hidden: Vec<usize>,
    /// How a bag or a history becomes one vector. The paper takes the mean.
    pub history: History,
    /// Names of the features that go in; all of them if absent.
    pub inputs: Option<Vec<String>>,
    /// Initial values of embeddings.
    pub embedding_init: EmbeddingInit,
    /// Initial values of the embeddings of one domain, where they differ from `embedding_init`.
    pub embedding_init_of: BTreeMap<String, EmbeddingInit>,
    /// Initial values of biases: Glorot's limit sqrt(3 / length), as in the paper's code, or zero.
    pub random_biases: bool,
}

/// How a bag of embeddings becomes one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// Weighted mean; zero when empty.
    Mean,
    /// Weighted sum.
    Sum,
}

impl Default for EmbeddingMlpConfig {
    fn default() -> Self {
        EmbeddingMlpConfig {
            dim: 8,
            hidden: vec![20, 10],
            history: History::Mean,
            inputs: None,
            embedding_init: EmbeddingInit::default(),
            embedding_init_of: BTreeMap::new(),
            random_biases: true,
        }
    }
}

/// Embedding&MLP, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingMlp {
    spec: ModelSpec,
    lookups: Vec<Lookup>,
    /// Weight and bias of each layer, the output layer last.
    layers: Vec<(DenseId, DenseId)>,
}

impl EmbeddingMlp {
    /// Builds the model; an unknown input, a zero width or no input at all is an error.
    pub fn build(config: &EmbeddingMlpConfig, encoder: &Encoder) -> Result<EmbeddingMlp, ModelError> {
        check_widths(config)?;
        let mut model = EmbeddingMlp { spec: ModelSpec::default(), lookups: Vec::new(), layers: Vec::new() };
        let mut tables = BTreeMap::new();
        let mut width = 0;
        for feature in chosen_features("inputs", config.inputs.as_deref(), encoder)? {
            let (lookup, dim) = match encoder.inputs()[feature] {
                Input::Number => (Lookup::Number { feature }, 1),
                Input::Row(vocab) | Input::Bag(vocab) => {
                    let table = *tables.entry(vocab).or_insert_with(|| model.add_table(config, encoder, vocab));
                    (Lookup::Rows { table, feature, pool: config.history.pool() }, config.dim)
                }
            };
            model.lookups.push(lookup);
            width += dim;
        }
        refuse_unused_inits(config, &model.spec)?;
        for (layer, &next) in config.hidden.iter().chain([&1]).enumerate() {
            model.add_layer(layer, width, next, config.random_biases);
            width = next;
        }
        Ok(model)
    }

    /// The parameters: one table per vocabulary, `mlp.<layer>.weight [in, out]` and `mlp.<layer>.bias [1, out]`.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// What goes in, side by side in this order.
    pub fn lookups(&self) -> &[Lookup] {
        &self.lookups
    }

    /// Logits `[batch, 1]`.
    pub fn forward<T: Real>(&self, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        let mut x = view.embed(tape, &self.lookups);
        let last = self.layers.len() - 1;
        for (layer, &(weight, bias)) in self.layers.iter().enumerate() {
            let (weight, bias) = (view.dense(tape, weight), view.dense(tape, bias));
            let act = if layer == last { Act::Identity } else { Act::Relu };
            x = tape.linear(x, weight, Some(bias), act);
        }
        x
    }

    fn add_table(&mut self, config: &EmbeddingMlpConfig, encoder: &Encoder, vocab: VocabId) -> TableId {
        let domain = encoder.vocabulary_name(vocab);
        let init = config.embedding_init_of.get(&domain).copied().unwrap_or(config.embedding_init);
        self.spec.tables.push(TableSpec { name: format!("embedding.{domain}"), vocab, dim: config.dim, init });
        TableId(self.spec.tables.len() - 1)
    }

    fn add_layer(&mut self, layer: usize, fan_in: usize, fan_out: usize, random_bias: bool) {
        let bias = match random_bias {
            // Glorot's formula on a vector takes its length for both fans.
            true => DenseInit::glorot_uniform(fan_out, fan_out),
            false => DenseInit::Zero,
        };
        let weight = DenseInit::glorot_uniform(fan_in, fan_out);
        let id = self.spec.dense.len();
        self.spec.dense.extend([
            DenseSpec { name: format!("mlp.{layer}.weight"), rows: fan_in, cols: fan_out, init: weight },
            DenseSpec { name: format!("mlp.{layer}.bias"), rows: 1, cols: fan_out, init: bias },
        ]);
        self.layers.push((DenseId(id), DenseId(id + 1)));
    }
}

impl History {
    pub(super) fn pool(self) -> Pool {
        match self {
            History::Mean => Pool::Mean,
            History::Sum => Pool::Sum,
        }
    }
}

fn check_widths(config: &EmbeddingMlpConfig) -> Result<(), ModelError> {
    let fail = |key: &str, problem: &str| Err(ModelError::Config { key: key.into(), problem: problem.into() });
    match () {
        _ if config.dim > 4096 => fail("dim", "at most 4,096 floats are possible"),
        _ if config.hidden.iter().any(|width| *width > 65_536) => fail("hidden", "at most 65,536 units are possible"),
        _ if config.dim == 0 => fail("dim", "an embedding needs at least one float"),
        _ if config.hidden.contains(&0) => fail("hidden", "a layer needs at least one unit"),
        _ => Ok(()),
    }
}

/// An initialisation for a domain that has no table is a mistake, and a silent one would change results.
fn refuse_unused_inits(config: &EmbeddingMlpConfig, spec: &ModelSpec) -> Result<(), ModelError> {
    let known: Vec<&str> = spec.tables.iter().filter_map(|table| table.name.strip_prefix("embedding.")).collect();
    match config.embedding_init_of.keys().find(|domain| !known.contains(&domain.as_str())) {
        None => Ok(()),
        Some(domain) => Err(ModelError::Config {
            key: format!("embedding_init_of.{domain}"),
            problem: format!("there is no such table; there are: {}", known.join(", ")),
        }),
    }
}
