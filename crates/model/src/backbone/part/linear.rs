//! The linear part of a logit: one weight per id.

use super::{FieldsConfig, Recipe, chosen_features};
use crate::backbone::History;
use crate::encoder::{Encoder, Input};
use crate::view::Lookup;
use crate::{DenseId, DenseInit, EmbeddingInit, ModelError, ParamView};
use perennial_nn::{Act, Real, Tape, Var};

/// `b + sum_f w_f[id_f] + sum_f w_f x_f`, over ids and numbers.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::backbone) struct LinearPart {
    rows: Vec<Lookup>,
    numbers: Vec<Lookup>,
    /// `[numbers, 1]`, if there are numbers.
    weights: Option<DenseId>,
    bias: DenseId,
}

impl LinearPart {
    /// The linear part over the features of `config`.
    pub(in crate::backbone) fn of(
        config: &FieldsConfig,
        encoder: &Encoder,
        recipe: &mut Recipe,
    ) -> Result<LinearPart, ModelError> {
        let FieldsConfig { inputs, history, linear_init, .. } = config;
        LinearPart::build("fields.inputs", inputs.as_deref(), *history, *linear_init, encoder, recipe)
    }

    /// Declares one table `linear.<feature>` of width 1 per feature of ids, so that an id may weigh differently as
    /// the item at hand and as one of the past; `linear.numbers [numbers, 1]` and `linear.bias [1, 1]`. Weights start
    /// as `init` says, the bias at zero.
    pub(in crate::backbone) fn build(
        key: &str,
        inputs: Option<&[String]>,
        history: History,
        init: EmbeddingInit,
        encoder: &Encoder,
        recipe: &mut Recipe,
    ) -> Result<LinearPart, ModelError> {
        let (mut rows, mut numbers) = (Vec::new(), Vec::new());
        for feature in chosen_features(key, inputs, encoder)? {
            match encoder.inputs()[feature] {
                Input::Number => numbers.push(Lookup::Number { feature }),
                Input::Row(vocab) | Input::Bag(vocab) => {
                    let name = format!("linear.{}", encoder.features().features[feature].name);
                    let table = recipe.table(name, vocab, 1, init);
                    rows.push(Lookup::Rows { table, feature, pool: history.pool() });
                }
            }
        }
        let shape = [numbers.len(), 1];
        let weights = (!numbers.is_empty()).then(|| recipe.dense("linear.numbers", shape, DenseInit::of(init, shape)));
        let bias = recipe.dense("linear.bias", [1, 1], DenseInit::Zero);
        rows.iter().chain(&numbers).for_each(|lookup| recipe.look_up(*lookup));
        Ok(LinearPart { rows, numbers, weights, bias })
    }

    /// The weights of ids, `[batch, features]`, and that of numbers with the bias, `[batch, 1]`: their row sum is the
    /// linear part.
    pub(in crate::backbone) fn forward<T: Real>(&self, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> [Var; 2] {
        let rows = view.embed(tape, &self.rows);
        let numbers = view.embed(tape, &self.numbers);
        let weights = match self.weights {
            Some(weights) => view.dense(tape, weights),
            None => tape.constant(0, 1, |_| {}),
        };
        let bias = view.dense(tape, self.bias);
        [rows, tape.linear(numbers, weights, Some(bias), Act::Identity)]
    }
}
