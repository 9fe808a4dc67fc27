//! What a gate decided after a period, and on what grounds.

use crate::{Criterion, SeedResults};
use serde::{Deserialize, Serialize};

/// Which of two models answers requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Served {
    /// The base model: the plain incremental update.
    #[default]
    Base,
    /// What the strategy made.
    Candidate,
}

/// The decision after a period: what is served in the next one, with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateDecision {
    /// What is served until the next decision.
    pub served: Served,
    /// What was served until this one.
    pub before: Served,
    /// What the two are judged by.
    pub criterion: Criterion,
    /// The candidate's value on the period; `None` where there was no candidate or the value is undefined.
    pub candidate: Option<f64>,
    /// The base model's value on the same rows.
    pub base: Option<f64>,
    /// Periods that the decision rests on: the last ones in which both had a value.
    pub periods: u32,
    /// Mean gain of the candidate over these periods, above zero where it is better; `None` without periods.
    pub gain: Option<f64>,
    /// Share of resamples in which that mean is above the margin to promote.
    pub above: Option<f64>,
    /// Share of resamples in which it is below the margin to demote.
    pub below: Option<f64>,
}

impl GateDecision {
    /// By how much the candidate was better on the period itself.
    pub fn gain_of_period(&self) -> Option<f64> {
        Some(self.criterion.gain(self.candidate?, self.base?))
    }

    /// Whether something else is served from now on than before.
    pub fn changed(&self) -> bool {
        self.served != self.before
    }
}

impl SeedResults {
    /// Whether the run was behind a gate.
    pub fn is_gated(&self) -> bool {
        self.periods.iter().any(|record| record.gate.is_some())
    }

    /// What the gate decided after a period.
    pub fn decision(&self, period: u32) -> Option<GateDecision> {
        self.periods.iter().find(|record| record.period == period)?.gate
    }

    /// What was served in each period: the base model in the first, then what the gate decided after the one before.
    pub fn served(&self) -> impl Iterator<Item = (u32, Served)> {
        self.periods.iter().scan(Served::Base, |next, record| {
            let served = *next;
            *next = record.gate.map_or(served, |gate| gate.served);
            Some((record.period, served))
        })
    }
}
