//! Incremental update, IU (the base trajectory of ASMG; Peng et al., RecSys 2021, section 3.1): warm start from the
//! previous version and train on the newest period only.

use crate::trainer::fit;
use crate::{Env, LearnError, Learned, Trained};
use perennial_stream::SeenPeriod;

/// Trains `learned` on `seen`.
pub(super) fn update(learned: Learned, seen: &SeenPeriod, env: &Env<'_>) -> Result<(Learned, Trained), LearnError> {
    fit(learned, &[seen], env.training.epochs, seen.index() as u32, env)
}
