//! What a logit should have been.

use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// A loss on logits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Binary cross-entropy, weighted mean over the batch.
    #[default]
    Bce,
}

impl Objective {
    /// Its name in configuration and lineage.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Bce => "bce",
        }
    }

    /// The part of the batch's mean loss that a shard contributes, a scalar. `normaliser` is the weight of the whole
    /// batch, so that the losses and gradients of its shards add up.
    pub fn loss<T: Real>(
        self,
        tape: &mut Tape<T>,
        logits: Var,
        labels: &[f32],
        weights: &[f32],
        normaliser: f64,
    ) -> Var {
        match self {
            Objective::Bce => tape.bce_with_logits(logits, labels, weights, normaliser),
        }
    }
}
