//! Transfer networks: parameters made out of those of two versions (SML; Zhang et al., SIGIR 2020, section 4.2).
//!
//! A row `p` of the previous version meets the same row `q` of the one that was trained since; what comes out is served. Rows
//! of a table share one network; a dense tensor has its own, which takes it for one long row, as in ASMG's comparison
//! (Peng et al., RecSys 2021), or row by row. The network itself is described in [`Network`].
//!
//! Departure: by default the networks begin as the identity of `q`; the papers' begin as a random map ([`Output::Plain`]).

mod make;
mod network;

pub use network::{Network, Wanted, Widths};

use crate::generator::Output;
use crate::{Dense, DenseInit, DenseSpec, ModelError, ModelSpec, Params};
use network::TENSORS;
use perennial_nn::optim::Optimiser;
use perennial_nn::{Gelu, Tape, Var};
use serde::{Deserialize, Serialize};

/// What transfer networks are. The widths are those of ASMG's comparison on Tmall and MovieLens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransferConfig {
    /// Widths of the networks of tables.
    pub tables: Widths,
    /// Widths of the networks of dense tensors.
    pub dense: Widths,
    /// What is a row of a dense tensor with several rows and columns.
    pub matrices: Matrices,
    /// The curve between layers.
    pub gelu: Gelu,
    /// Whether no gradient reaches the updated version through the product, as in SML's code.
    pub detach_product: bool,
    /// How the network's output becomes a parameter.
    pub output: Output,
}

/// What is a row of a dense tensor with several rows and columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matrices {
    /// The whole tensor: every weight may look at every other. The network of a large tensor is many times as large.
    #[default]
    Whole,
    /// Each row: what one input is worth to all units of a layer. They share a network.
    Rows,
}

impl Default for TransferConfig {
    fn default() -> Self {
        TransferConfig {
            tables: Widths { first: 10, second: 5, hidden: Some(20) },
            dense: Widths { first: 5, second: 3, hidden: None },
            matrices: Matrices::Whole,
            gelu: Gelu::Erf,
            detach_product: false,
            output: Output::Residual,
        }
    }
}

impl TransferConfig {
    /// Refuses what cannot be.
    pub fn check(&self) -> Result<(), ModelError> {
        self.tables.check("tables").and(self.dense.check("dense"))
    }

    /// A dense tensor's rows, their width, and the units of its hidden layer if none are given: twice the inputs of the
    /// layer that the tensor belongs to, or twice a vector's length.
    fn of_dense(&self, spec: &DenseSpec) -> (usize, usize, usize) {
        let vector = spec.rows == 1 || spec.cols == 1;
        let len = spec.rows * spec.cols;
        match self.matrices {
            _ if vector => (1, len, 2 * len),
            Matrices::Whole => (1, len, 2 * spec.rows),
            Matrices::Rows => (spec.rows, spec.cols, 2 * spec.cols),
        }
    }
}

/// One transfer network for each tensor and table of a backbone: a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    config: TransferConfig,
    parts: Vec<Part>,
    /// The tensors of every part's network, part after part, with the slots of their optimiser.
    pub weights: Vec<Dense>,
}

/// A dense tensor or a table. Dense tensors come first, in the order of the spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Name of the tensor.
    pub name: String,
    /// Rows of a dense tensor; `None` for a table.
    pub rows: Option<usize>,
    /// Its network.
    pub network: Network,
}

/// Most numbers that a network may hold: 256 MiB, and as much again for each slot of the optimiser.
const LARGEST: usize = 1 << 26;

impl Transfer {
    /// Networks that were not trained. Weights start uniform by Glorot's formula, biases too, a filter's height counting as
    /// its receptive field; with a residual output the last layer starts at zero. A network that would be too large is an
    /// error.
    pub fn new(
        config: &TransferConfig,
        spec: &ModelSpec,
        optimiser: &Optimiser,
        seed: u64,
    ) -> Result<Transfer, ModelError> {
        let parts = parts(config, spec)?;
        let mut weights = Vec::new();
        for part in &parts {
            for tensor in part.network.tensors() {
                let init = match tensor.last && config.output == Output::Residual {
                    true => DenseInit::Zero,
                    false => DenseInit::glorot_uniform(tensor.fans.0, tensor.fans.1),
                };
                let (name, len) = (part.tensor_name(tensor.name), tensor.rows * tensor.cols);
                let values = init.values(seed, &name, len);
                let slots = optimiser.rule.slots().iter().map(|slot| vec![slot.initial; len]).collect();
                weights.push(Dense { name, rows: tensor.rows, cols: tensor.cols, values, slots });
            }
        }
        Ok(Transfer { config: config.clone(), parts, weights })
    }

    /// Networks with these weights, or why they are not their own.
    pub fn with_weights(
        config: &TransferConfig,
        spec: &ModelSpec,
        weights: Vec<Dense>,
    ) -> Result<Transfer, ModelError> {
        let parts = parts(config, spec)?;
        let expected = parts.iter().flat_map(|part| {
            part.network.tensors().map(|tensor| (part.tensor_name(tensor.name), tensor.rows, tensor.cols))
        });
        let found = weights.iter().map(|dense| (dense.name.clone(), dense.rows, dense.cols));
        match expected.eq(found) {
            true => Ok(Transfer { config: config.clone(), parts, weights }),
            false => Err(ModelError::Corrupt {
                part: "the transfer".into(),
                problem: "its weights are not those of this model's parameters".into(),
            }),
        }
    }

    /// The same networks without the slots of an optimiser.
    pub fn values_only(&self) -> Transfer {
        let mut values = self.clone();
        values.weights.iter_mut().for_each(|dense| dense.slots = Vec::new());
        values
    }

    /// What they are.
    pub fn config(&self) -> &TransferConfig {
        &self.config
    }

    /// Dense tensors, then tables.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Positions of a part's tensors in [`Transfer::weights`].
    pub fn tensors(&self, part: usize) -> std::ops::Range<usize> {
        part * TENSORS..(part + 1) * TENSORS
    }

    /// Appends a row of a part.
    pub fn read(&self, params: &Params, part: usize, row: usize, out: &mut Vec<f32>) {
        let width = self.parts[part].network.width;
        out.extend_from_slice(match part.checked_sub(params.dense.len()) {
            None => &params.dense[part].values[row * width..][..width],
            Some(table) => params.tables[table].row(row as u32),
        });
    }

    /// Makes rows of a part, each of `previous` and `updated` being `[rows, width]`.
    pub fn forward(
        &self,
        tape: &mut Tape<f32>,
        part: usize,
        (previous, updated): (&[f32], &[f32]),
        wanted: Wanted,
    ) -> Made {
        let network = self.parts[part].network;
        let weights = std::array::from_fn(|nth| {
            let Dense { rows, cols, values, .. } = &self.weights[part * TENSORS + nth];
            match wanted {
                Wanted::Transfer => tape.leaf_of(*rows, *cols, values),
                Wanted::Updated | Wanted::Nothing => tape.constant_of(*rows, *cols, values),
            }
        });
        let rows = updated.len() / network.width;
        let updated = match wanted {
            Wanted::Updated => tape.leaf_of(rows, network.width, updated),
            Wanted::Transfer | Wanted::Nothing => tape.constant_of(rows, network.width, updated),
        };
        Made { y: network.forward(&self.config, tape, weights, previous, updated), weights, updated }
    }
}

/// Where on a tape to find what was made, and what it was made of.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// `[rows, width]`.
    pub y: Var,
    /// The network's tensors.
    pub weights: [Var; TENSORS],
    /// Rows of the updated version, `[rows, width]`.
    pub updated: Var,
}

impl Part {
    fn tensor_name(&self, tensor: &str) -> String {
        format!("transfer.{}.{tensor}", self.name)
    }
}

fn parts(config: &TransferConfig, spec: &ModelSpec) -> Result<Vec<Part>, ModelError> {
    let dense = spec.dense.iter().map(|dense| {
        let (rows, width, units) = config.of_dense(dense);
        Part { name: dense.name.clone(), rows: Some(rows), network: Network::new(config.dense, width, units) }
    });
    let tables = spec.tables.iter().map(|table| {
        let network = Network::new(config.tables, table.dim, 2 * table.dim);
        Part { name: table.name.clone(), rows: None, network }
    });
    let parts: Vec<Part> = dense.chain(tables).collect();
    match parts.iter().find(|part| part.network.size() > LARGEST) {
        None => Ok(parts),
        Some(part) => Err(ModelError::Config {
            key: "transfer.matrices".into(),
            problem: format!(
                "the network of {} would hold {} numbers; try `matrices = \"rows\"`, or fewer units",
                part.name,
                part.network.size()
            ),
        }),
    }
}

#[cfg(test)]
mod tests;
