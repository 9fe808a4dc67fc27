//! A plain network: embeddings side by side through fully connected layers, `z = MLP([e_1; ...; e_F])`.
//!
//! It differs from Embedding&MLP in what surrounds the same idea: numbers have vectors of their own, and
//! initialisation, sizes and regularisation are those of the public benchmark.

use super::part::{Fields, FieldsConfig, Mlp, MlpConfig, Recipe};
use crate::encoder::Encoder;
use crate::view::Lookup;
use crate::{ModelError, ModelSpec, ParamView};
use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of a plain network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnnConfig {
    /// What goes in.
    pub fields: FieldsConfig,
    /// The layers.
    pub mlp: MlpConfig,
}

/// A plain network, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Dnn {
    recipe: Recipe,
    fields: Fields,
    mlp: Mlp,
}

impl Dnn {
    /// Builds the model; an unknown input, no input at all or an impossible width is an error.
    pub fn build(config: &DnnConfig, encoder: &Encoder) -> Result<Dnn, ModelError> {
        let mut recipe = Recipe::default();
        let fields = Fields::build("embedding", &config.fields, encoder, &mut recipe)?;
        let mlp = Mlp::build("mlp", fields.width(), &config.mlp, &mut recipe)?;
        Ok(Dnn { recipe, fields, mlp })
    }

    /// The parameters.
    pub fn spec(&self) -> &ModelSpec {
        &self.recipe.spec
    }

    /// All lookups that a forward pass makes.
    pub fn lookups(&self) -> &[Lookup] {
        &self.recipe.lookups
    }
    /// Logits `[batch, 1]`.
    pub fn forward<T: Real>(&self, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        let x = self.fields.embed(view, tape);
        self.mlp.forward(x, view, tape)
    }
}
