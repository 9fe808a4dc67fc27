//! Who takes part, and what scores for them.

use crate::experiment::Method;
use anyhow::Result;
use perennial_core::{Digest, DigestBuilder, Examples};
use perennial_learn::reference::{Constant, Popularity};
use perennial_learn::{Learned, Thinning};
use perennial_nn::Workers;
use perennial_stream::Inputs;

/// Who takes part.
#[derive(Clone, Copy)]
pub(super) enum Contestant<'a> {
    Constant,
    Popularity,
    Learner(&'a Method),
}

impl Contestant<'_> {
    pub(super) fn name(&self) -> &str {
        match self {
            Contestant::Constant => "constant",
            Contestant::Popularity => "popularity",
            Contestant::Learner(method) => &method.name,
        }
    }

    /// How many earlier periods an update asks for again.
    pub(super) fn reach(&self) -> usize {
        match self {
            Contestant::Constant | Contestant::Popularity => 0,
            Contestant::Learner(method) => method.strategy.reach(),
        }
    }

    /// A reference made of what the last period showed; `None` for a learner.
    pub(super) fn reference<'a>(&self, parts: impl IntoIterator<Item = &'a Examples> + Clone) -> Option<Model> {
        match self {
            Contestant::Constant => Some(Model::Constant(Constant::of(parts))),
            Contestant::Popularity => Some(Model::Popularity(Popularity::of(parts))),
            Contestant::Learner(_) => None,
        }
    }
}

/// What scores the next period.
pub(super) enum Model {
    Constant(Constant),
    Popularity(Popularity),
    Learned(Box<Learned>),
}

impl Model {
    /// Logits on the scale of the log; `thinning` is that of what learners were trained on.
    pub(super) fn score(&self, inputs: Inputs<'_>, thinning: Thinning, workers: &Workers) -> Result<Vec<f32>> {
        let examples = inputs.examples();
        Ok(match self {
            Model::Constant(constant) => constant.score(examples.len()),
            Model::Popularity(popularity) => popularity.score(&examples.item),
            Model::Learned(learned) => {
                let mut logits = learned.serving().score(&examples.keys, &examples.columns, examples.len(), workers)?;
                thinning.correct(&mut logits);
                logits
            }
        })
    }

    /// Names what scored: the content of a learned model; for a reference, which has no version, its name and period.
    pub(super) fn digest(&self, name: &str, period: u32) -> Digest {
        match self {
            Model::Learned(learned) => learned.digest(),
            Model::Constant(_) | Model::Popularity(_) => {
                DigestBuilder::new("reference").str(name).u64(u64::from(period)).finish()
            }
        }
    }
}
