//! Neural factorisation machine (He and Chua, SIGIR 2017).
//!
//! ```text
//! z = b + sum_f w_f + MLP(p)      p_d = sum_{i<j} e_id e_jd
//! ```
//!
//! Departure: sizes are those of the public benchmark; the paper has one layer of the vectors' width.

use super::part::{Fields, FieldsConfig, LinearPart, Mlp, MlpConfig, Recipe};
use crate::encoder::Encoder;
use crate::view::Lookup;
use crate::{ModelError, ModelSpec, ParamView};
use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of NFM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NfmConfig {
    /// What goes in.
    pub fields: FieldsConfig,
    /// The layers on the pooled pairs.
    pub mlp: MlpConfig,
}

/// NFM, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Nfm {
    recipe: Recipe,
    linear: LinearPart,
    fields: Fields,
    mlp: Mlp,
}

impl Nfm {
    /// Builds the model; an unknown input, no input at all or an impossible width is an error.
    pub fn build(config: &NfmConfig, encoder: &Encoder) -> Result<Nfm, ModelError> {
        let mut recipe = Recipe::default();
        let linear = LinearPart::of(&config.fields, encoder, &mut recipe)?;
        let fields = Fields::build("embedding", &config.fields, encoder, &mut recipe)?;
        let mlp = Mlp::build("mlp", fields.dim(), &config.mlp, &mut recipe)?;
        Ok(Nfm { recipe, linear, fields, mlp })
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
        let deep = self.mlp.forward(pairs, view, tape);
        tape.row_sum(&[ids, numbers, deep])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackboneConfig;
    use crate::backbone::FmConfig;
    use crate::backbone::conformance::{fixture, small_fields, small_mlp};

    #[test]
    fn without_layers_and_with_weights_of_one_it_is_fm() {
        let fields = small_fields();
        let mlp = MlpConfig { hidden: vec![], ..small_mlp() };
        let mut nfm = fixture(&BackboneConfig::Nfm(NfmConfig { fields: fields.clone(), mlp }), 9);
        let mut fm = fixture(&BackboneConfig::Fm(FmConfig { fields }), 9);
        for fixture in [&mut nfm, &mut fm] {
            fixture.scatter_like("linear", 0.3);
        }
        nfm.fill("mlp.0.weight", 1.0);
        for (nfm, fm) in nfm.logits().into_iter().zip(fm.logits()) {
            assert!((nfm - fm).abs() < 1e-6, "{nfm} and {fm}");
        }
    }
}
