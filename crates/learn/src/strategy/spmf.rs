//! Replay from a reservoir, SPMF (Wang et al., "Streaming Ranking Based Recommender Systems", SIGIR 2018), in the form
//! that ASMG compares with (Peng et al., RecSys 2021).
//!
//! A reservoir of positives and one of negatives hold uniform samples of all that was seen. Positives that the model,
//! as it was before the update, ranks badly are replayed with preference: of n, the one with rank r (0 = highest score)
//! has weight `exp(r / n)`, so that the worst is e times as likely as the best. Negatives are drawn uniformly. The model
//! goes on from the previous version.
//!
//! Departures: reservoirs hold the examples themselves, so memory is fixed and no old period is read again; of two
//! newcomers of one period the later may take the place of the earlier, which keeps inclusion exactly uniform.

use crate::memory::Pieces;
use crate::order::Order;
use crate::reservoir::{Place, Reservoir, append, draw};
use crate::scoring::score;
use crate::trainer::{admit, encode_parts, fit_encoded};
use crate::{Env, LearnError, Learned, Trained};
use perennial_core::rng::hash_text;
use perennial_core::{Examples, FeatureSet, Stream};
use perennial_stream::SeenPeriod;
use serde::{Deserialize, Serialize};

/// Options of SPMF.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spmf {
    /// Size of the reservoirs as a share of the positives and negatives of pre-training, from 0 to 1.
    pub fraction: f64,
    /// Examples replayed for each new one of the same class. Not used where `sampling = "sampled"`.
    pub ratio: f64,
    /// What is trained on.
    pub sampling: Sampling,
    /// Whether examples are shuffled; otherwise they are met in order of time, replayed ones first.
    pub shuffle: bool,
}

/// What is trained on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// What is replayed and all of the newest period, as in ASMG's tables.
    #[default]
    ReplayAndAll,
    /// As many of each class as the newest period holds, drawn from it and the reservoir together, as in the paper of
    /// SPMF.
    Sampled,
}

impl Default for Spmf {
    fn default() -> Self {
        // ASMG's code on MovieLens. It uses 0.1 and 0.01 on Tmall, 1.0 and 0.1 on Sobazaar, and never shuffles.
        Spmf { fraction: 0.3, ratio: 0.5, sampling: Sampling::ReplayAndAll, shuffle: false }
    }
}

/// What is remembered from one period to the next.
#[derive(Debug, Clone)]
pub struct Memory {
    positives: Reservoir,
    negatives: Reservoir,
}

impl Spmf {
    pub(super) fn check(&self) -> Result<(), LearnError> {
        let fail = |key: &str, problem: &str| Err(LearnError::Config { key: key.into(), problem: problem.into() });
        match () {
            _ if !(0.0..=1.0).contains(&self.fraction) => fail("fraction", "a share lies between 0 and 1"),
            _ if !(self.ratio >= 0.0 && self.ratio.is_finite()) => fail("ratio", "a ratio is finite and at least 0"),
            _ => Ok(()),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self.sampling {
            Sampling::ReplayAndAll => {
                format!("warm start, newest period and {} times as many replayed (SPMF)", self.ratio)
            }
            Sampling::Sampled => "warm start, sampled from the newest period and a reservoir (SPMF)".into(),
        }
    }

    pub(super) fn update(
        &self,
        mut learned: Learned,
        seen: &SeenPeriod,
        env: &Env<'_>,
    ) -> Result<(Learned, Trained), LearnError> {
        let features = learned.servable.encoder.features().clone();
        let mut memory = match std::mem::take(&mut learned.memory) {
            crate::Memory::Spmf(memory) => *memory,
            _ => self.first(seen, &features, env)?,
        };
        let new = Newest::of(seen);
        let stream =
            |purpose: &str| Stream::new(&[env.seed, hash_text("spmf"), seen.index() as u64, hash_text(purpose)]);
        let positives = self.draw_positives(&memory, &new, &learned, &features, &mut stream("positives"), env)?;
        let negatives = self.draw_negatives(&memory, &new, &mut stream("negatives"));
        let replayed = replayed(&memory, &positives.residents, &negatives.residents, &features);
        let sampled = new.select(positives.newest, negatives.newest, &features);
        admit(&mut learned, &[seen]);
        let newest = match self.sampling {
            Sampling::ReplayAndAll => new.parts.clone(),
            Sampling::Sampled => vec![&sampled],
        };
        let data = encode_parts(&learned.servable, [&replayed].into_iter().chain(newest))?;
        memory.positives.offer(&new.parts, &new.positives, &features, &mut stream("positives enter"));
        memory.negatives.offer(&new.parts, &new.negatives, &features, &mut stream("negatives enter"));
        let order = if self.shuffle { Order::Shuffled } else { Order::AsGiven };
        let (mut learned, trained) = fit_encoded(learned, &data, order, env.training.epochs, seen.index() as u32, env)?;
        learned.memory = crate::Memory::Spmf(Box::new(memory));
        Ok((learned, trained))
    }

    /// Reservoirs of pre-training's examples.
    fn first(&self, seen: &SeenPeriod, features: &FeatureSet, env: &Env<'_>) -> Result<Memory, LearnError> {
        let pretraining = (env.pretraining)()?;
        let all = Newest::of(&pretraining);
        let sample = |places: &[Place], purpose: &str| {
            let stream = &mut Stream::new(&[env.seed, hash_text("spmf"), seen.index() as u64, hash_text(purpose)]);
            let size = (self.fraction * places.len() as f64) as usize;
            Reservoir::new(&all.parts, places, size, features, stream)
        };
        let positives = sample(&all.positives, "first positives");
        Ok(Memory { positives, negatives: sample(&all.negatives, "first negatives") })
    }

    /// Positives for training, those that `learned` ranks badly with preference.
    fn draw_positives(
        &self,
        memory: &Memory,
        new: &Newest<'_>,
        learned: &Learned,
        features: &FeatureSet,
        stream: &mut Stream,
        env: &Env<'_>,
    ) -> Result<Drawn, LearnError> {
        let residents = &memory.positives.examples;
        let mut ranked = vec![residents];
        let newest = new.select(new.positives.clone(), Vec::new(), features);
        if self.sampling == Sampling::Sampled {
            ranked.push(&newest);
        }
        let logits = score(learned.servable.serving(), ranked, env.workers)?;
        let drawn = draw(&rank_weights(&logits), self.count(new.positives.len()), stream);
        Ok(Drawn::of(drawn, residents.len(), &new.positives))
    }

    fn draw_negatives(&self, memory: &Memory, new: &Newest<'_>, stream: &mut Stream) -> Drawn {
        let residents = memory.negatives.examples.len();
        let candidates = match self.sampling {
            Sampling::ReplayAndAll => residents,
            Sampling::Sampled => residents + new.negatives.len(),
        };
        let drawn = draw(&vec![1.0; candidates], self.count(new.negatives.len()), stream);
        Drawn::of(drawn, residents, &new.negatives)
    }

    /// Examples of a class to draw, for so many new ones.
    fn count(&self, new: usize) -> usize {
        match self.sampling {
            Sampling::ReplayAndAll => (self.ratio * new as f64) as usize,
            Sampling::Sampled => new,
        }
    }

    /// What [`Memory::pieces`] stored.
    pub(super) fn restore(&self, mut pieces: Pieces) -> Result<Memory, LearnError> {
        let positives = Reservoir::from_pieces(pieces.take_all("positives"))?;
        Ok(Memory { positives, negatives: Reservoir::from_pieces(pieces.take_all("negatives"))? })
    }
}

impl Memory {
    pub(crate) fn pieces(&self) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.put_all("positives", self.positives.pieces());
        pieces.put_all("negatives", self.negatives.pieces());
        pieces
    }
}

/// A seen period by class.
struct Newest<'a> {
    parts: Vec<&'a Examples>,
    positives: Vec<Place>,
    negatives: Vec<Place>,
}

impl Newest<'_> {
    fn of(seen: &SeenPeriod) -> Newest<'_> {
        let parts: Vec<&Examples> = seen.parts().iter().map(|part| &**part).collect();
        let places = parts.iter().enumerate().flat_map(|(nth, part)| (0..part.len() as u32).map(move |row| (nth, row)));
        let (positives, negatives) = places.partition(|&(nth, row)| parts[nth].label[row as usize] > 0.5);
        Newest { parts, positives, negatives }
    }

    /// Some of its examples, in their order.
    fn select(&self, positives: Vec<Place>, negatives: Vec<Place>, features: &FeatureSet) -> Examples {
        let mut places = [positives, negatives].concat();
        places.sort_unstable();
        let mut selected = Examples::empty(features);
        append(&mut selected, &self.parts, &places, features);
        selected
    }
}

/// What was drawn of one class.
struct Drawn {
    /// Places in the reservoir.
    residents: Vec<u32>,
    /// Of the newest period.
    newest: Vec<Place>,
}

impl Drawn {
    /// Of the residents of a reservoir, followed by the newest examples of the class.
    fn of(drawn: Vec<u32>, residents: usize, newest: &[Place]) -> Drawn {
        let (old, new): (Vec<u32>, Vec<u32>) = drawn.into_iter().partition(|&at| (at as usize) < residents);
        Drawn { residents: old, newest: new.into_iter().map(|at| newest[at as usize - residents]).collect() }
    }
}

/// Examples of both reservoirs, in order of time.
fn replayed(memory: &Memory, positives: &[u32], negatives: &[u32], features: &FeatureSet) -> Examples {
    let mut both = Examples::empty(features);
    both.append(&memory.positives.examples, positives, features);
    both.append(&memory.negatives.examples, negatives, features);
    let mut order: Vec<u32> = (0..both.len() as u32).collect();
    order.sort_by_key(|&at| (both.time[at as usize], both.event[at as usize]));
    both.select(&order)
}

/// `exp(r / n)` for the logit of rank r among n, 0 for the highest; of equal ones the first ranks first.
fn rank_weights(logits: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    let mut weights = vec![0.0; logits.len()];
    for (rank, at) in order.into_iter().enumerate() {
        weights[at] = (rank as f64 / logits.len() as f64).exp();
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_the_score_the_heavier() {
        let weights = rank_weights(&[0.5, -3.0, 9.0, 0.5]);
        // Ranks 1, 3, 0, 2 of 4.
        assert_eq!(weights, [0.25f64, 0.75, 0.0, 0.5].map(f64::exp));
    }
}
