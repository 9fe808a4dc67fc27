//! Wide & Deep (Cheng et al., DLRS 2016): `z = b + sum_f w_f + MLP([e_1; ...; e_F])`.
//!
//! Departures: the wide part sees the raw ids, as in the public benchmark, where the paper crosses them by hand; and one
//! optimiser trains both parts unless `training.groups.linear` says otherwise, where the paper gives the wide one FTRL.

use super::part::{Fields, FieldsConfig, LinearPart, Mlp, MlpConfig, Recipe};
use crate::encoder::Encoder;
use crate::view::Lookup;
use crate::{ModelError, ModelSpec, ParamView};
use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of Wide & Deep.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WideDeepConfig {
    /// What goes in, wide and deep.
    pub fields: FieldsConfig,
    /// The deep part's layers.
    pub mlp: MlpConfig,
}

/// Wide & Deep, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct WideDeep {
    recipe: Recipe,
    linear: LinearPart,
    fields: Fields,
    mlp: Mlp,
}

impl WideDeep {
    /// Builds the model; an unknown input, no input at all or an impossible width is an error.
    pub fn build(config: &WideDeepConfig, encoder: &Encoder) -> Result<WideDeep, ModelError> {
        let mut recipe = Recipe::default();
        let linear = LinearPart::of(&config.fields, encoder, &mut recipe)?;
        let fields = Fields::build("embedding", &config.fields, encoder, &mut recipe)?;
        let mlp = Mlp::build("mlp", fields.width(), &config.mlp, &mut recipe)?;
        Ok(WideDeep { recipe, linear, fields, mlp })
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
        let [ids, numbers] = self.linear.forward(view, tape);
        let x = self.fields.embed(view, tape);
        let deep = self.mlp.forward(x, view, tape);
        tape.row_sum(&[ids, numbers, deep])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackboneConfig;
    use crate::backbone::conformance::{fixture, six, small_fields, small_mlp};
    use crate::backbone::{DnnConfig, LrConfig};

    /// Parameters of one name have the same first values, whatever the model.
    #[test]
    fn it_is_the_sum_of_its_parts() {
        let (fields, mlp) = (small_fields(), small_mlp());
        let mut whole =
            fixture(&BackboneConfig::WideDeep(WideDeepConfig { fields: fields.clone(), mlp: mlp.clone() }), 9);
        let mut wide = fixture(&BackboneConfig::Lr(LrConfig { inputs: six(), ..LrConfig::default() }), 9);
        let deep = fixture(&BackboneConfig::Dnn(DnnConfig { fields, mlp }), 9).logits();
        whole.scatter_like("linear", 0.3);
        wide.scatter_like("linear", 0.3);
        for ((whole, wide), deep) in whole.logits().into_iter().zip(wide.logits()).zip(deep) {
            assert!((whole - wide - deep).abs() < 1e-6, "{whole} is not {wide} + {deep}");
        }
    }
}
