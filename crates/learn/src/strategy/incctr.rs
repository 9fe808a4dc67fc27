//! Incremental update with distillation from the previous version, IncCTR (Wang et al., "A Practical Incremental Method
//! to Train Deep CTR Models", arXiv 2009.02147, 2020), in the form that ASMG compares with (Peng et al., RecSys 2021).
//!
//! `L = (1 - weight) BCE(y) + weight BCE(y~)`, where y~ are the probabilities that the previous version gives to the
//! newest period, computed once before training and without a temperature.
//!
//! Departure: IncCTR also gives first values to new features; here ids get theirs as in every other strategy.

use crate::order::Order;
use crate::scoring::score;
use crate::trainer::{admit, encode, fit_encoded};
use crate::{Env, LearnError, Learned, Trained};
use perennial_model::distillation::soften;
use perennial_stream::SeenPeriod;
use serde::{Deserialize, Serialize};

/// Options of IncCTR.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IncCtr {
    /// Share of the previous version in the labels, from 0 to 1. With 0 this is IU, bit for bit.
    pub weight: f32,
}

impl Default for IncCtr {
    fn default() -> Self {
        // What ASMG's code uses on two of its three logs; 0.1 on the third.
        IncCtr { weight: 0.2 }
    }
}

impl IncCtr {
    pub(super) fn check(&self) -> Result<(), LearnError> {
        match (0.0..=1.0).contains(&self.weight) {
            true => Ok(()),
            false => Err(LearnError::Config { key: "weight".into(), problem: "a share lies between 0 and 1".into() }),
        }
    }

    pub(super) fn describe(&self) -> String {
        format!("warm start, newest period, labels with {} of the previous version (IncCTR)", self.weight)
    }

    pub(super) fn update(
        &self,
        mut learned: Learned,
        seen: &SeenPeriod,
        env: &Env<'_>,
    ) -> Result<(Learned, Trained), LearnError> {
        let teacher = score(learned.servable.serving(), seen.parts().iter().map(|part| &**part), env.workers)?;
        admit(&mut learned, &[seen]);
        let mut data = encode(&learned.servable, &[seen])?;
        soften(&mut data.label, &teacher, self.weight);
        fit_encoded(learned, &data, Order::Shuffled, env.training.epochs, seen.index() as u32, env)
    }
}
