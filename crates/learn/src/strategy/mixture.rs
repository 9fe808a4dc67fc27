//! Experts under online weights: Hedge (Freund and Schapire, JCSS 1997) with a fixed share (Herbster and Warmuth, Machine
//! Learning 1998), over the plain incremental update and what ASMG makes of it. Not in ASMG's paper.
//!
//! All experts share one base trajectory: it is trained once, and each of them makes its parameters of it. What is served
//! is the weighted mean of their probabilities. After a period every expert is charged the mean LogLoss that it had on it
//! before anything learned from it; then
//!
//! `w_i <- (1 - share) w_i e^(-rate loss_i) / sum_j w_j e^(-rate loss_j) + share / experts`.
//!
//! LogLoss is convex in the probability, so that the mixture is never worse than the weighted mean of its experts, and over
//! periods it stays, without sharing, within `ln(experts) / rate + rate / 8 sum_t range_t^2` of the best of them, where
//! `range_t` is how far the losses of a period lie apart. Parameters are not averaged: the mean of two networks is no
//! network like either.

use crate::memory::damaged;
use crate::scoring::score;
use crate::trainer::{encode, fit};
use crate::{Env, LearnError, Learned, Pieces, StrategyConfig, Trained};
use perennial_eval::Criterion;
use perennial_model::{Member, Mixed, ModelSpec};
use perennial_stream::SeenPeriod;
use serde::{Deserialize, Serialize};

/// Options of a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mixture {
    /// Who takes part: `incremental`, `asmg_linear` and `asmg_gru` can. One of them alone is that one, bit for bit.
    pub experts: Vec<StrategyConfig>,
    /// How fast weights move: an expert behind by one nat of mean LogLoss loses this many powers of e in a period.
    pub rate: f64,
    /// Share of the weight that is dealt out evenly after each period, so that an expert that was behind for long can come
    /// back; none with 0.
    pub share: f64,
}

impl Default for Mixture {
    fn default() -> Self {
        Mixture {
            experts: vec![
                StrategyConfig::Incremental,
                StrategyConfig::AsmgLinear(Default::default()),
                StrategyConfig::AsmgGru(Default::default()),
            ],
            // Updates differ by some 0.01 nats a period: that is then one power of e.
            rate: 100.0,
            share: 0.02,
        }
    }
}

/// What is remembered from one period to the next. What each expert made is what is served.
#[derive(Debug, Clone)]
pub struct Memory {
    weights: Vec<f64>,
    /// LogLoss of each expert on the last period in which there was one.
    losses: Vec<f64>,
    /// What each expert remembers.
    experts: Vec<crate::Memory>,
}

/// The numbers of a memory, as they are stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    weights: Vec<f64>,
    losses: Vec<f64>,
}

impl Mixture {
    pub(super) fn check(&self) -> Result<(), LearnError> {
        let fail = |key: &str, problem: &str| Err(LearnError::Config { key: key.into(), problem: problem.into() });
        match () {
            _ if self.experts.is_empty() => fail("experts", "at least one is needed"),
            _ if !self.experts.iter().all(StrategyConfig::can_follow) => fail(
                "experts",
                "\"incremental\", \"asmg_linear\" and \"asmg_gru\" are possible: they share one base trajectory",
            ),
            _ if !(self.rate.is_finite() && self.rate >= 0.0) => fail("rate", "it must be finite and at least 0"),
            _ if !(0.0..=1.0).contains(&self.share) => fail("share", "a share lies between 0 and 1"),
            _ => self.experts.iter().try_for_each(StrategyConfig::check),
        }
    }

    pub(super) fn describe(&self) -> String {
        let experts: Vec<String> = self.experts.iter().map(StrategyConfig::describe).collect();
        format!("probabilities averaged under online weights (Hedge) of: {}", experts.join("; "))
    }

    /// Earlier periods that an update needs again.
    pub(super) fn reach(&self) -> usize {
        self.experts.iter().map(StrategyConfig::reach).max().unwrap_or(0)
    }

    pub(super) fn update(
        &self,
        mut previous: Learned,
        seen: &SeenPeriod,
        env: &Env<'_>,
    ) -> Result<(Learned, Trained), LearnError> {
        if seen.parts().iter().all(|part| part.is_empty()) {
            return Ok((previous, Trained::default()));
        }
        let losses = self.losses(&previous, seen, env)?;
        let mut memory = match std::mem::take(&mut previous.memory) {
            crate::Memory::Mixture(memory) => *memory,
            _ => self.blank(),
        };
        if let Some(losses) = losses {
            memory.weights = hedge(&memory.weights, &losses, self.rate, self.share);
            memory.losses = losses;
        }
        previous.mixed = None;
        let (mut learned, mut trained) = fit(previous, &[seen], env.training.epochs, seen.index() as u32, env)?;
        let newest = encode(&learned.servable, &[seen])?;
        let mut members = Vec::new();
        for (nth, expert) in self.experts.iter().enumerate() {
            let own = std::mem::take(&mut memory.experts[nth]);
            let period = seen.index() as u32;
            let (own, generated) = expert.follow(own, &learned, &newest, period, env, &mut trained)?;
            memory.experts[nth] = own;
            members.push(Member { weight: memory.weights[nth], generated });
        }
        // What none of them made is the base model, whatever the weights.
        learned.mixed = members.iter().any(|member| member.generated.is_some()).then_some(Mixed { members });
        learned.memory = crate::Memory::Mixture(Box::new(memory));
        Ok((learned, trained))
    }

    fn blank(&self) -> Memory {
        let experts = self.experts.len();
        Memory {
            weights: vec![1.0 / experts as f64; experts],
            losses: Vec::new(),
            experts: vec![crate::Memory::Nothing; experts],
        }
    }

    /// The LogLoss of each expert on a period that none has learned from; `None` as long as all are the base model, and
    /// where the period says nothing.
    fn losses(&self, previous: &Learned, seen: &SeenPeriod, env: &Env<'_>) -> Result<Option<Vec<f64>>, LearnError> {
        let Some(mixed) = &previous.mixed else { return Ok(None) };
        let parts = || seen.parts().iter().map(|part| &**part);
        let labels: Vec<f32> = parts().flat_map(|part| &part.label).copied().collect();
        let weights: Vec<f32> = parts().flat_map(|part| &part.weight).copied().collect();
        let loss = |member: &Member| {
            let logits = score(previous.servable.serving_member(member), parts(), env.workers)?;
            Ok(Criterion::LogLoss.value(&logits, &labels, &weights)?)
        };
        mixed.members.iter().map(loss).collect()
    }

    /// What [`Memory::pieces`] stored.
    pub(super) fn restore(&self, mut pieces: Pieces, spec: &ModelSpec) -> Result<Memory, LearnError> {
        let Header { weights, losses } = pieces.take_json("weights")?;
        if weights.len() != self.experts.len() {
            let (expected, got) = (self.experts.len(), weights.len());
            return Err(damaged("weights", &format!("expected {expected}, one for each expert, got {got}")));
        }
        let own = |(nth, expert): (usize, &StrategyConfig)| expert.restore(pieces.take_all(&expert_name(nth)), spec);
        let experts = self.experts.iter().enumerate().map(own).collect::<Result<_, _>>()?;
        Ok(Memory { weights, losses, experts })
    }
}

impl Memory {
    /// The weights that the experts have in what is served.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    pub(crate) fn pieces(&self) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.put_json("weights", &Header { weights: self.weights.clone(), losses: self.losses.clone() });
        for (nth, expert) in self.experts.iter().enumerate() {
            pieces.put_all(&expert_name(nth), expert.pieces());
        }
        pieces
    }
}

fn expert_name(nth: usize) -> String {
    format!("expert/{nth:03}")
}

/// The weights after these losses.
fn hedge(weights: &[f64], losses: &[f64], rate: f64, share: f64) -> Vec<f64> {
    // Only differences count: measured from the least loss, no weight overflows and not all vanish.
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let kept: Vec<f64> =
        weights.iter().zip(losses).map(|(weight, loss)| weight * (-rate * (loss - least)).exp()).collect();
    let sum: f64 = kept.iter().sum();
    let evenly = 1.0 / weights.len() as f64;
    match sum > 0.0 {
        true => kept.iter().map(|kept| (1.0 - share) * kept / sum + share * evenly).collect(),
        // The best expert had no weight left, and the others lost theirs.
        false => vec![evenly; weights.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::Stream;
    use proptest::prelude::*;

    /// Weights before each of these periods, from even ones.
    fn run(losses: &[Vec<f64>], rate: f64, share: f64) -> Vec<Vec<f64>> {
        let mut weights = vec![1.0 / losses[0].len() as f64; losses[0].len()];
        let next = |losses: &Vec<f64>| {
            let next = hedge(&weights, losses, rate, share);
            std::mem::replace(&mut weights, next)
        };
        losses.iter().map(next).collect()
    }

    proptest! {
        /// Freund and Schapire's bound, in the form of Hoeffding: it holds for every sequence.
        #[test]
        fn the_regret_is_bounded(
            losses in (1usize..5).prop_flat_map(|experts| {
                prop::collection::vec(prop::collection::vec(0.0f64..2.0, experts), 1..40)
            }),
            rate in 0.01f64..20.0,
        ) {
            let of_mixture: f64 = run(&losses, rate, 0.0)
                .iter()
                .zip(&losses)
                .map(|(weights, losses)| weights.iter().zip(losses).map(|(weight, loss)| weight * loss).sum::<f64>())
                .sum();
            let total = |expert: usize| losses.iter().map(|losses| losses[expert]).sum::<f64>();
            let best = (0..losses[0].len()).map(total).fold(f64::INFINITY, f64::min);
            let range = |losses: &Vec<f64>| {
                let most = losses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                most - losses.iter().copied().fold(f64::INFINITY, f64::min)
            };
            let squares: f64 = losses.iter().map(|losses| range(losses).powi(2)).sum();
            let bound = (losses[0].len() as f64).ln() / rate + rate / 8.0 * squares;
            prop_assert!(of_mixture - best <= bound + 1e-9, "{} above {best}, bound {bound}", of_mixture - best);
        }

        #[test]
        fn weights_are_shares(
            (weights, losses) in (1usize..6).prop_flat_map(|experts| {
                (prop::collection::vec(0.0f64..1.0, experts), prop::collection::vec(0.0f64..50.0, experts))
            }),
            rate in 0.0f64..1e4,
            share in 0.0f64..=1.0,
        ) {
            let next = hedge(&weights, &losses, rate, share);
            prop_assert!((next.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(next.iter().all(|weight| *weight >= share / next.len() as f64 - 1e-12));
        }
    }

    /// For forty periods the first expert is better, then the second.
    #[test]
    fn a_shared_weight_recovers_after_drift() {
        let losses = |period: usize| if period < 40 { vec![0.50, 0.52] } else { vec![0.52, 0.50] };
        let losses: Vec<Vec<f64>> = (0..60).map(losses).collect();
        let turned = |share| {
            let weights = run(&losses, 100.0, share);
            assert!(weights[39][0] > 0.9, "{:?}", weights[39]);
            weights.iter().skip(40).position(|weights| weights[1] > 0.5)
        };
        // ln(0.99 / 0.01) / 2, a power of e squared per period: three periods.
        assert_eq!(turned(0.02), Some(3));
        assert_eq!(turned(0.0), None, "without sharing it takes as long as it was behind");
    }

    #[test]
    fn a_rate_of_nought_changes_nothing_and_a_great_one_follows_the_leader() {
        assert_eq!(hedge(&[0.25, 0.75], &[0.1, 9.0], 0.0, 0.0), [0.25, 0.75]);
        assert_eq!(hedge(&[0.25, 0.75], &[0.1, 9.0], 1e6, 0.0), [1.0, 0.0]);
        assert_eq!(hedge(&[0.0, 1.0], &[0.1, 9.0], 1e6, 0.0), [0.5, 0.5], "nobody has any weight left");
        let mut stream = Stream::new(&[1]);
        let losses: Vec<f64> = (0..3).map(|_| stream.unit_f64()).collect();
        assert_eq!(hedge(&[0.2, 0.3, 0.5], &losses, 5.0, 1.0), [1.0 / 3.0; 3]);
    }
}
