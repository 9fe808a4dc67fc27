//! Full retraining: a new model on everything seen so far. The expensive answer that every other strategy is a
//! shortcut for. Costs grow with the log; all of it is held in memory to be shuffled together.

use crate::trainer::fit;
use crate::{Env, LearnError, Learned, Trained};
use perennial_stream::SeenPeriod;
use serde::{Deserialize, Serialize};

/// Options of full retraining.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retrain {
    /// Passes over the data; as many as pre-training makes if absent.
    pub epochs: Option<u32>,
}

impl Retrain {
    pub(super) fn check(&self) -> Result<(), LearnError> {
        match self.epochs {
            Some(0) => Err(LearnError::Config { key: "epochs".into(), problem: "at least one pass is needed".into() }),
            _ => Ok(()),
        }
    }

    pub(super) fn describe(&self) -> String {
        "from scratch on everything seen so far".into()
    }

    pub(super) fn update(&self, seen: &SeenPeriod, env: &Env<'_>) -> Result<(Learned, Trained), LearnError> {
        let earlier = (0..seen.index() as u32).map(|period| env.archive.seen(period)).collect::<Result<Vec<_>, _>>()?;
        let all: Vec<&SeenPeriod> = earlier.iter().chain([seen]).collect();
        let epochs = self.epochs.unwrap_or(env.training.pretrain_epochs);
        fit((env.blank)()?, &all, epochs, seen.index() as u32, env)
    }
}
