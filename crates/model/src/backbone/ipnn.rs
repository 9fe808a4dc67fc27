//! Inner-product network (PNN with inner products; Qu et al., ICDM 2016).
//!
//! ```text
//! z = MLP([e_1; ...; e_F; <e_1, e_2>; <e_1, e_3>; ...; <e_{F-1}, e_F>])
//! ```
//!
//! Departure, as in the public benchmark: vectors and products are joined as they are, without the paper's linear maps
//! of both. There is no linear part.

use super::part::{Fields, FieldsConfig, Mlp, MlpConfig, Recipe};
use crate::encoder::Encoder;
use crate::view::Lookup;
use crate::{ModelError, ModelSpec, ParamView};
use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of IPNN.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IpnnConfig {
    /// What goes in.
    pub fields: FieldsConfig,
    /// The layers on vectors and products.
    pub mlp: MlpConfig,
}

/// IPNN, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Ipnn {
    recipe: Recipe,
    fields: Fields,
    mlp: Mlp,
}

impl Ipnn {
    /// Builds the model; an unknown input, no input at all or an impossible width is an error.
    pub fn build(config: &IpnnConfig, encoder: &Encoder) -> Result<Ipnn, ModelError> {
        let mut recipe = Recipe::default();
        let fields = Fields::build("embedding", &config.fields, encoder, &mut recipe)?;
        let pairs = fields.count() * (fields.count() - 1) / 2;
        let mlp = Mlp::build("mlp", fields.width() + pairs, &config.mlp, &mut recipe)?;
        Ok(Ipnn { recipe, fields, mlp })
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
        let products = tape.inner_products(x, self.fields.dim());
        let both = tape.concat(&[x, products]);
        self.mlp.forward(both, view, tape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackboneConfig;
    use crate::backbone::conformance::{fixture, small_fields, small_mlp};
    use crate::backbone::{DnnConfig, FmConfig};

    /// One layer that reads the products alone is the second-order part of a factorisation machine; one that reads
    /// the vectors alone is the plain network.
    #[test]
    fn its_first_layer_chooses_between_vectors_and_products() {
        let (fields, mlp) = (small_fields(), MlpConfig { hidden: vec![], ..small_mlp() });
        let width = 6 * fields.dim;
        let mut ipnn = fixture(&BackboneConfig::Ipnn(IpnnConfig { fields: fields.clone(), mlp: mlp.clone() }), 9);
        let fm = fixture(&BackboneConfig::Fm(FmConfig { fields: fields.clone() }), 9);
        let mut dnn = fixture(&BackboneConfig::Dnn(DnnConfig { fields, mlp }), 9);
        ipnn.set("mlp.0.weight", |at| if at < width { 0.0 } else { 1.0 });
        for (ipnn, fm) in ipnn.logits().into_iter().zip(fm.logits()) {
            assert!((ipnn - fm).abs() < 1e-6, "{ipnn} and {fm}");
        }
        ipnn.set("mlp.0.weight", |at| if at < width { at as f32 } else { 0.0 });
        dnn.set("mlp.0.weight", |at| at as f32);
        for (ipnn, dnn) in ipnn.logits().into_iter().zip(dnn.logits()) {
            assert!((ipnn - dnn).abs() < 1e-4, "{ipnn} and {dnn}");
        }
    }
}
