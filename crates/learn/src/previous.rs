//! Where the earlier scores come from that a loss compares with (ReLoop, SIGIR 2022; its spec, section 2).

use crate::scoring::score;
use crate::{Archive, Env, LearnError, Learned};
use perennial_stream::SeenPeriod;
use serde::{Deserialize, Serialize};

/// Where earlier scores come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreviousScores {
    /// What was really answered when the event happened: out of sample by construction, and free. It is what the log's field
    /// of scores says, or a file of them, where there is one; else what the version in service gave, and examples from before
    /// the loop have none.
    #[default]
    Logged,
    /// What the version before the update scores of all that it trains on, older periods included, which it has
    /// mostly learned from. Costs a pass of scoring.
    Recomputed,
}

impl PreviousScores {
    /// Its name in configuration and lineage.
    pub fn name(self) -> &'static str {
        match self {
            PreviousScores::Logged => "logged",
            PreviousScores::Recomputed => "recomputed",
        }
    }
}

/// Lets `work` see all examples with the scores of `served` in place of those that were logged.
pub(crate) fn rescored<R>(
    served: &Learned,
    seen: &SeenPeriod,
    env: &Env<'_>,
    work: impl FnOnce(&SeenPeriod, &Env<'_>) -> Result<R, LearnError>,
) -> Result<R, LearnError> {
    let again = |seen: &SeenPeriod| seen.rescored(|part| score(served.serving(), [part], env.workers));
    let archive = Rescored { archive: env.archive, again: &again };
    let pretraining = || again(&(env.pretraining)()?);
    work(&again(seen)?, &Env { archive: &archive, pretraining: &pretraining, ..*env })
}

/// An archive whose periods are scored again as they are taken out.
struct Rescored<'a, F> {
    archive: &'a dyn Archive,
    again: &'a F,
}

impl<F: Fn(&SeenPeriod) -> Result<SeenPeriod, LearnError> + Sync> Archive for Rescored<'_, F> {
    fn seen(&self, period: u32) -> Result<SeenPeriod, LearnError> {
        (self.again)(&self.archive.seen(period)?)
    }
}
