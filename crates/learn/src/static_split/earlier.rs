//! Earlier scores of the examples of a static split: those that its rows came with or, where nothing was in service when
//! they were logged, of models made for the purpose (ReLoop, SIGIR 2022; its spec, section 2).

use super::{SplitEnv, SplitStep, StaticSplit, fit};
use crate::scoring::score;
use crate::{LearnError, TrainingConfig};
use perennial_core::Stream;
use perennial_core::rng::{hash_parts, hash_text};
use perennial_model::Objective;
use perennial_stream::SeenPeriod;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Who scored the training examples, or scores them now. Models that are made for it have the recipe of the one in question,
/// learn by cross-entropy under the same schedule, and have vocabularies of their own, of what they learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EarlierScores {
    /// What was in service when the rows were logged, as they say themselves.
    Logged,
    /// One model that learned from a random 90 % of them: the paper's protocol. Nine in ten scores are of examples that
    /// the model has seen, and more confident than a version in service would be.
    Recomputed,
    /// For each fold a model that learned from the others: out of sample, as what a version in service scores.
    OutOfFold {
        /// Number of folds. 5, so that each model learns from nearly as much as the one in question.
        #[serde(default = "five")]
        folds: u32,
    },
}

fn five() -> u32 {
    5
}

/// Which examples a model learns from and which it scores, by position, ascending.
#[derive(Debug, PartialEq)]
struct Share {
    learns: Vec<u32>,
    scores: Vec<u32>,
}

impl EarlierScores {
    /// Refuses settings that cannot work.
    pub fn check(&self) -> Result<(), LearnError> {
        match self {
            EarlierScores::OutOfFold { folds } if *folds < 2 => Err(LearnError::Config {
                key: "previous.out_of_fold.folds".into(),
                problem: format!("at least two folds are needed to score one by the others, got {folds}"),
            }),
            _ => Ok(()),
        }
    }

    /// For results: `recomputed`, `out of 5 folds`.
    pub fn describe(&self) -> String {
        match self {
            EarlierScores::Logged => "logged".into(),
            EarlierScores::Recomputed => "recomputed".into(),
            EarlierScores::OutOfFold { folds } => format!("out of {folds} folds"),
        }
    }

    /// The training examples with their earlier scores. Costs a training for each model; logged ones are there already.
    pub fn rescored(&self, split: StaticSplit<'_>, env: &SplitEnv<'_>) -> Result<SeenPeriod, LearnError> {
        self.check()?;
        let train = split.train;
        let Some(shares) = self.shares(train.rows(), env.seed)? else { return Ok(train.clone()) };
        let mut logits = vec![f32::NAN; train.rows()];
        for (nth, share) in (1..).zip(&shares) {
            let seed = hash_parts(&[env.seed, hash_text("earlier model"), u64::from(nth)]);
            let progress = |step| (env.progress)(SplitStep { earlier: Some((nth, shares.len() as u32)), ..step });
            // It has nothing earlier to compare with.
            let training = TrainingConfig { objective: Objective::BCE, ..env.training.clone() };
            let own = SplitEnv { training: &training, seed, progress: &progress, epoch: &|_| {}, ..*env };
            let fitted = fit(&select(train, &share.learns), split.valid, None, &own)?;
            let asked = select(train, &share.scores);
            let scored = score(fitted.learned.serving(), asked.parts().iter().map(|part| &**part), env.workers)?;
            share.scores.iter().zip(scored).for_each(|(&at, logit)| logits[at as usize] = logit);
        }
        let mut logits = logits.into_iter();
        train.rescored(|part| Ok(logits.by_ref().take(part.len()).collect()))
    }

    /// The shares, of which one scores each example; `None` where all were scored before.
    fn shares(&self, rows: usize, seed: u64) -> Result<Option<Vec<Share>>, LearnError> {
        let mut shuffled: Vec<u32> = (0..rows as u32).collect();
        Stream::new(&[seed, hash_text("earlier scores")]).shuffle(&mut shuffled);
        let sorted = |mut rows: Vec<u32>| {
            rows.sort_unstable();
            rows
        };
        Ok(match *self {
            EarlierScores::Logged => None,
            EarlierScores::Recomputed => {
                let learns = shuffled[..rows - rows / 10].to_vec();
                Some(vec![Share { learns: sorted(learns), scores: (0..rows as u32).collect() }])
            }
            EarlierScores::OutOfFold { folds } if (folds as usize) > rows => {
                let problem = format!("{rows} training examples cannot be cut into {folds} folds");
                return Err(LearnError::Config { key: "previous.out_of_fold.folds".into(), problem });
            }
            EarlierScores::OutOfFold { folds } => {
                let bound = |fold: usize| fold * rows / folds as usize;
                let fold = |fold: usize| {
                    let (from, to) = (bound(fold), bound(fold + 1));
                    let learns = [&shuffled[..from], &shuffled[to..]].concat();
                    Share { learns: sorted(learns), scores: sorted(shuffled[from..to].to_vec()) }
                };
                Some((0..folds as usize).map(fold).collect())
            }
        })
    }
}

/// The examples at these positions, ascending, counted over all parts.
fn select(train: &SeenPeriod, index: &[u32]) -> SeenPeriod {
    let (mut first, mut rest) = (0, index);
    let mut parts = Vec::with_capacity(train.parts().len());
    for part in train.parts() {
        let end = first + part.len() as u32;
        let (own, later) = rest.split_at(rest.partition_point(|&at| at < end));
        let own: Vec<u32> = own.iter().map(|at| at - first).collect();
        parts.push(Arc::new(part.select(&own)));
        (first, rest) = (end, later);
    }
    SeenPeriod::static_split(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_fold_is_scored_by_a_model_that_saw_it_and_none_is_left_out() {
        for (rows, folds) in [(103, 5), (10, 10), (7, 2)] {
            let shares = EarlierScores::OutOfFold { folds }.shares(rows, 3).unwrap().unwrap();
            let mut scored: Vec<u32> = shares.iter().flat_map(|share| share.scores.clone()).collect();
            scored.sort_unstable();
            assert_eq!(scored, (0..rows as u32).collect::<Vec<_>>());
            for share in &shares {
                assert!(share.scores.iter().all(|row| !share.learns.contains(row)));
                assert_eq!(share.learns.len() + share.scores.len(), rows);
                assert!(share.scores.len().abs_diff(rows / folds as usize) <= 1);
            }
        }
        assert!(EarlierScores::OutOfFold { folds: 8 }.shares(7, 3).is_err());
    }

    #[test]
    fn recomputed_scores_are_of_a_model_that_saw_nine_tenths() {
        let shares = EarlierScores::Recomputed.shares(1000, 3).unwrap().unwrap();
        assert_eq!((shares.len(), shares[0].learns.len(), shares[0].scores.len()), (1, 900, 1000));
        assert!(shares[0].learns.is_sorted());
        assert_ne!(shares, EarlierScores::Recomputed.shares(1000, 4).unwrap().unwrap());
    }
}
