//! What follows a linear map.

use super::{BatchNorm, Recipe};
use crate::{DenseId, DenseInit, ParamView};
use perennial_nn::{Act, Gelu, Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// What follows a hidden layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`.
    #[default]
    Relu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x (1 + erf(x / sqrt 2)) / 2` (Hendrycks and Gimpel, 2016).
    Gelu,
    /// `max(x, 0) + a min(x, 0)` with a learned `a` per unit, 0.1 at first.
    Prelu,
    /// `p x + (1 - p) a x`, `p` the sigmoid of the normalised `x`, with a learned `a` per unit, 0 at first (Zhou et al.,
    /// KDD 2018).
    Dice,
}

/// An activation with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::backbone) enum Activated {
    /// A function of the value alone.
    Plain(Act),
    /// The normal distribution's share of the value; its slope needs the value itself.
    Gelu,
    /// Its slopes.
    Prelu(DenseId),
    /// Its normalisation and slopes.
    Dice(BatchNorm, DenseId),
}

impl Activation {
    /// Declares `<prefix>.slope [1, width]` and statistics, for those that have them.
    pub(in crate::backbone) fn build(self, prefix: &str, width: usize, recipe: &mut Recipe) -> Activated {
        let slope = |first: f32, recipe: &mut Recipe| {
            recipe.dense(format!("{prefix}.slope"), [1, width], DenseInit::Constant(first))
        };
        match self {
            Activation::Relu => Activated::Plain(Act::Relu),
            Activation::Sigmoid => Activated::Plain(Act::Sigmoid),
            Activation::Tanh => Activated::Plain(Act::Tanh),
            Activation::Gelu => Activated::Gelu,
            // As in the public code of CAN.
            Activation::Prelu => Activated::Prelu(slope(0.1, recipe)),
            Activation::Dice => {
                let slope = slope(0.0, recipe);
                Activated::Dice(BatchNorm::build(&format!("{prefix}.dice"), width, false, recipe), slope)
            }
        }
    }
}

impl Activated {
    /// The activation of `x`.
    pub(in crate::backbone) fn forward<T: Real>(
        &self,
        x: Var,
        view: &mut impl ParamView<T>,
        tape: &mut Tape<T>,
    ) -> Var {
        match self {
            Activated::Plain(act) => tape.activate(x, *act),
            Activated::Gelu => tape.gelu(x, Gelu::Erf),
            Activated::Prelu(slope) => {
                let slope = view.dense(tape, *slope);
                tape.prelu(x, slope)
            }
            Activated::Dice(norm, slope) => {
                let normalised = norm.forward(x, view, tape);
                let slope = view.dense(tape, *slope);
                tape.dice(x, normalised, slope)
            }
        }
    }
}
