//! What a gate remembers, and how it decides.

use super::GateConfig;
use crate::memory::damaged;
use crate::whole::{restore_whole, whole_pieces};
use crate::{LearnError, Learned, Pieces, TrainingConfig};
use perennial_eval::{GateDecision, Served};
use perennial_model::Backbone;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// A gate between two periods: a value.
#[derive(Debug, Clone)]
pub struct Gate {
    /// What answers requests.
    pub served: Served,
    /// The last periods in which both models had a value, oldest first: at most as many as the window has.
    trials: VecDeque<Trial>,
    /// The base model, where the strategy does not train it itself.
    pub(crate) beside: Option<Box<Learned>>,
}

/// How the two models did on one period.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) period: u32,
    /// The candidate's value.
    pub(super) candidate: f64,
    /// The base model's.
    pub(super) base: f64,
    /// The candidate's gain in each resample.
    pub(super) gains: Arc<Vec<f64>>,
}

/// What is stored of a gate beside its models and resamples.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    served: Served,
    /// Period, and the values of candidate and base.
    trials: Vec<(u32, f64, f64)>,
    beside: bool,
}

impl Gate {
    /// A gate that serves the base model and has seen no trial. Where the strategy does not carry the base model, that
    /// starts as the model that the strategy starts from.
    pub(super) fn new(carries_base: bool, learned: &Learned) -> Gate {
        let beside = (!carries_base).then(|| Box::new(learned.clone()));
        Gate { served: Served::Base, trials: VecDeque::new(), beside }
    }

    /// Takes in how the two did on a period, if it said anything, and decides what is served from now on. A period that
    /// said nothing changes nothing.
    pub(super) fn decide(&mut self, config: &GateConfig, trial: Option<Trial>) -> GateDecision {
        let before = self.served;
        let values = trial.as_ref().map(|trial| (trial.candidate, trial.base));
        let judged = trial.is_some();
        self.trials.extend(trial);
        while self.trials.len() > config.window as usize {
            self.trials.pop_front();
        }
        let periods = self.trials.len() as u32;
        let (above, below) = self.shares(config).unzip();
        let reaches = |share: Option<f64>, confidence: f64| judged && share.is_some_and(|share| share >= confidence);
        self.served = match before {
            Served::Base if periods >= config.min_periods && reaches(above, config.promote.confidence) => {
                Served::Candidate
            }
            Served::Candidate if reaches(below, config.demote.confidence) => Served::Base,
            same => same,
        };
        GateDecision {
            served: self.served,
            before,
            criterion: config.criterion,
            candidate: values.map(|(candidate, _)| candidate),
            base: values.map(|(_, base)| base),
            periods,
            gain: self.gain(config),
            above,
            below,
        }
    }

    /// Mean gain over the window.
    fn gain(&self, config: &GateConfig) -> Option<f64> {
        let gain = |trial: &Trial| config.criterion.gain(trial.candidate, trial.base);
        let sum: f64 = self.trials.iter().map(gain).sum();
        (!self.trials.is_empty()).then(|| sum / self.trials.len() as f64)
    }

    /// Shares of resamples whose mean gain over the window is above the margin to promote, and below that to demote. The
    /// n-th draws of all periods make one resample of the window; one more is counted that shows neither, as in a
    /// permutation test, so that no finite number of draws shows certainty (Phipson and Smyth 2010).
    fn shares(&self, config: &GateConfig) -> Option<(f64, f64)> {
        let draws = self.trials.front()?.gains.len();
        let mean =
            |draw: usize| self.trials.iter().map(|trial| trial.gains[draw]).sum::<f64>() / self.trials.len() as f64;
        let count = |passes: &dyn Fn(f64) -> bool| (0..draws).filter(|draw| passes(mean(*draw))).count();
        let share = |count: usize| count as f64 / (draws + 1) as f64;
        let above = count(&|mean| mean > config.promote.margin);
        let below = count(&|mean| mean < config.demote.margin);
        Some((share(above), share(below)))
    }

    /// In pieces, to be stored.
    pub fn pieces(&self) -> Pieces {
        let mut pieces = Pieces::default();
        let trials = self.trials.iter().map(|trial| (trial.period, trial.candidate, trial.base)).collect();
        pieces.put_json("gate", &Header { served: self.served, trials, beside: self.beside.is_some() });
        for trial in &self.trials {
            let bytes = trial.gains.iter().flat_map(|gain| gain.to_le_bytes()).collect();
            pieces.put_bytes(format!("gains/{:04}", trial.period), bytes);
        }
        if let Some(base) = &self.beside {
            pieces.put_all("base", whole_pieces(base));
        }
        pieces
    }

    pub(super) fn from_pieces(
        mut pieces: Pieces,
        config: &GateConfig,
        backbone: &Backbone,
        training: &TrainingConfig,
    ) -> Result<Gate, LearnError> {
        let Header { served, trials, beside } = pieces.take_json("gate")?;
        let trial = |(period, candidate, base): (u32, f64, f64)| {
            let name = format!("gains/{period:04}");
            let bytes = pieces.take_bytes(&name)?;
            let (gains, rest) = bytes.as_chunks::<8>();
            if gains.len() != config.resamples as usize || !rest.is_empty() {
                return Err(damaged(&name, &format!("expected {} numbers of 8 bytes", config.resamples)));
            }
            let gains = gains.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
            Ok(Trial { period, candidate, base, gains: Arc::new(gains) })
        };
        let trials = trials.into_iter().map(trial).collect::<Result<_, LearnError>>()?;
        let base = pieces.take_all("base");
        let beside = beside.then(|| restore_whole(base, backbone, training).map(Box::new)).transpose()?;
        Ok(Gate { served, trials, beside })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Threshold;
    use perennial_core::Stream;
    use proptest::prelude::*;

    fn gate() -> Gate {
        Gate { served: Served::Base, trials: VecDeque::new(), beside: None }
    }

    /// A period in which the candidate gained `gain`, give or take a standard error.
    fn trial(period: u32, gain: f64, error: f64) -> Trial {
        let draw = |draw: u64| gain + error * Stream::new(&[u64::from(period), draw]).normal();
        Trial { period, candidate: 0.7 + gain, base: 0.7, gains: Arc::new((0..1000).map(draw).collect()) }
    }

    /// What is served after each of these gains.
    fn served(config: &GateConfig, gains: &[f64], error: f64) -> Vec<Served> {
        let mut gate = gate();
        let decide = |(period, gain): (u32, &f64)| gate.decide(config, Some(trial(period, *gain, error))).served;
        (0..).zip(gains).map(decide).collect()
    }

    use Served::{Base, Candidate};

    #[test]
    fn what_is_always_worse_is_never_served() {
        assert!(served(&GateConfig::default(), &[-0.001; 30], 0.001).iter().all(|served| *served == Base));
    }

    #[test]
    fn what_is_always_better_is_served_after_the_least_number_of_periods() {
        for least in 1..=5 {
            let config = GateConfig { window: 5, min_periods: least, ..GateConfig::default() };
            let served = served(&config, &[0.01; 8], 0.001);
            let first = served.iter().position(|served| *served == Candidate);
            assert_eq!(first, Some(least as usize - 1), "{served:?}");
            assert!(served[least as usize..].iter().all(|served| *served == Candidate));
        }
    }

    #[test]
    fn what_turns_bad_is_served_no_longer_and_what_recovers_is_again() {
        let gains = [0.01, 0.01, 0.01, -0.01, -0.01, -0.01, -0.01, 0.01, 0.01, 0.01];
        let expected = [Base, Base, Candidate, Candidate, Base, Base, Base, Base, Candidate, Candidate];
        assert_eq!(served(&GateConfig::default(), &gains, 0.001), expected);
    }

    #[test]
    fn a_gain_within_the_margin_or_within_chance_is_not_enough() {
        let margin = GateConfig { promote: Threshold { margin: 0.02, confidence: 0.95 }, ..GateConfig::default() };
        assert!(!served(&margin, &[0.01; 9], 0.001).contains(&Candidate));
        // Over three periods a gain of one standard error of a period is 1.7 standard errors of their mean, of which
        // 96 % of draws are above zero; of half of it 81 %.
        assert!(served(&GateConfig::default(), &[0.01; 9], 0.01).contains(&Candidate));
        assert!(!served(&GateConfig::default(), &[0.005; 9], 0.01).contains(&Candidate));
    }

    /// Between the thresholds nothing changes, whichever is served.
    #[test]
    fn between_the_thresholds_the_past_decides() {
        let (good, bad, between) = (0.01, -0.01, 0.0);
        let demote = Threshold { margin: -0.005, confidence: 0.8 };
        let config = GateConfig { demote, window: 1, min_periods: 1, ..GateConfig::default() };
        let gains = [between, between, good, between, between, between, bad, between, between];
        let expected = [Base, Base, Candidate, Candidate, Candidate, Candidate, Base, Base, Base];
        assert_eq!(served(&config, &gains, 0.001), expected);
    }

    #[test]
    fn a_period_without_a_value_changes_nothing() {
        let config = GateConfig { window: 2, min_periods: 2, ..GateConfig::default() };
        let mut gate = gate();
        let trials = [Some(0.01), None, None, Some(0.01), None];
        let decide = |(period, gain): (u32, Option<f64>)| {
            let decision = gate.decide(&config, gain.map(|gain| trial(period, gain, 0.001)));
            (decision.served, decision.periods)
        };
        let decided: Vec<_> = (0..).zip(trials).map(decide).collect();
        assert_eq!(decided, [(Base, 1), (Base, 1), (Base, 1), (Candidate, 2), (Candidate, 2)]);
    }

    proptest! {
        /// The same evidence never speaks for both sides: whatever was just decided would not be undone by it.
        #[test]
        fn no_evidence_promotes_and_demotes(
            gains in prop::collection::vec(-0.01f64..0.01, 1..12),
            error in 0.0f64..0.01,
            margins in (-0.01f64..0.01, -0.01f64..0.01),
            confidences in (0.5f64..0.99, 0.501f64..0.99),
        ) {
            let config = GateConfig {
                promote: Threshold { margin: margins.0.max(margins.1), confidence: confidences.0 },
                demote: Threshold { margin: margins.0.min(margins.1), confidence: confidences.1 },
                min_periods: 1,
                ..GateConfig::default()
            };
            config.check().unwrap();
            let mut gate = gate();
            for (period, gain) in (0..).zip(gains) {
                let decision = gate.decide(&config, Some(trial(period, gain, error)));
                let promotes = decision.above.unwrap() >= config.promote.confidence;
                let demotes = decision.below.unwrap() >= config.demote.confidence;
                prop_assert!(!(promotes && demotes), "{:?}", decision);
            }
        }
    }

    #[test]
    fn the_numbers_of_a_decision_are_those_of_the_window() {
        let config = GateConfig { window: 2, min_periods: 2, ..GateConfig::default() };
        let mut gate = gate();
        for (period, gain) in [(3, 0.5), (4, 0.01), (5, 0.03)] {
            let decision = gate.decide(&config, Some(trial(period, gain, 0.0)));
            assert!((decision.gain_of_period().unwrap() - gain).abs() < 1e-12);
            if period == 5 {
                assert!((decision.gain.unwrap() - 0.02).abs() < 1e-12);
                assert_eq!((decision.above, decision.below), (Some(1000.0 / 1001.0), Some(0.0)));
                assert_eq!((decision.before, decision.served), (Candidate, Candidate));
            }
        }
    }
}
