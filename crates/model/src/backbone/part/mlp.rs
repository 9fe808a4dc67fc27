//! A tower of fully connected layers.

use super::{Recipe, check_width};
use crate::view::Tap;
use crate::{DenseId, DenseInit, ModelError, ParamView};
use perennial_nn::{Act, Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of a tower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// Widths of the hidden layers; may be empty. 400, 400 and 400 in the public benchmark.
    pub hidden: Vec<usize>,
    /// What follows each hidden layer.
    pub activation: Activation,
    /// Initial values of weights and biases.
    pub init: LayerInit,
}

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
}

/// Initial values of layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerInit {
    /// Weights normal with variance `2 / (in + out)`, biases zero: FuxiCTR's.
    #[default]
    XavierNormal,
    /// Weights uniform within `sqrt(6 / (in + out))`, biases zero.
    GlorotUniform,
    /// The same, and biases uniform within `sqrt(3 / out)`: ASMG's.
    GlorotUniformAll,
}

impl Default for MlpConfig {
    fn default() -> Self {
        MlpConfig { hidden: vec![400, 400, 400], activation: Activation::Relu, init: LayerInit::XavierNormal }
    }
}

impl LayerInit {
    /// Initial values of the weights of a layer.
    pub(in crate::backbone) fn weights(self, fan_in: usize, fan_out: usize) -> DenseInit {
        match self {
            LayerInit::XavierNormal => DenseInit::xavier_normal(fan_in, fan_out),
            LayerInit::GlorotUniform | LayerInit::GlorotUniformAll => DenseInit::glorot_uniform(fan_in, fan_out),
        }
    }

    /// Initial values of the bias of a layer.
    pub(in crate::backbone) fn bias(self, fan_out: usize) -> DenseInit {
        match self {
            LayerInit::XavierNormal | LayerInit::GlorotUniform => DenseInit::Zero,
            // Glorot's formula on a vector takes its length for both fans.
            LayerInit::GlorotUniformAll => DenseInit::glorot_uniform(fan_out, fan_out),
        }
    }
}

/// `h_m = act(h_{m-1} W_m + b_m)`, then, if wanted, one output unit without activation.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::backbone) struct Mlp {
    hidden: Vec<Layer>,
    output: Option<Layer>,
    activation: Activation,
    /// Width of the last hidden layer, or of the input if there is none.
    width: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Layer {
    weight: DenseId,
    bias: DenseId,
}

impl Mlp {
    /// A tower on `inputs` columns with an output unit. Declares `<prefix>.<layer>.weight [in, out]` and
    /// `<prefix>.<layer>.bias [1, out]`, the output unit last.
    pub(in crate::backbone) fn build(
        prefix: &str,
        inputs: usize,
        config: &MlpConfig,
        recipe: &mut Recipe,
    ) -> Result<Mlp, ModelError> {
        let mut mlp = Mlp::hidden_layers(prefix, inputs, config, recipe)?;
        mlp.output = Some(layer(prefix, mlp.hidden.len(), [mlp.width, 1], config.init, recipe));
        Ok(mlp)
    }

    /// The same without an output unit.
    pub(in crate::backbone) fn hidden_layers(
        prefix: &str,
        inputs: usize,
        config: &MlpConfig,
        recipe: &mut Recipe,
    ) -> Result<Mlp, ModelError> {
        let mut mlp = Mlp { hidden: Vec::new(), output: None, activation: config.activation, width: inputs };
        for (at, &width) in config.hidden.iter().enumerate() {
            check_width(&format!("{prefix}.hidden"), width, 65_536)?;
            mlp.hidden.push(layer(prefix, at, [mlp.width, width], config.init, recipe));
            mlp.width = width;
        }
        Ok(mlp)
    }

    /// Columns of the last hidden layer.
    pub(in crate::backbone) fn width(&self) -> usize {
        self.width
    }

    /// `[batch, 1]` with an output unit, else `[batch, width]`.
    pub(in crate::backbone) fn forward<T: Real>(
        &self,
        mut x: Var,
        view: &mut impl ParamView<T>,
        tape: &mut Tape<T>,
    ) -> Var {
        for (at, layer) in self.hidden.iter().enumerate() {
            x = layer.forward(x, self.activation.act(), view, tape);
            x = view.tap(tape, Tap::Hidden(at), x);
        }
        match &self.output {
            None => x,
            Some(output) => {
                let x = view.tap(tape, Tap::LastHidden, x);
                output.forward(x, Act::Identity, view, tape)
            }
        }
    }
}

fn layer(prefix: &str, at: usize, shape: [usize; 2], init: LayerInit, recipe: &mut Recipe) -> Layer {
    let [fan_in, fan_out] = shape;
    Layer {
        weight: recipe.dense(format!("{prefix}.{at}.weight"), shape, init.weights(fan_in, fan_out)),
        bias: recipe.dense(format!("{prefix}.{at}.bias"), [1, fan_out], init.bias(fan_out)),
    }
}

impl Layer {
    fn forward<T: Real>(&self, x: Var, act: Act, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        let (weight, bias) = (view.dense(tape, self.weight), view.dense(tape, self.bias));
        tape.linear(x, weight, Some(bias), act)
    }
}

impl Activation {
    fn act(self) -> Act {
        match self {
            Activation::Relu => Act::Relu,
            Activation::Sigmoid => Act::Sigmoid,
            Activation::Tanh => Act::Tanh,
        }
    }
}
