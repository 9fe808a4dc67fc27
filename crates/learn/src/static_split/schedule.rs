//! What happens between epochs: a lower learning rate, an early end, and which epoch is kept.

use crate::LearnError;
use perennial_eval::Criterion;
use serde::{Deserialize, Serialize};

/// What validation decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// By which metric of the validation examples.
    pub watch: Criterion,
    /// An epoch is better than the best so far if it gains more than this. 0, so that nothing that helps is thrown away.
    pub min_gain: f64,
    /// Ends after so many epochs in a row that were not better; with the last one if absent.
    pub stop_after: Option<u32>,
    /// Lowers the learning rate where nothing gets better; leaves it alone if absent.
    pub plateau: Option<Plateau>,
    /// Whether the model is that of the best epoch, or of the last one.
    pub restore_best: bool,
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plateau {
    /// After so many epochs in a row that were not better, and again after as many more. 1 in the public benchmark.
    pub patience: u32,
    /// What it is multiplied by. 0.1 in the public benchmark.
    pub factor: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule { watch: Criterion::Auc, min_gain: 0.0, stop_after: None, plateau: None, restore_best: true }
    }
}

impl Default for Plateau {
    fn default() -> Self {
        Plateau { patience: 1, factor: 0.1 }
    }
}

impl Schedule {
    /// Refuses settings that cannot work.
    pub fn check(&self) -> Result<(), LearnError> {
        let fail = |key: &str, problem: &str| Err(LearnError::Config { key: key.into(), problem: problem.into() });
        match (self.stop_after, self.plateau) {
            _ if !(self.min_gain >= 0.0 && self.min_gain.is_finite()) => {
                fail("schedule.min_gain", "a gain is 0 or more, and finite")
            }
            (Some(0), _) => fail("schedule.stop_after", "at least one epoch must be no better before it is the last"),
            (_, Some(Plateau { patience: 0, .. })) => {
                fail("schedule.plateau.patience", "at least one epoch must be no better before the rate falls")
            }
            (_, Some(Plateau { factor, .. })) if !(factor > 0.0 && factor < 1.0) => {
                fail("schedule.plateau.factor", "the rate falls by a factor between 0 and 1, both excluded")
            }
            _ => Ok(()),
        }
    }
}

/// Where a training stands between two epochs.
#[derive(Debug)]
pub(super) struct Course<'a> {
    schedule: &'a Schedule,
    /// To begin with.
    learning_rate: f64,
    /// How often it fell.
    falls: u32,
    epochs: u32,
    /// The best epoch, from 1, and its value.
    best: Option<(u32, f64)>,
    /// Epochs in a row that were not better: since the best one, and since that or the last fall of the rate.
    idle: u32,
    idle_at_rate: u32,
}

impl<'a> Course<'a> {
    pub(super) fn new(schedule: &'a Schedule, learning_rate: f64) -> Course<'a> {
        Course { schedule, learning_rate, falls: 0, epochs: 0, best: None, idle: 0, idle_at_rate: 0 }
    }

    /// Notes the watched value after another epoch.
    pub(super) fn turn(&mut self, value: f64) {
        self.epochs += 1;
        let Schedule { watch, min_gain, plateau, .. } = *self.schedule;
        if self.best.is_none_or(|(_, best)| watch.gain(value, best) > min_gain) {
            self.best = Some((self.epochs, value));
            (self.idle, self.idle_at_rate) = (0, 0);
            return;
        }
        (self.idle, self.idle_at_rate) = (self.idle + 1, self.idle_at_rate + 1);
        if let Some(Plateau { patience, .. }) = plateau
            && self.idle_at_rate >= patience
        {
            self.falls += 1;
            self.idle_at_rate = 0;
        }
    }

    /// Epochs so far.
    pub(super) fn epochs(&self) -> u32 {
        self.epochs
    }

    /// The best epoch so far, from 1; 0 before there was one.
    pub(super) fn best(&self) -> u32 {
        self.best.map_or(0, |(epoch, _)| epoch)
    }

    /// The rate of the next epoch.
    pub(super) fn learning_rate(&self) -> f64 {
        self.lowered(self.learning_rate)
    }

    /// What any rate has fallen to: those of groups fall with the shared one, fall by fall.
    pub(super) fn lowered(&self, rate: f64) -> f64 {
        let factor = self.schedule.plateau.map_or(1.0, |plateau| plateau.factor);
        (0..self.falls).fold(rate, |rate, _| rate * factor)
    }

    /// Whether it has gone on long enough without getting better.
    pub(super) fn ended(&self) -> bool {
        self.schedule.stop_after.is_some_and(|patience| self.idle >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate of each epoch, the best one, and whether it ended by itself after these values.
    fn course(schedule: &Schedule, values: &[f64]) -> (Vec<f64>, u32, bool) {
        let mut course = Course::new(schedule, 1.0);
        let mut rates = Vec::new();
        for &value in values {
            assert!(!course.ended(), "{values:?} after {} epochs", course.epochs());
            rates.push(course.learning_rate());
            course.turn(value);
        }
        (rates, course.best(), course.ended())
    }

    #[test]
    fn a_plateau_halves_the_rate_and_does_so_again() {
        let schedule = |patience| Schedule { plateau: Some(Plateau { patience, factor: 0.5 }), ..Schedule::default() };
        let values = [0.6, 0.7, 0.7, 0.6, 0.8, 0.7, 0.7, 0.7];
        assert_eq!(course(&schedule(1), &values), (vec![1.0, 1.0, 1.0, 0.5, 0.25, 0.25, 0.125, 0.0625], 5, false));
        assert_eq!(course(&schedule(2), &values), (vec![1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25], 5, false));
        assert_eq!(course(&Schedule::default(), &values).0, [1.0; 8]);
    }

    #[test]
    fn it_ends_after_so_many_epochs_in_a_row_that_were_no_better() {
        let schedule = Schedule { stop_after: Some(2), ..Schedule::default() };
        assert_eq!(course(&schedule, &[0.6, 0.5, 0.7, 0.7, 0.6]), (vec![1.0; 5], 3, true));
        assert_eq!(course(&schedule, &[0.6, 0.5]), (vec![1.0; 2], 1, false));
    }

    #[test]
    fn a_loss_gets_better_by_falling_and_too_little_does_not_count() {
        let schedule = Schedule { watch: Criterion::LogLoss, min_gain: 0.01, ..Schedule::default() };
        assert_eq!(course(&schedule, &[0.6, 0.5, 0.495, 0.7]).1, 2);
        assert_eq!(course(&schedule, &[0.6, 0.5, 0.48, 0.7]).1, 3);
    }

    #[test]
    fn nonsense_is_refused() {
        let plateau = |patience, factor| Some(Plateau { patience, factor });
        for (schedule, expected) in [
            (Schedule { min_gain: -1.0, ..Schedule::default() }, "min_gain"),
            (Schedule { stop_after: Some(0), ..Schedule::default() }, "stop_after"),
            (Schedule { plateau: plateau(0, 0.5), ..Schedule::default() }, "patience"),
            (Schedule { plateau: plateau(1, 1.0), ..Schedule::default() }, "factor"),
            (Schedule { plateau: plateau(1, f64::NAN), ..Schedule::default() }, "factor"),
        ] {
            assert!(schedule.check().unwrap_err().to_string().contains(expected), "{schedule:?}");
        }
    }
}
