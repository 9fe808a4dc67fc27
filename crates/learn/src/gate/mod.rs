//! Shadow and promote: what a strategy makes is served only while it beats the base model.
//!
//! Two models go through the periods side by side: the candidate, which is what the strategy would serve, and the base,
//! the plain incremental update. After each period both are judged on what it showed, before either learns from it; a
//! bootstrap over the period's users says how far the gain can be trusted. The candidate is served from the period after
//! its mean gain over the last periods is above a margin with some confidence, and no longer once that mean is below
//! another margin with some confidence. So the incremental update is a floor, up to the periods that it takes to notice.
//!
//! Strategies that generate parameters train the base model anyway; beside any other one it is trained for the gate, with the
//! loss of the method.
//! Labels that come late are judged in the period in which they become observable, by the models of that time, which have
//! not learned from them either.
//!
//! The confidence is about the users of these periods. It does not know how much periods differ from each other, and it is
//! looked at again after each: a candidate that is just as good as the base model will be promoted some day, and that is
//! no loss.

mod state;

pub use state::Gate;

use crate::scoring::score;
use crate::{Env, LearnError, Learned, Pieces, StrategyConfig, Trained, TrainingConfig};
use perennial_core::rng::hash_text;
use perennial_core::{Examples, Stream};
use perennial_eval::{Criterion, Duel};
use perennial_model::Backbone;
use perennial_stream::SeenPeriod;
use serde::{Deserialize, Serialize};
use state::Trial;
use std::sync::Arc;

/// Options of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateConfig {
    /// What the two models are compared by.
    pub criterion: Criterion,
    /// The decision rests on so many last periods at the most ...
    pub window: u32,
    /// ... and is made only when there are so many.
    pub min_periods: u32,
    /// When the candidate begins to be served.
    pub promote: Threshold,
    /// When it ends.
    pub demote: Threshold,
    /// Draws of the bootstrap.
    pub resamples: u32,
    /// What is drawn.
    pub unit: Unit,
}

/// A mean gain over the window, and how sure one must be that it is passed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// In the unit of the criterion; gains are above zero where the candidate is better.
    pub margin: f64,
    /// Share of resamples on the far side of the margin.
    pub confidence: f64,
}

/// What the bootstrap draws.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Users with all their rows of the period, since rows of one user agree with each other. Rows of nobody are drawn
    /// one by one.
    #[default]
    User,
    /// Requests with all their rows. Where the log knows of none, rows are drawn one by one.
    Request,
    /// Rows, one by one.
    Event,
}

impl Unit {
    /// The key of the unit of each row, 0 for a row that is a unit of its own.
    fn keys(self, part: &Examples) -> Vec<u64> {
        let keys = match self {
            Unit::User => &part.user,
            Unit::Request => &part.request,
            Unit::Event => return vec![0; part.len()],
        };
        if keys.is_empty() { vec![0; part.len()] } else { keys.clone() }
    }
}

impl Default for GateConfig {
    fn default() -> Self {
        GateConfig {
            criterion: Criterion::Auc,
            // Long enough that one lucky period is not enough, short enough to notice within a few that luck has turned.
            window: 3,
            min_periods: 3,
            promote: Threshold { margin: 0.0, confidence: 0.95 },
            // Less certainty than to promote: the base model is the safe one.
            demote: Threshold { margin: 0.0, confidence: 0.8 },
            // The standard error of a share of 0.95 is then 0.007.
            resamples: 1000,
            unit: Unit::User,
        }
    }
}

impl GateConfig {
    /// Refuses options that cannot work.
    pub fn check(&self) -> Result<(), LearnError> {
        let fail = |key: &str, problem: &str| Err(LearnError::Config { key: key.into(), problem: problem.into() });
        let (promote, demote) = (self.promote, self.demote);
        // One draw is counted against what is to be shown, so that no share is 1.
        let most = f64::from(self.resamples) / (f64::from(self.resamples) + 1.0);
        match () {
            _ if !(1..=1000).contains(&self.window) => fail("gate.window", "from 1 to 1000 periods are possible"),
            _ if !(1..=self.window).contains(&self.min_periods) => {
                fail("gate.min_periods", "at least 1 and at most as many as the window has")
            }
            _ if !(1..=1_000_000).contains(&self.resamples) => {
                fail("gate.resamples", "from 1 to 1,000,000 draws are possible")
            }
            _ if !(promote.margin.is_finite() && demote.margin.is_finite()) => fail("gate", "margins must be finite"),
            _ if demote.margin > promote.margin => {
                fail("gate.demote.margin", "it must be at most that to promote, or the two would take turns")
            }
            _ if ![promote, demote].iter().all(|of| (0.5..1.0).contains(&of.confidence)) => {
                fail("gate", "a confidence lies between 0.5 and 1, without 1")
            }
            _ if promote.confidence + demote.confidence <= 1.0 => {
                fail("gate", "one confidence must be above 0.5, or the two thresholds would take turns")
            }
            _ if promote.confidence > most || demote.confidence > most => {
                fail("gate.resamples", "so few draws can never show such a confidence; draw more")
            }
            _ => Ok(()),
        }
    }

    /// What it adds to the line of its strategy in reports.
    pub fn describe(&self) -> String {
        let Threshold { margin, confidence } = self.promote;
        format!(
            "served only while it beats the incremental update in {} by {margin} over {} periods with confidence {confidence}",
            self.criterion.metric().title,
            self.window
        )
    }

    /// The next version of a strategy behind this gate: the two models are judged on the period, then both learn from it.
    pub fn update(
        &self,
        strategy: &StrategyConfig,
        mut learned: Learned,
        seen: &SeenPeriod,
        env: &Env<'_>,
    ) -> Result<(Learned, Trained), LearnError> {
        let trial = self.judge(&learned, seen, env)?;
        let mut gate = match learned.gate.take() {
            Some(gate) => *gate,
            None => Gate::new(strategy.carries_base(), &learned),
        };
        let decision = gate.decide(self, trial);
        let mut beside = Trained::default();
        if let Some(base) = gate.beside.take() {
            let (base, trained) = StrategyConfig::Incremental.update(*base, seen, env)?;
            (gate.beside, beside) = (Some(Box::new(base)), trained);
        }
        let (mut learned, mut trained) = strategy.update(learned, seen, env)?;
        learned.gate = Some(Box::new(gate));
        trained.rows += beside.rows;
        trained.steps += beside.steps;
        trained.gate = Some(decision);
        Ok((learned, trained))
    }

    /// How the two did on a period that neither has learned from; `None` where there is no candidate yet, and where the
    /// period says nothing.
    fn judge(&self, learned: &Learned, seen: &SeenPeriod, env: &Env<'_>) -> Result<Option<Trial>, LearnError> {
        let Some(candidate) = learned.candidate() else { return Ok(None) };
        let parts = || seen.parts().iter().map(|part| &**part);
        let candidate = score(candidate, parts(), env.workers)?;
        let base = score(learned.base(), parts(), env.workers)?;
        let labels: Vec<f32> = parts().flat_map(|part| &part.label).copied().collect();
        let weights: Vec<f32> = parts().flat_map(|part| &part.weight).copied().collect();
        let units: Vec<u64> = parts().flat_map(|part| self.unit.keys(part)).collect();
        let duel = Duel::new(self.criterion, [&candidate, &base], &labels, &weights, &units)?;
        let period = seen.index() as u32;
        Ok(duel.map(|duel| Trial {
            period,
            candidate: duel.candidate(),
            base: duel.base(),
            gains: Arc::new(self.redraw(&duel, period, env)),
        }))
    }

    /// The gain in each resample. A draw is keyed by its number, so that it does not depend on who makes it.
    fn redraw(&self, duel: &Duel, period: u32, env: &Env<'_>) -> Vec<f64> {
        let mut gains = vec![0.0; self.resamples as usize];
        let mut tasks: Vec<&mut [f64]> = gains.chunks_mut(DRAWS_PER_TASK).collect();
        env.workers.for_each(&mut tasks, |task, gains| {
            let mut counts = Vec::new();
            for (draw, gain) in (task * DRAWS_PER_TASK..).zip(gains.iter_mut()) {
                let key = [env.seed, hash_text("gate"), u64::from(period), draw as u64];
                *gain = duel.redrawn(&mut Stream::new(&key), &mut counts);
            }
        });
        gains
    }

    /// What [`Gate::pieces`] stored; `None` if there is no piece.
    pub fn restore(
        &self,
        pieces: Pieces,
        backbone: &Backbone,
        training: &TrainingConfig,
    ) -> Result<Option<Box<Gate>>, LearnError> {
        match pieces.is_empty() {
            true => Ok(None),
            false => Ok(Some(Box::new(Gate::from_pieces(pieces, self, backbone, training)?))),
        }
    }
}

/// Draws that one worker makes at a time: few enough to share out, enough that its counts are worth their memory.
const DRAWS_PER_TASK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(edit: impl Fn(&mut GateConfig), expected: &str) {
        let mut config = GateConfig::default();
        edit(&mut config);
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn options_that_cannot_work_are_refused() {
        GateConfig::default().check().unwrap();
        refused(|gate| gate.window = 0, "gate.window");
        refused(|gate| gate.min_periods = 4, "gate.min_periods");
        refused(|gate| gate.min_periods = 0, "gate.min_periods");
        refused(|gate| gate.resamples = 0, "gate.resamples");
        refused(|gate| gate.resamples = 10, "so few draws");
        refused(|gate| gate.demote.margin = 0.1, "take turns");
        refused(|gate| gate.promote.margin = f64::NAN, "finite");
        refused(|gate| gate.promote.confidence = 1.0, "without 1");
        refused(|gate| (gate.promote.confidence, gate.demote.confidence) = (0.5, 0.5), "take turns");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let read = |text: &str| serde_json::from_str::<GateConfig>(text);
        assert_eq!(read(r#"{"criterion": "log_loss"}"#).unwrap().criterion, Criterion::LogLoss);
        assert!(read(r#"{"windw": 3}"#).is_err());
        assert!(read(r#"{"promote": {"margin": 0.1}}"#).is_err(), "a threshold has both numbers");
    }
}
