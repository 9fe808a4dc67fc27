//! The backbones: recipes that turn inputs and parameters into logits.
//!
//! Adding one = one file here, one variant and one line in each match below; the conformance tests walk
//! [`Backbone::examples`].

mod embedding_mlp;

pub use embedding_mlp::{EmbeddingMlp, EmbeddingMlpConfig, History};

use crate::encoder::Encoder;
use crate::{Lookup, ModelError, ModelSpec, ParamView};
use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Which backbone, and its options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BackboneConfig {
    /// Embedding&MLP, the base model of ASMG.
    EmbeddingMlp(EmbeddingMlpConfig),
}

impl Default for BackboneConfig {
    fn default() -> Self {
        BackboneConfig::EmbeddingMlp(EmbeddingMlpConfig::default())
    }
}

/// A backbone built for an encoder's inputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Backbone {
    /// Embedding&MLP, the base model of ASMG.
    EmbeddingMlp(EmbeddingMlp),
}

impl Backbone {
    /// Builds the backbone for the encoder's inputs, or says why it cannot be.
    pub fn build(config: &BackboneConfig, encoder: &Encoder) -> Result<Backbone, ModelError> {
        match config {
            BackboneConfig::EmbeddingMlp(config) => Ok(Backbone::EmbeddingMlp(EmbeddingMlp::build(config, encoder)?)),
        }
    }

    /// The parameters.
    pub fn spec(&self) -> &ModelSpec {
        match self {
            Backbone::EmbeddingMlp(model) => model.spec(),
        }
    }

    /// All lookups that a forward pass makes, in order.
    pub fn lookups(&self) -> &[Lookup] {
        match self {
            Backbone::EmbeddingMlp(model) => model.lookups(),
        }
    }

    /// Logits `[batch, 1]` of the view's batch.
    pub fn forward<T: Real>(&self, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        match self {
            Backbone::EmbeddingMlp(model) => model.forward(view, tape),
        }
    }
}

#[cfg(test)]
mod conformance;
