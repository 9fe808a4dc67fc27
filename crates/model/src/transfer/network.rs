//! The network that makes a row out of two.

use super::TransferConfig;
use crate::ModelError;
use crate::generator::Output;
use perennial_nn::{Act, Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Widths of a network's layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Widths {
    /// Filters over the two rows and their product.
    pub first: usize,
    /// Mixtures of what those give.
    pub second: usize,
    /// Units of the hidden layer, which sees all positions of a row. If absent twice the inputs of the layer that the
    /// tensor belongs to; for vectors and tables twice the width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<usize>,
}

impl Widths {
    pub(super) fn check(&self, key: &str) -> Result<(), ModelError> {
        let possible = |width: usize, most: usize| (1..=most).contains(&width);
        match possible(self.first, 256) && possible(self.second, 256) && possible(self.hidden.unwrap_or(1), 65_536) {
            true => Ok(()),
            false => Err(ModelError::Config {
                key: key.into(),
                problem: "from 1 to 256 filters and mixtures, and 1 to 65,536 hidden units are possible".into(),
            }),
        }
    }
}

/// For a row `p` of the previous version and `q` of the updated one, both of `width` H:
///
/// ```text
/// s = p * q / (|p| + 1e-15)
/// c = gelu(gelu([p q s] filters) mix)            [H, 3] -> [H, first] -> [H, second]
/// y = gelu(flat(c) hidden + hidden_bias) out + out_bias     [H * second] -> [hidden] -> [H]
/// ```
///
/// `|p|` is the length of the whole row; a row of zeros gives a product of zeros. The published code flattens by mixture,
/// then position, and this by position, then mixture: the rows of `hidden` are in another order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Numbers of a row.
    pub width: usize,
    first: usize,
    second: usize,
    hidden: usize,
}

/// Tensors of a network.
pub(super) const TENSORS: usize = 6;

/// What a network's rows are compared in: those of both versions, and their product.
const CHANNELS: usize = 3;

/// Keeps the product of a row of zeros finite. From SML's code.
const TINY: f64 = 1e-15;

/// Of what a gradient is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: values are made to be served.
    Nothing,
    /// The networks.
    Transfer,
    /// The updated version.
    Updated,
}

/// A tensor of a network.
pub(super) struct Tensor {
    pub(super) name: &'static str,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Inputs and outputs, by which it is initialised.
    pub(super) fans: (usize, usize),
    /// Whether it belongs to the last layer.
    pub(super) last: bool,
}

impl Network {
    pub(super) fn new(widths: Widths, width: usize, units: usize) -> Network {
        Network { width, first: widths.first, second: widths.second, hidden: widths.hidden.unwrap_or(units) }
    }

    /// In their order. Vectors count their length for both fans, and convolutions their height.
    pub(super) fn tensors(&self) -> [Tensor; TENSORS] {
        let Network { width, first, second, hidden } = *self;
        let tensor = |name, rows, cols, fans, last| Tensor { name, rows, cols, fans, last };
        [
            tensor("filters", CHANNELS, first, (CHANNELS, CHANNELS * first), false),
            tensor("mix", first, second, (first, first * second), false),
            tensor("hidden", width * second, hidden, (width * second, hidden), false),
            tensor("hidden_bias", 1, hidden, (hidden, hidden), false),
            tensor("out", hidden, width, (hidden, width), true),
            tensor("out_bias", 1, width, (width, width), true),
        ]
    }

    /// Number of weights.
    pub(super) fn size(&self) -> usize {
        self.tensors().iter().map(|tensor| tensor.rows * tensor.cols).sum()
    }

    /// `[rows, width]` out of `previous`, of the same shape and without a gradient, and `updated`.
    pub(super) fn forward<T: Real>(
        &self,
        config: &TransferConfig,
        tape: &mut Tape<T>,
        [filters, mix, hidden, hidden_bias, out, out_bias]: [Var; TENSORS],
        previous: &[T],
        updated: Var,
    ) -> Var {
        let (rows, width) = tape.shape(updated);
        let x = self.channels(config, tape, previous, updated);
        let filtered = tape.linear(x, filters, None, Act::Identity);
        let filtered = tape.gelu(filtered, config.gelu);
        let mixed = tape.linear(filtered, mix, None, Act::Identity);
        let mixed = tape.gelu(mixed, config.gelu);
        let flat = tape.reshape(mixed, rows, width * self.second);
        let seen = tape.linear(flat, hidden, Some(hidden_bias), Act::Identity);
        let seen = tape.gelu(seen, config.gelu);
        let y = tape.linear(seen, out, Some(out_bias), Act::Identity);
        match config.output {
            Output::Plain => y,
            Output::Residual => {
                let one = tape.constant(rows, width, |one| one.fill(T::ONE));
                tape.multiply_add(one, updated, Some(y))
            }
        }
    }

    /// `[p q s]`, `[rows * width, 3]`.
    pub(super) fn channels<T: Real>(
        &self,
        config: &TransferConfig,
        tape: &mut Tape<T>,
        previous: &[T],
        updated: Var,
    ) -> Var {
        let (rows, width) = tape.shape(updated);
        let unit = tape.constant(rows, width, |unit| directions(previous, width, unit));
        let factor = if config.detach_product { tape.detach(updated) } else { updated };
        let product = tape.multiply_add(unit, factor, None);
        let long = rows * width;
        let (p, q) = (tape.constant_of(long, 1, previous), tape.reshape(updated, long, 1));
        let s = tape.reshape(product, long, 1);
        tape.concat(&[p, q, s])
    }
}

/// Each row over its length.
fn directions<T: Real>(rows: &[T], width: usize, out: &mut [T]) {
    for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mut squares = T::ZERO;
        row.iter().for_each(|&x| squares += x * x);
        let length = squares.sqrt() + T::from_f64(TINY);
        out.iter_mut().zip(row).for_each(|(out, &x)| *out = x / length);
    }
}
