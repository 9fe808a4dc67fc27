//! Batch update, BU-w (ASMG's baseline; Peng et al., RecSys 2021, section 5.1.2): train on the last w periods,
//! shuffled together.
//!
//! The paper's code starts from the previous batch-updated model, so that every example is trained on w times over
//! the periods; that is the default here and part of why it trails IU in the paper. The other starts are offered
//! because they answer other questions.

use crate::trainer::fit;
use crate::{Env, LearnError, Learned, Trained};
use perennial_stream::SeenPeriod;
use serde::{Deserialize, Serialize};

/// Options of the batch update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Number of most recent periods to train on, the newest included. With 1 and `init = "previous"` this is IU,
    /// bit for bit.
    pub window: u32,
    /// What training starts from.
    #[serde(default)]
    pub init: BatchInit,
}

/// What a batch update starts from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchInit {
    /// The previous batch-updated version, as in the paper's code.
    #[default]
    Previous,
    /// The pre-trained model.
    Pretrained,
    /// A model that has learned nothing.
    Scratch,
}

impl Batch {
    pub(super) fn check(&self) -> Result<(), LearnError> {
        match self.window {
            0 => Err(LearnError::Config { key: "window".into(), problem: "a window holds at least one period".into() }),
            _ => Ok(()),
        }
    }

    pub(super) fn describe(&self) -> String {
        let start = match self.init {
            BatchInit::Previous => "warm start",
            BatchInit::Pretrained => "from the pre-trained model",
            BatchInit::Scratch => "from scratch",
        };
        format!("{start}, last {} periods shuffled together (BU-{})", self.window, self.window)
    }

    pub(super) fn update(
        &self,
        previous: Learned,
        seen: &SeenPeriod,
        env: &Env<'_>,
    ) -> Result<(Learned, Trained), LearnError> {
        let start = match self.init {
            BatchInit::Previous => previous,
            BatchInit::Pretrained => env.pretrained.clone(),
            BatchInit::Scratch => (env.blank)()?,
        };
        // Periods of pre-training belong to the window like any others.
        let first = (seen.index() as u32 + 1).saturating_sub(self.window);
        let earlier =
            (first..seen.index() as u32).map(|period| env.archive.seen(period)).collect::<Result<Vec<_>, _>>()?;
        let window: Vec<&SeenPeriod> = earlier.iter().chain([seen]).collect();
        fit(start, &window, env.training.epochs, seen.index() as u32, env)
    }
}
