//! Logistic regression on one-hot inputs: `z = b + sum_f w_f[id_f] + sum_f w_f x_f`.

use super::History;
use super::part::{LinearPart, Recipe};
use crate::encoder::Encoder;
use crate::view::Lookup;
use crate::{EmbeddingInit, ModelError, ModelSpec, ParamView};
use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of logistic regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LrConfig {
    /// Names of the features that go in; all of them if absent.
    pub inputs: Option<Vec<String>>,
    /// How the weights of a bag or a history become one number. Mean, since a sum grows with its length.
    pub history: History,
    /// Initial values of weights. Zero, where a convex model may start.
    pub init: EmbeddingInit,
}

impl Default for LrConfig {
    fn default() -> Self {
        LrConfig { inputs: None, history: History::Mean, init: EmbeddingInit::Zero }
    }
}

/// Logistic regression, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Lr {
    recipe: Recipe,
    linear: LinearPart,
}

impl Lr {
    /// Builds the model; an unknown input or none at all is an error.
    pub fn build(config: &LrConfig, encoder: &Encoder) -> Result<Lr, ModelError> {
        let mut recipe = Recipe::default();
        let LrConfig { inputs, history, init } = config;
        let linear = LinearPart::build("inputs", inputs.as_deref(), *history, *init, encoder, &mut recipe)?;
        Ok(Lr { recipe, linear })
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
        let parts = self.linear.forward(view, tape);
        tape.row_sum(&parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackboneConfig;
    use crate::backbone::conformance::fixture;

    /// The gradient of an id's weight is the sum of (probability - label) over the examples that hold it; here
    /// weighted and divided by the weight of all, as the loss is.
    #[test]
    fn the_gradient_of_a_weight_is_the_sum_of_errors() {
        let mut fixture = fixture(&BackboneConfig::Lr(LrConfig::default()), 23);
        fixture.scatter(0.3);
        let logits = fixture.logits();
        let total: f64 = fixture.data.weight.iter().map(|&w| f64::from(w)).sum();
        let error = |i: usize| {
            let probability = 1.0 / (1.0 + (-f64::from(logits[i])).exp());
            f64::from(fixture.data.weight[i]) * (probability - f64::from(fixture.data.label[i])) / total
        };
        let perennial_core::Column::Id(users) = &fixture.columns[0] else { panic!("users are ids") };
        let gradient = fixture.gradient_of("linear.user");
        for (row, got) in (0..).zip(gradient) {
            let expected: f64 = (0..users.len()).filter(|&i| users[i] == row).map(error).sum();
            assert!((got - expected).abs() < 1e-6, "row {row}: {got}, expected {expected}");
        }
        let bias: f64 = (0..users.len()).map(error).sum();
        assert!((fixture.gradient_of("linear.bias")[0] - bias).abs() < 1e-6);
    }
}
