//! What a backbone declares: its parameters by name, shape, role and initialisation.

use perennial_core::VocabId;
use perennial_core::rng::{Stream, hash_text};
use serde::{Deserialize, Serialize};

/// Position of a dense tensor in [`ModelSpec::dense`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DenseId(pub usize);

/// Position of a table in [`ModelSpec::tables`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableId(pub usize);

/// Position of a running statistic in [`ModelSpec::statistics`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatisticId(pub usize);

/// All parameters of a backbone, in a fixed order. Names are unique and never change: versions are stored by them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelSpec {
    /// Dense tensors.
    pub dense: Vec<DenseSpec>,
    /// Tables with a row per id.
    pub tables: Vec<TableSpec>,
    /// Running statistics: part of a version, never moved by an optimiser, never generated.
    pub statistics: Vec<StatisticSpec>,
}

/// A running statistic of what passes through a layer, `[1, cols]`.
#[derive(Debug, Clone, PartialEq)]
pub struct StatisticSpec {
    /// Name, such as `mlp.0.norm.mean`.
    pub name: String,
    /// Columns.
    pub cols: usize,
    /// Value of each column before anything was seen.
    pub initial: f32,
    /// Share of a batch in the statistic after it.
    pub momentum: f32,
}

/// A dense tensor `[rows, cols]`.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseSpec {
    /// Name, such as `mlp.0.weight`.
    pub name: String,
    /// Rows; a bias has one.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Initial values.
    pub init: DenseInit,
}

/// A table `[ids, dim]` that grows with its vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSpec {
    /// Name, such as `embedding.item`.
    pub name: String,
    /// Whose ids the rows belong to.
    pub vocab: VocabId,
    /// Floats per row.
    pub dim: usize,
    /// Initial values of a row.
    pub init: EmbeddingInit,
    /// So many of a row's last values are zero at first: biases beside a vector.
    pub zeros: usize,
}

/// Initial values of a dense tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DenseInit {
    /// All zero.
    Zero,
    /// Uniform within +-`limit`.
    Uniform {
        /// The limit.
        limit: f32,
    },
    /// Normal with mean zero.
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// One number everywhere.
    Constant(f32),
}

impl DenseInit {
    /// Glorot and Bengio, AISTATS 2010, in its normal form: variance 2 / (fan_in + fan_out).
    pub fn xavier_normal(fan_in: usize, fan_out: usize) -> DenseInit {
        DenseInit::Normal { std: (2.0 / (fan_in + fan_out) as f64).sqrt() as f32 }
    }

    /// What `init` gives to rows, for a dense tensor of the shape of such rows.
    pub fn of(init: EmbeddingInit, [_, cols]: [usize; 2]) -> DenseInit {
        match init {
            EmbeddingInit::Zero => DenseInit::Zero,
            EmbeddingInit::Uniform { limit } => DenseInit::Uniform { limit: limit as f32 },
            EmbeddingInit::Normal { std } => DenseInit::Normal { std: std as f32 },
            EmbeddingInit::GlorotUniform { rows } => DenseInit::glorot_uniform(rows as usize, cols),
            EmbeddingInit::GlorotNormal { rows } => DenseInit::xavier_normal(rows as usize, cols),
        }
    }

    /// Glorot and Bengio, AISTATS 2010: uniform within sqrt(6 / (fan_in + fan_out)).
    pub fn glorot_uniform(fan_in: usize, fan_out: usize) -> DenseInit {
        DenseInit::Uniform { limit: (6.0 / (fan_in + fan_out) as f64).sqrt() as f32 }
    }

    /// `len` initial values of the tensor called `name`.
    pub fn values(self, seed: u64, name: &str, len: usize) -> Vec<f32> {
        let mut stream = Stream::new(&[seed, hash_text("dense"), hash_text(name)]);
        match self {
            DenseInit::Zero => vec![0.0; len],
            DenseInit::Uniform { limit } => (0..len).map(|_| (2.0 * stream.unit_f32() - 1.0) * limit).collect(),
            DenseInit::Constant(value) => vec![value; len],
            DenseInit::Normal { std } => (0..len).map(|_| stream.normal() as f32 * std).collect(),
        }
    }
}

/// Initial values of an embedding row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EmbeddingInit {
    /// All zero.
    Zero,
    /// Uniform within +-limit.
    Uniform {
        /// The limit.
        limit: f64,
    },
    /// Normal with mean zero.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Glorot's uniform for a table of this many rows. The number is explicit because tables grow: were it the
    /// current size, rows born later would start smaller.
    GlorotUniform {
        /// Rows that the table is thought to have.
        rows: u32,
    },
    /// Glorot's normal for a table of this many rows.
    GlorotNormal {
        /// Rows that the table is thought to have.
        rows: u32,
    },
}

/// Larger first values cannot be meant: they leave no room for what is learned.
const LARGEST_FIRST: f64 = 1e6;

impl EmbeddingInit {
    /// Refuses what draws no numbers, or none that can be trained.
    pub(crate) fn check(self) -> Result<(), &'static str> {
        let fine = |spread: f64| (0.0..=LARGEST_FIRST).contains(&spread);
        match self {
            EmbeddingInit::Uniform { limit } if !fine(limit) => Err("the limit lies between 0 and a million"),
            EmbeddingInit::Normal { std } if !fine(std) => Err("the standard deviation lies between 0 and a million"),
            EmbeddingInit::GlorotUniform { rows: 0 } | EmbeddingInit::GlorotNormal { rows: 0 } => {
                Err("a table is thought to have at least one row")
            }
            _ => Ok(()),
        }
    }
}

impl Default for EmbeddingInit {
    /// Small enough that an unseen id says little, large enough to break symmetry at once: Glorot's limit for a
    /// table of some thousands of rows.
    fn default() -> Self {
        EmbeddingInit::Uniform { limit: 0.05 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_values_that_cannot_be_meant_are_refused() {
        let bad = [
            EmbeddingInit::Uniform { limit: 1e300 },
            EmbeddingInit::Uniform { limit: -0.1 },
            EmbeddingInit::Normal { std: f64::NAN },
            EmbeddingInit::GlorotNormal { rows: 0 },
        ];
        assert!(bad.iter().all(|init| init.check().is_err()));
        let good = [EmbeddingInit::Zero, EmbeddingInit::default(), EmbeddingInit::GlorotUniform { rows: 1 }];
        assert!(good.iter().all(|init| init.check().is_ok()));
    }
}
