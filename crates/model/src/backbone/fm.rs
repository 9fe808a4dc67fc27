//! Factorisation machine (Rendle, ICDM 2010).
//!
//! ```text
//! z = b + sum_f w_f + sum_{i<j} <e_i, e_j>
//! ```
//!
//! Bags and histories are pooled before they meet other features; a number is its vector times itself, so that pairs
//! scale with the product of their numbers.

use super::part::{Fields, FieldsConfig, LinearPart, Recipe};
use crate::encoder::Encoder;
use crate::view::Lookup;
use crate::{ModelError, ModelSpec, ParamView};
use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of a factorisation machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FmConfig {
    /// What goes in.
    pub fields: FieldsConfig,
}

/// A factorisation machine, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Fm {
    recipe: Recipe,
    linear: LinearPart,
    fields: Fields,
}

impl Fm {
    /// Builds the model; an unknown input, no input at all or an impossible width is an error.
    pub fn build(config: &FmConfig, encoder: &Encoder) -> Result<Fm, ModelError> {
        let mut recipe = Recipe::default();
        let linear = LinearPart::of(&config.fields, encoder, &mut recipe)?;
        let fields = Fields::build("embedding", &config.fields, encoder, &mut recipe)?;
        Ok(Fm { recipe, linear, fields })
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
        tape.row_sum(&[ids, numbers, pairs])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackboneConfig;
    use crate::backbone::conformance::{fixture, small_fields};

    /// All pairs one by one, for each choice of four features.
    #[test]
    fn equals_all_pairs_one_by_one() {
        for inputs in [["user", "item", "tags", "price"], ["item", "price", "history.item", "history.tags"]] {
            let inputs = Some(inputs.map(String::from).to_vec());
            let config = FmConfig { fields: FieldsConfig { inputs, ..small_fields() } };
            let mut fixture = fixture(&BackboneConfig::Fm(config), 12);
            fixture.scatter(0.5);
            let (linear, vectors) = fixture.linear_and_vectors(3);
            for (i, logit) in fixture.logits().into_iter().enumerate() {
                let mut expected = linear[i];
                for a in 0..4 {
                    for b in a + 1..4 {
                        expected += (0..3).map(|d| vectors[i][a * 3 + d] * vectors[i][b * 3 + d]).sum::<f64>();
                    }
                }
                assert!((f64::from(logit) - expected).abs() < 1e-5, "{logit}, expected {expected}");
            }
        }
    }
}
