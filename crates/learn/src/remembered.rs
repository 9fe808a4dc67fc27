//! What a strategy remembers weighs, before it is run.

use crate::strategy::StrategyConfig;
use crate::{LearnError, Learned};
use perennial_model::{Dense, Params};
use std::iter::Sum;
use std::ops::Add;

/// Bytes beside the base model, at most, but for reservoirs, which hold examples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remembered {
    /// What a version adds to those before it, generated parameters included.
    pub stored: u64,
    /// What an update holds in memory.
    pub held: u64,
}

impl StrategyConfig {
    /// What the strategy remembers of models of the size of `learned`, when it has made so many updates. Costs what making a
    /// generator costs.
    pub fn remembered(&self, learned: &Learned, updates: usize) -> Result<Remembered, LearnError> {
        match self {
            StrategyConfig::AsmgGru(asmg) => Ok(asmg.remembered(learned, updates)),
            StrategyConfig::AsmgLinear(asmg) => Ok(asmg.remembered(learned, updates)),
            StrategyConfig::Sml(sml) => sml.remembered(learned),
            StrategyConfig::Mixture(mixture) => {
                mixture.experts.iter().map(|expert| expert.remembered(learned, updates)).sum()
            }
            StrategyConfig::Frozen
            | StrategyConfig::Incremental
            | StrategyConfig::Batch(_)
            | StrategyConfig::Retrain(_)
            | StrategyConfig::IncCtr(_)
            | StrategyConfig::Spmf(_) => Ok(Remembered::default()),
        }
    }
}

impl Remembered {
    /// A generator of so many bytes, and models without slots: what is generated, and `past` that were read.
    pub(crate) fn generator(bytes: u64, params: &Params, past: usize) -> Remembered {
        let values = params.value_bytes() as u64;
        Remembered { stored: bytes + 2 * values, held: bytes + (past as u64 + 1) * values }
    }
}

/// Bytes of trained tensors and their slots.
pub(crate) fn bytes_of(tensors: &[Dense]) -> u64 {
    tensors.iter().map(|dense| 4 * (dense.values.len() * (1 + dense.slots.len())) as u64).sum()
}

impl Add for Remembered {
    type Output = Remembered;

    fn add(self, other: Remembered) -> Remembered {
        Remembered { stored: self.stored + other.stored, held: self.held + other.held }
    }
}

impl Sum for Remembered {
    fn sum<I: Iterator<Item = Remembered>>(each: I) -> Remembered {
        each.fold(Remembered::default(), Add::add)
    }
}
