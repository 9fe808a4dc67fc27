//! The one training loop.

use crate::descent::Descent;
use crate::order::{Order, pieces, shuffled};
use crate::pass::Pass;
use crate::previous::PreviousScores;
use crate::{Env, LearnError, Learned};
use perennial_core::rng::{hash_parts, hash_text};
use perennial_core::{Encoded, Examples, Stream};
use perennial_eval::GateDecision;
use perennial_model::{Group, ModelSpec, Objective, Optimisers, Servable};
use perennial_nn::Workers;
use perennial_nn::optim::{Optimiser, Override, Rule};
use perennial_stream::SeenPeriod;
use perennial_table::{RowMode, Table};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Settings of the training loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Examples per step.
    pub batch_size: usize,
    /// Passes over the data of an update.
    pub epochs: u32,
    /// Passes over the data of pre-training.
    pub pretrain_epochs: u32,
    /// The loss.
    pub objective: Objective,
    /// Where the earlier scores come from that some terms of the loss compare with.
    pub previous: PreviousScores,
    /// Share of the examples without a click that is trained on; scores are [put right](crate::Thinning).
    #[serde(skip_serializing_if = "is_one")]
    pub negatives_kept: f64,
    /// The optimiser of dense tensors and rows.
    pub optimiser: Optimiser,
    /// What groups of parameters do otherwise: `embeddings`, `linear`, `deep`. L2 of tables pulls on all their rows at
    /// every step: with rows in dense parity each missed step is replayed, bit for bit; lazy rows catch up by the product
    /// of the factors, which exists under SGD alone, so that under other rules L2 is refused there and decoupled decay is
    /// what can be had.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<Group, Override>,
    /// Which rows a step moves.
    pub rows: RowMode,
    /// Gradients are scaled down to this global norm; not at all if absent.
    pub clip_norm: Option<f32>,
    /// Parts of a batch that are computed apart. Results depend on it, unlike on the number of workers.
    pub shards: usize,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        TrainingConfig {
            batch_size: 1024,
            epochs: 1,
            pretrain_epochs: 1,
            objective: Objective::BCE,
            previous: PreviousScores::Logged,
            negatives_kept: 1.0,
            // Adam with the rate of its paper: rarely the best, never far off.
            optimiser: Optimiser::new(Rule::ADAM, 1e-3),
            groups: BTreeMap::new(),
            rows: RowMode::Lazy,
            clip_norm: None,
            // Four shards keep up to four cores busy, and 256 examples are still enough for a fast matmul.
            shards: 4,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_one(share: &f64) -> bool {
    *share == 1.0
}

impl TrainingConfig {
    /// Refuses settings that cannot work.
    pub fn check(&self) -> Result<(), LearnError> {
        let fail = |key: &str, problem: &str| Err(LearnError::Config { key: key.into(), problem: problem.into() });
        match () {
            _ if self.batch_size == 0 => fail("training.batch_size", "a batch holds at least one example"),
            _ if self.shards == 0 => fail("training.shards", "a batch is computed in at least one part"),
            _ if self.epochs == 0 || self.pretrain_epochs == 0 => {
                fail("training.epochs", "at least one pass is needed")
            }
            _ if self.clip_norm.is_some_and(|norm| !(norm > 0.0 && norm.is_finite())) => {
                fail("training.clip_norm", "the norm must be positive and finite")
            }
            _ if !(self.negatives_kept > 0.0 && self.negatives_kept <= 1.0) => {
                fail("training.negatives_kept", "a share lies above 0 and is at most 1")
            }
            _ if self.shards > 1024 => fail("training.shards", "at most 1024 parts are possible"),
            _ => self.optimisers().map(drop),
        }
    }

    /// The optimiser of each group.
    pub fn optimisers(&self) -> Result<Optimisers, LearnError> {
        Optimisers::new(self.optimiser, &self.groups).map_err(|(group, error)| LearnError::Config {
            key: format!("training.groups.{}", group.name()),
            problem: error.to_string(),
        })
    }

    /// Refuses a group that the model has no parameters of.
    pub(crate) fn check_groups(&self, spec: &ModelSpec) -> Result<(), LearnError> {
        let has = Group::of_model(spec);
        match self.groups.keys().find(|group| !has.contains(group)) {
            None => Ok(()),
            Some(group) => Err(LearnError::Config {
                key: format!("training.groups.{}", group.name()),
                problem: format!(
                    "the model has no such parameters; it has: {}",
                    has.iter().map(|group| group.name()).collect::<Vec<_>>().join(", ")
                ),
            }),
        }
    }

    /// The same with another learning rate; those of groups change in proportion. There is none to a rate of zero, beside
    /// which groups keep theirs.
    pub(crate) fn at_rate(&self, learning_rate: f64) -> TrainingConfig {
        let shared = self.optimiser.learning_rate;
        let factor = if shared > 0.0 { learning_rate / shared } else { 1.0 };
        let mut changed = self.with_rates(|own| own * factor);
        changed.optimiser.learning_rate = learning_rate;
        changed
    }

    /// The same with every learning rate, the shared one and those of groups, changed alike.
    pub(crate) fn with_rates(&self, change: impl Fn(f64) -> f64) -> TrainingConfig {
        let mut changed = self.clone();
        let groups = changed.groups.values_mut().filter_map(|group| group.learning_rate.as_mut());
        groups.chain([&mut changed.optimiser.learning_rate]).for_each(|rate| *rate = change(*rate));
        changed
    }
}

/// What an update did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// Examples trained on, counted once per pass.
    pub rows: u64,
    /// Steps of the optimiser.
    pub steps: u64,
    /// Mean loss over the last pass; `None` if nothing was trained on.
    pub loss: Option<f64>,
    /// Mean loss of what a generator made, over its last pass; `None` where none was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_loss: Option<f64>,
    /// What the gate decided for the next period; `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateDecision>,
}

/// Pre-training: `blank` is trained on everything before the loop begins.
pub fn pretrain(blank: Learned, seen: &SeenPeriod, env: &Env<'_>) -> Result<(Learned, Trained), LearnError> {
    fit(blank, &[seen], env.training.pretrain_epochs, seen.index() as u32, env)
}

/// Trains `learned` on all examples of `periods`, shuffled together, for a number of epochs. The order of examples is
/// keyed by (seed, period, epoch): strategies that train on the same examples meet them in the same order.
pub(crate) fn fit(
    mut learned: Learned,
    periods: &[&SeenPeriod],
    epochs: u32,
    period: u32,
    env: &Env<'_>,
) -> Result<(Learned, Trained), LearnError> {
    admit(&mut learned, periods);
    let data = encode(&learned.servable, periods)?;
    fit_encoded(learned, &data, Order::Shuffled, epochs, period, env)
}

/// Trains `learned` on `data`, encoded by it after it has [admitted](admit) all ids that it shall have rows for.
pub(crate) fn fit_encoded(
    mut learned: Learned,
    data: &Encoded,
    ordered: Order,
    epochs: u32,
    period: u32,
    env: &Env<'_>,
) -> Result<(Learned, Trained), LearnError> {
    let mut trainer = Trainer::new(env.training, env.seed);
    let mut trained = Trained::default();
    for number in 0..epochs {
        let epoch = Epoch { period, number, of: epochs, ordered };
        trainer.epoch(&mut learned, data, epoch, &mut trained, env.workers, env.progress)?;
    }
    settle(&mut learned);
    Ok((learned, trained))
}

/// One of the passes of an update over its data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epoch {
    /// Period of the update, by which the order of examples is keyed.
    pub(crate) period: u32,
    /// Which pass, from 0.
    pub(crate) number: u32,
    /// Passes in all, for those who watch.
    pub(crate) of: u32,
    /// In which order examples are met.
    pub(crate) ordered: Order,
}

/// Makes all rows see the steps that they missed, and clones cheap: what ends a stretch of training.
pub(crate) fn settle(learned: &mut Learned) {
    learned.servable.params.tables.iter_mut().for_each(Table::settle);
    learned.servable.params.share();
}

/// What a step on a batch gave.
pub(crate) struct Stepped {
    /// Mean loss before the step; no number if something broke.
    pub(crate) loss: f64,
    /// Weight of the batch.
    pub(crate) weight: f64,
    /// Number of the step, from 1 over the life of what is trained.
    pub(crate) number: u64,
}

/// Calls `step` with each batch of `data`, as [`one_pass`] does, pass after pass. The order of examples is keyed by the seed,
/// the period and the number of the pass, one of `epochs`.
pub(crate) fn each_batch(
    data: &Encoded,
    ordered: Order,
    epochs: Range<u32>,
    period: u32,
    env: &Env<'_>,
    mut step: impl FnMut(&Encoded, &[u32]) -> Stepped,
) -> Result<Trained, LearnError> {
    let mut trained = Trained::default();
    let of = epochs.end - epochs.start;
    for number in epochs {
        let epoch = Epoch { period, number, of, ordered };
        one_pass(env.training, env.seed, data, epoch, &mut trained, env.progress, &mut step)?;
    }
    Ok(trained)
}

/// One pass: calls `step` with the examples in the order of the pass and each batch, a stretch of them. Adds to what was
/// `trained` and makes `loss` there the mean over this pass.
fn one_pass(
    config: &TrainingConfig,
    seed: u64,
    data: &Encoded,
    Epoch { period, number, of, ordered }: Epoch,
    trained: &mut Trained,
    progress: &dyn Fn(u64, u64) -> bool,
    mut step: impl FnMut(&Encoded, &[u32]) -> Stepped,
) -> Result<(), LearnError> {
    let by_request = config.objective.needs_requests();
    // Put in order once, a column at a time, which the cache can hold: in random order each batch would wait for a line
    // and a page of every column for each of its examples.
    let data = match ordered.name() {
        None => Cow::Borrowed(data),
        Some(name) => {
            let keys = [seed, hash_text(name), u64::from(period), u64::from(number)];
            Cow::Owned(data.select(&shuffled(data, by_request, &mut Stream::new(&keys))))
        }
    };
    let order: Vec<u32> = (0..data.len() as u32).collect();
    let batches = pieces(&data, &order, config.batch_size, by_request);
    let all_steps = u64::from(of) * batches.len() as u64;
    let mut sum = WeightedMean::default();
    for batch in batches {
        let batch = &order[batch];
        let Stepped { loss, weight, number: at } = step(&data, batch);
        if !loss.is_finite() {
            return Err(LearnError::NotFinite { period, epoch: number, step: at, loss });
        }
        sum.add(loss, weight);
        trained.rows += batch.len() as u64;
        trained.steps += 1;
        if !progress(trained.steps, all_steps) {
            return Err(LearnError::Stopped);
        }
    }
    trained.loss = sum.mean();
    Ok(())
}

/// Lets the encoder learn the ids of the periods that it has not observed yet, and gives them rows.
pub(crate) fn admit(learned: &mut Learned, periods: &[&SeenPeriod]) {
    let servable = &mut learned.servable;
    let parts = |period: &&SeenPeriod| period.parts().to_vec();
    let known = servable.encoder.observed();
    let new = periods.iter().filter(|period| known.is_none_or(|known| period.index() as u32 > known));
    let fresh: Vec<Arc<Examples>> = new.flat_map(parts).collect();
    let admitted = servable.encoder.observe(&fresh.iter().map(|part| &**part).collect::<Vec<_>>());
    if let Some(last) = periods.iter().map(|period| period.index() as u32).max() {
        servable.encoder.set_observed(known.map_or(last, |known| known.max(last)));
    }
    servable.params.grow(servable.backbone.spec(), &admitted);
}

/// The examples of seen periods in rows of the model's tables.
pub(crate) fn encode(servable: &Servable, periods: &[&SeenPeriod]) -> Result<Encoded, LearnError> {
    encode_parts(servable, periods.iter().flat_map(|period| period.parts()).map(|part| &**part))
}

/// Examples in rows of the model's tables, in order of parts.
pub(crate) fn encode_parts<'a>(
    servable: &Servable,
    parts: impl IntoIterator<Item = &'a Examples>,
) -> Result<Encoded, LearnError> {
    let mut data = Encoded::default();
    for part in parts {
        let columns = servable.encoder.encode(part)?;
        data.append(&Encoded::new(columns, part));
    }
    Ok(data)
}

#[derive(Default)]
struct WeightedMean {
    sum: f64,
    weight: f64,
}

impl WeightedMean {
    fn add(&mut self, mean: f64, weight: f64) {
        self.sum += mean * weight;
        self.weight += weight;
    }

    fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

/// Buffers of the training loop, reused from step to step.
pub struct Trainer<'a> {
    config: &'a TrainingConfig,
    optimisers: Optimisers,
    seed: u64,
    pass: Pass,
    descent: Descent,
}

impl<'a> Trainer<'a> {
    /// Empty buffers. Random choices within steps, such as dropout, are keyed by `seed` and the number of the step.
    pub fn new(config: &'a TrainingConfig, seed: u64) -> Trainer<'a> {
        let optimisers = config.optimisers().expect("settings are checked before they are used");
        Trainer { config, optimisers, seed, pass: Pass::new(config.shards), descent: Descent::default() }
    }

    /// One pass over `data`. Adds to what was `trained` and makes `loss` there the mean over this pass. Rows may have
    /// missed steps afterwards: [`settle`] before anything else looks at the tables.
    pub(crate) fn epoch(
        &mut self,
        learned: &mut Learned,
        data: &Encoded,
        epoch: Epoch,
        trained: &mut Trained,
        workers: &Workers,
        progress: &dyn Fn(u64, u64) -> bool,
    ) -> Result<(), LearnError> {
        one_pass(self.config, self.seed, data, epoch, trained, progress, |data, batch| {
            let (loss, weight) = self.step(learned, data, batch, workers);
            Stepped { loss, weight, number: learned.step }
        })
    }

    /// One step on the examples `batch` of `data`. Returns the mean loss before the step and the batch's weight; a
    /// batch of no weight moves nothing. The loss is NaN as well if a parameter is no longer finite after the step.
    pub fn step(&mut self, learned: &mut Learned, data: &Encoded, batch: &[u32], workers: &Workers) -> (f64, f64) {
        let normaliser = self.pass.split(data, batch, &self.config.objective);
        if normaliser <= 0.0 {
            return (0.0, 0.0);
        }
        learned.step += 1;
        let steps = self.optimisers.steps(learned.step);
        let noise = Some(hash_parts(&[self.seed, hash_text("noise"), learned.step]));
        let Servable { backbone, params, .. } = &mut learned.servable;
        let (loss, finite) = workers.run(|| {
            self.pass.catch_up(backbone, &mut params.tables, &data.columns, workers);
            let objective = self.config.objective;
            let loss = self.pass.differentiate(backbone, params, &data.columns, objective, normaliser, noise, workers);
            self.pass.update_statistics(backbone, &mut params.statistics);
            let clip = self.config.clip_norm;
            (loss, self.descent.step((params, backbone.spec()), &self.pass, &steps, clip, workers))
        });
        (if finite { loss } else { f64::NAN }, normaliser)
    }
}
