//! A tower of fully connected layers.

use super::{Activated, Activation, BatchNorm, Recipe, check_width};
use crate::view::Tap;
use crate::{DenseId, DenseInit, ModelError, ParamView};
use perennial_core::rng::{hash_parts, hash_text};
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
    /// Whether each hidden layer is normalised before its activation. Off, since a stream that drifts leaves running
    /// statistics behind.
    pub batch_norm: bool,
    /// Share of each hidden layer that is dropped in training, in `[0, 1)`. None: one pass over a stream overfits less
    /// than the many passes that the benchmark tuned it for.
    pub dropout: f32,
    /// Initial values of weights and biases.
    pub init: LayerInit,
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
        MlpConfig {
            hidden: vec![400, 400, 400],
            activation: Activation::Relu,
            batch_norm: false,
            dropout: 0.0,
            init: LayerInit::XavierNormal,
        }
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

/// `h_m = drop(act(norm(h_{m-1} W_m + b_m)))`, then, if wanted, one output unit without activation.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::backbone) struct Mlp {
    hidden: Vec<Hidden>,
    output: Option<Layer>,
    dropout: f32,
    watched: bool,
    /// Width of the last hidden layer, or of the input if there is none.
    width: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Layer {
    weight: DenseId,
    bias: DenseId,
}

#[derive(Debug, Clone, PartialEq)]
struct Hidden {
    layer: Layer,
    norm: Option<BatchNorm>,
    activated: Activated,
    /// Sets the layer's random choices apart from those of others.
    name: u64,
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
        if !(0.0..1.0).contains(&config.dropout) {
            let problem = format!("a share in [0, 1) is possible, got {}", config.dropout);
            return Err(ModelError::Config { key: format!("{prefix}.dropout"), problem });
        }
        let mut mlp = Mlp { hidden: Vec::new(), output: None, dropout: config.dropout, watched: true, width: inputs };
        for (at, &width) in config.hidden.iter().enumerate() {
            check_width(&format!("{prefix}.hidden"), width, 65_536)?;
            let name = format!("{prefix}.{at}");
            mlp.hidden.push(Hidden {
                layer: layer(prefix, at, [mlp.width, width], config.init, recipe),
                norm: config.batch_norm.then(|| BatchNorm::build(&format!("{name}.norm"), width, true, recipe)),
                activated: config.activation.build(&name, width, recipe),
                name: hash_text(&name),
            });
            mlp.width = width;
        }
        Ok(mlp)
    }

    /// The same without taps: a tower that is not the model's main one.
    pub(in crate::backbone) fn unwatched(self) -> Mlp {
        Mlp { watched: false, ..self }
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
            x = layer.forward(x, self.dropout, view, tape);
            if self.watched {
                x = view.tap(tape, Tap::Hidden(at), x);
            }
        }
        match &self.output {
            None => x,
            Some(output) => {
                if self.watched {
                    x = view.tap(tape, Tap::LastHidden, x);
                }
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

impl Hidden {
    fn forward<T: Real>(&self, x: Var, dropout: f32, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        let x = match (&self.norm, &self.activated) {
            (None, Activated::Plain(act)) => self.layer.forward(x, *act, view, tape),
            (norm, activated) => {
                let mut x = self.layer.forward(x, Act::Identity, view, tape);
                if let Some(norm) = norm {
                    x = norm.forward(x, view, tape);
                }
                activated.forward(x, view, tape)
            }
        };
        match view.noise() {
            Some(noise) if dropout > 0.0 => tape.dropout(x, dropout, hash_parts(&[noise.key, self.name]), noise.rows),
            _ => x,
        }
    }
}
