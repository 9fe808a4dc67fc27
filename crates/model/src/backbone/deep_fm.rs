//! DeepFM (Guo et al., IJCAI 2017): `z = b + sum_f w_f + sum_{i<j} <e_i, e_j> + MLP([e_1; ...; e_F])`, one set of
//! vectors for pairs and layers.

use super::part::{Fields, FieldsConfig, LinearPart, Mlp, MlpConfig, Recipe};
use crate::encoder::Encoder;
use crate::view::Lookup;
use crate::{ModelError, ModelSpec, ParamView};
use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of DeepFM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeepFmConfig {
    /// What goes in.
    pub fields: FieldsConfig,
    /// The deep part's layers.
    pub mlp: MlpConfig,
}

/// DeepFM, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct DeepFm {
    recipe: Recipe,
    linear: LinearPart,
    fields: Fields,
    mlp: Mlp,
}

impl DeepFm {
    /// Builds the model; an unknown input, no input at all or an impossible width is an error.
    pub fn build(config: &DeepFmConfig, encoder: &Encoder) -> Result<DeepFm, ModelError> {
        let mut recipe = Recipe::default();
        let linear = LinearPart::of(&config.fields, encoder, &mut recipe)?;
        let fields = Fields::build("embedding", &config.fields, encoder, &mut recipe)?;
        let mlp = Mlp::build("mlp", fields.width(), &config.mlp, &mut recipe)?;
        Ok(DeepFm { recipe, linear, fields, mlp })
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
        let pairs = tape.bi_interaction(x, self.fields.dim());
        let deep = self.mlp.forward(x, view, tape);
        tape.row_sum(&[ids, numbers, pairs, deep])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackboneConfig;
    use crate::backbone::conformance::{fixture, small_fields, small_mlp};
    use crate::backbone::{FmConfig, WideDeepConfig};

    #[test]
    fn without_an_output_layer_it_is_fm() {
        let (fields, mlp) = (small_fields(), small_mlp());
        let mut deep = fixture(&BackboneConfig::DeepFm(DeepFmConfig { fields: fields.clone(), mlp }), 9);
        let mut fm = fixture(&BackboneConfig::Fm(FmConfig { fields }), 9);
        for fixture in [&mut deep, &mut fm] {
            fixture.scatter_like("linear", 0.3);
        }
        assert_ne!(deep.logits(), fm.logits());
        deep.fill("mlp.2.weight", 0.0);
        assert_eq!(deep.logits(), fm.logits());
    }

    #[test]
    fn with_the_pairs_of_vectors_taken_off_it_is_wide_and_deep() {
        let (fields, mlp) = (small_fields(), small_mlp());
        let deep = fixture(&BackboneConfig::DeepFm(DeepFmConfig { fields: fields.clone(), mlp: mlp.clone() }), 9);
        let wide = fixture(&BackboneConfig::WideDeep(WideDeepConfig { fields: fields.clone(), mlp }), 9);
        let fm = fixture(&BackboneConfig::Fm(FmConfig { fields }), 9);
        for ((deep, wide), fm) in deep.logits().into_iter().zip(wide.logits()).zip(fm.logits()) {
            assert!((deep - fm - wide).abs() < 1e-6, "{deep} is not {fm} + {wide}");
        }
    }
}
