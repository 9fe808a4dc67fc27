//! The update strategies, one file each.
//!
//! Adding one = one file here, one variant, and one line in each match below.

pub mod asmg_gru;
pub mod asmg_linear;
mod batch;
mod frozen;
mod incctr;
mod incremental;
pub mod mixture;
mod retrain;
pub mod sml;
pub mod spmf;

pub use asmg_gru::AsmgGru;
pub use asmg_linear::AsmgLinear;
pub use batch::{Batch, BatchInit};
pub use incctr::IncCtr;
pub use mixture::Mixture;
pub use retrain::Retrain;
pub use sml::Sml;
pub use spmf::{Sampling, Spmf};

use crate::previous::rescored;
use crate::{Env, LearnError, Learned, Memory, Pieces, PreviousScores, Trained};
use perennial_core::Encoded;
use perennial_model::{Generated, ModelSpec};
use perennial_stream::SeenPeriod;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// Which strategy, and its options. Written as a name where no option must be given (`"retrain"`), else as a table
/// (`{ batch = { window = 3 } }`).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StrategyConfig {
    /// Never updated after pre-training: what staleness costs.
    Frozen,
    /// Warm start from the previous version, newest period only (IU).
    Incremental,
    /// Warm start, the last periods together (BU-w).
    Batch(Batch),
    /// From scratch on everything seen so far.
    Retrain(Retrain),
    /// Parameters generated from those of the last versions by a recurrent network (ASMG-GRU).
    AsmgGru(AsmgGru),
    /// Weighted sums of the last versions' parameters (ASMG-Linear).
    AsmgLinear(AsmgLinear),
    /// Warm start, with distillation from the previous version (IncCTR).
    #[serde(rename = "incctr")]
    IncCtr(IncCtr),
    /// Warm start, with replay from a reservoir (SPMF).
    Spmf(Spmf),
    /// The incremental update and what ASMG makes of it, averaged under online weights.
    Mixture(Mixture),
    /// Parameters that learned networks make of the previous version and the updated one (SML).
    Sml(Sml),
}

/// The strategies that have options.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WithOptions {
    Batch(Batch),
    Retrain(Retrain),
    AsmgGru(AsmgGru),
    AsmgLinear(AsmgLinear),
    #[serde(rename = "incctr")]
    IncCtr(IncCtr),
    Spmf(Spmf),
    Mixture(Mixture),
    Sml(Sml),
}

impl<'de> Deserialize<'de> for StrategyConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTable)
    }
}

/// All strategies, as they are written.
const NAMES: [&str; 10] =
    ["frozen", "incremental", "batch", "retrain", "asmg_gru", "asmg_linear", "incctr", "spmf", "mixture", "sml"];

struct NameOrTable;

impl<'de> Visitor<'de> for NameOrTable {
    type Value = StrategyConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a strategy: \"frozen\", \"incremental\", \"retrain\", \"asmg_gru\" or { batch = { window = 3 } }")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<StrategyConfig, E> {
        match name {
            "frozen" => Ok(StrategyConfig::Frozen),
            "incremental" => Ok(StrategyConfig::Incremental),
            "retrain" => Ok(StrategyConfig::Retrain(Retrain::default())),
            "asmg_gru" => Ok(StrategyConfig::AsmgGru(AsmgGru::default())),
            "asmg_linear" => Ok(StrategyConfig::AsmgLinear(AsmgLinear::default())),
            "incctr" => Ok(StrategyConfig::IncCtr(IncCtr::default())),
            "spmf" => Ok(StrategyConfig::Spmf(Spmf::default())),
            "mixture" => Ok(StrategyConfig::Mixture(Mixture::default())),
            "sml" => Ok(StrategyConfig::Sml(Sml::default())),
            "batch" => Err(E::custom("the strategy \"batch\" needs a window: { batch = { window = 3 } }")),
            _ => Err(E::unknown_variant(name, &NAMES)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StrategyConfig, A::Error> {
        Ok(match WithOptions::deserialize(MapAccessDeserializer::new(map))? {
            WithOptions::Batch(batch) => StrategyConfig::Batch(batch),
            WithOptions::Retrain(retrain) => StrategyConfig::Retrain(retrain),
            WithOptions::AsmgGru(asmg) => StrategyConfig::AsmgGru(asmg),
            WithOptions::AsmgLinear(asmg) => StrategyConfig::AsmgLinear(asmg),
            WithOptions::IncCtr(incctr) => StrategyConfig::IncCtr(incctr),
            WithOptions::Spmf(spmf) => StrategyConfig::Spmf(spmf),
            WithOptions::Mixture(mixture) => StrategyConfig::Mixture(mixture),
            WithOptions::Sml(sml) => StrategyConfig::Sml(sml),
        })
    }
}

impl StrategyConfig {
    /// The next version, made of the previous one and a period whose labels are known.
    pub fn update(&self, learned: Learned, seen: &SeenPeriod, env: &Env<'_>) -> Result<(Learned, Trained), LearnError> {
        if env.training.objective.needs_previous() && env.training.previous == PreviousScores::Recomputed {
            let served = learned.clone();
            return rescored(&served, seen, env, |seen, env| self.update_with(learned, seen, env));
        }
        self.update_with(learned, seen, env)
    }

    fn update_with(
        &self,
        learned: Learned,
        seen: &SeenPeriod,
        env: &Env<'_>,
    ) -> Result<(Learned, Trained), LearnError> {
        match self {
            StrategyConfig::Frozen => frozen::update(learned),
            StrategyConfig::Incremental => incremental::update(learned, seen, env),
            StrategyConfig::Batch(batch) => batch.update(learned, seen, env),
            StrategyConfig::Retrain(retrain) => retrain.update(seen, env),
            StrategyConfig::AsmgGru(asmg) => asmg.update(learned, seen, env),
            StrategyConfig::AsmgLinear(asmg) => asmg.update(learned, seen, env),
            StrategyConfig::IncCtr(incctr) => incctr.update(learned, seen, env),
            StrategyConfig::Spmf(spmf) => spmf.update(learned, seen, env),
            StrategyConfig::Mixture(mixture) => mixture.update(learned, seen, env),
            StrategyConfig::Sml(sml) => sml.update(learned, seen, env),
        }
    }

    /// Refuses options that cannot work.
    pub fn check(&self) -> Result<(), LearnError> {
        match self {
            StrategyConfig::Frozen | StrategyConfig::Incremental => Ok(()),
            StrategyConfig::Batch(batch) => batch.check(),
            StrategyConfig::Retrain(retrain) => retrain.check(),
            StrategyConfig::AsmgGru(asmg) => asmg.check(),
            StrategyConfig::AsmgLinear(asmg) => asmg.check(),
            StrategyConfig::IncCtr(incctr) => incctr.check(),
            StrategyConfig::Spmf(spmf) => spmf.check(),
            StrategyConfig::Mixture(mixture) => mixture.check(),
            StrategyConfig::Sml(sml) => sml.check(),
        }
    }

    /// How many earlier periods an update asks the archive for.
    pub fn reach(&self) -> usize {
        match self {
            StrategyConfig::Frozen | StrategyConfig::Incremental | StrategyConfig::AsmgLinear(_) => 0,
            StrategyConfig::IncCtr(_) | StrategyConfig::Spmf(_) => 0,
            StrategyConfig::Batch(batch) => batch.window as usize - 1,
            StrategyConfig::Retrain(_) => usize::MAX,
            StrategyConfig::AsmgGru(asmg) => asmg.reach(),
            StrategyConfig::Mixture(mixture) => mixture.reach(),
            StrategyConfig::Sml(sml) => sml.reach(),
        }
    }

    /// Earlier periods whose examples the base model is trained on together with the newest.
    pub fn window(&self) -> usize {
        match self {
            StrategyConfig::Batch(_) | StrategyConfig::Retrain(_) => self.reach(),
            StrategyConfig::Frozen
            | StrategyConfig::Incremental
            | StrategyConfig::IncCtr(_)
            | StrategyConfig::Spmf(_)
            | StrategyConfig::AsmgGru(_)
            | StrategyConfig::AsmgLinear(_)
            | StrategyConfig::Mixture(_)
            | StrategyConfig::Sml(_) => 0,
        }
    }

    /// Passes over whole periods that the `nth` update (from 0) makes to train generators, or the base model through them,
    /// with `epochs` passes of the base model over a period: for each pass, how many periods before the newest.
    pub fn generator_passes(&self, nth: usize, epochs: u32) -> Vec<usize> {
        match self {
            StrategyConfig::AsmgGru(asmg) => asmg.generator_passes(nth),
            StrategyConfig::AsmgLinear(asmg) => asmg.generator_passes(nth),
            StrategyConfig::Sml(sml) => sml.generator_passes(nth, epochs),
            StrategyConfig::Mixture(mixture) => {
                mixture.experts.iter().flat_map(|expert| expert.generator_passes(nth, epochs)).collect()
            }
            StrategyConfig::Frozen
            | StrategyConfig::Incremental
            | StrategyConfig::Batch(_)
            | StrategyConfig::Retrain(_)
            | StrategyConfig::IncCtr(_)
            | StrategyConfig::Spmf(_) => Vec::new(),
        }
    }

    /// Whether the base model that it trains is that of the plain incremental update, bit for bit, whatever is served in
    /// its place. A gate trains that model itself where it is not.
    pub fn carries_base(&self) -> bool {
        match self {
            StrategyConfig::Incremental
            | StrategyConfig::AsmgGru(_)
            | StrategyConfig::AsmgLinear(_)
            | StrategyConfig::Mixture(_) => true,
            StrategyConfig::Frozen
            | StrategyConfig::Batch(_)
            | StrategyConfig::Retrain(_)
            | StrategyConfig::IncCtr(_)
            | StrategyConfig::Spmf(_)
            | StrategyConfig::Sml(_) => false,
        }
    }

    /// Whether [`follow`](StrategyConfig::follow) knows what to do.
    fn can_follow(&self) -> bool {
        matches!(self, StrategyConfig::Incremental | StrategyConfig::AsmgGru(_) | StrategyConfig::AsmgLinear(_))
    }

    /// What a strategy makes of a base model that was just trained on `newest`; `None` for the base model itself.
    fn follow(
        &self,
        memory: Memory,
        learned: &Learned,
        newest: &Encoded,
        period: u32,
        env: &Env<'_>,
        trained: &mut Trained,
    ) -> Result<(Memory, Option<Generated>), LearnError> {
        match self {
            StrategyConfig::Incremental => Ok((memory, None)),
            StrategyConfig::AsmgGru(asmg) => asmg.follow(memory, learned, newest, period, env, trained),
            StrategyConfig::AsmgLinear(asmg) => asmg.follow(memory, learned, newest, period, env, trained),
            _ => unreachable!("a checked mixture has experts that can follow"),
        }
    }

    /// What [`Memory::pieces`] stored of a version of this strategy; `spec` is that of its backbone.
    pub fn restore(&self, pieces: Pieces, spec: &ModelSpec) -> Result<Memory, LearnError> {
        match self {
            _ if pieces.is_empty() => Ok(Memory::Nothing),
            StrategyConfig::AsmgGru(asmg) => Ok(Memory::AsmgGru(Box::new(asmg.restore(pieces, spec)?))),
            StrategyConfig::AsmgLinear(asmg) => Ok(Memory::AsmgLinear(Box::new(asmg.restore(pieces, spec)?))),
            StrategyConfig::Spmf(spmf) => Ok(Memory::Spmf(Box::new(spmf.restore(pieces)?))),
            StrategyConfig::Mixture(mixture) => Ok(Memory::Mixture(Box::new(mixture.restore(pieces, spec)?))),
            StrategyConfig::Sml(sml) => Ok(Memory::Sml(Box::new(sml.restore(pieces, spec)?))),
            StrategyConfig::Frozen
            | StrategyConfig::Incremental
            | StrategyConfig::IncCtr(_)
            | StrategyConfig::Batch(_)
            | StrategyConfig::Retrain(_) => Ok(Memory::Nothing),
        }
    }

    /// One line for reports.
    pub fn describe(&self) -> String {
        match self {
            StrategyConfig::Frozen => "pre-trained model, never updated".into(),
            StrategyConfig::Incremental => "warm start, newest period only (IU)".into(),
            StrategyConfig::Batch(batch) => batch.describe(),
            StrategyConfig::Retrain(retrain) => retrain.describe(),
            StrategyConfig::AsmgGru(asmg) => asmg.describe(),
            StrategyConfig::AsmgLinear(asmg) => asmg.describe(),
            StrategyConfig::IncCtr(incctr) => incctr.describe(),
            StrategyConfig::Spmf(spmf) => spmf.describe(),
            StrategyConfig::Mixture(mixture) => mixture.describe(),
            StrategyConfig::Sml(sml) => sml.describe(),
        }
    }
}
