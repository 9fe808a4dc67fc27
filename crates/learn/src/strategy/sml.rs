//! A learned transfer from version to version, SML (Zhang et al., "How to Retrain Recommender System? A Sequential
//! Meta-Learning Method", SIGIR 2020), in its own form and in the one that ASMG compares with (Peng et al., RecSys 2021).
//!
//! What is served is made by [transfer networks](perennial_model::transfer) `F` of two versions: the previous one and an
//! updated one. When the examples `D_t` of a period are known,
//!
//! ```text
//! F        is trained on D_t, both versions fixed: it learns what makes the next period's model
//! previous := F(previous, updated), and so is updated: what is transferred is what training goes on from
//! updated  is trained on D_t through the fixed F
//! F(previous, updated)  is served
//! ```
//!
//! One round of this is ASMG's comparison. SML itself repeats it: in each further round the updated version is trained
//! on `D_(t-1)` through the new `F`, then `F` on `D_t`. Its published code has 10 rounds on one log and 7 on another, networks
//! with hidden layers of 512 over matrix factorisation without biases, a curve by sigmoids, and a product through which no
//! gradient reaches the updated version: `rounds = 10` and `transfer = { gelu = "sigmoid", detach_product = true, ... }`.
//!
//! The optimiser of the networks and that of the updated version keep their state over periods.
//!
//! Departures: ids that are not there yet have no rows, so that what is made of one at scoring is `F` of its first
//! value, once, and not once per period since the beginning. SML's code restores what scored best on the next period;
//! here the last pass counts. And, unless `transfer.output = "plain"`, networks begin as the identity of the updated version
//! and learn what to add to it. The papers' plain ones begin as a random map, through which the first updated version is
//! trained, and nothing keeps what they make of a version and itself, from which each period goes on, near that version:
//! without thousands of steps per period they are lost (RESULTS.md). Residual ones are not safe from that either, if they
//! are trained for many passes at a high rate.

use crate::descent::Descent;
use crate::memory::Pieces;
use crate::meta::{Through, Transferring, move_all};
use crate::order::Order;
use crate::remembered::{Remembered, bytes_of};
use crate::trainer::{Stepped, admit, each_batch, encode};
use crate::{Env, LearnError, Learned, Trained};
use perennial_core::Encoded;
use perennial_core::rng::{hash_parts, hash_text};
use perennial_model::generator::Newborn;
use perennial_model::transfer::{Transfer, TransferConfig, Wanted};
use perennial_model::{Generated, ModelSpec, Params, Servable};
use perennial_nn::optim::{Optimiser, Rule};
use perennial_stream::SeenPeriod;
use perennial_table::Table;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Options of SML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sml {
    /// How often networks and updated version are trained in turn. 1 in ASMG's comparison, up to 10 in SML's.
    pub rounds: u32,
    /// The networks.
    pub transfer: TransferConfig,
    /// The optimiser of the networks, whose state is carried over periods.
    pub optimiser: Optimiser,
    /// Passes of the networks over a period in a round. Those of the updated version are `training.epochs`.
    pub epochs: u32,
    /// Learning rate of the updated version; that of `training.optimiser` if absent.
    pub base_learning_rate: Option<f64>,
}

impl Default for Sml {
    fn default() -> Self {
        Sml {
            rounds: 1,
            transfer: TransferConfig::default(),
            // SML's own, and that of ASMG's comparison on two logs of three. With 1e-2, as on the third, units of small
            // towers die when networks are trained for many steps.
            optimiser: Optimiser::new(Rule::ADAM, 1e-3),
            epochs: 1,
            base_learning_rate: None,
        }
    }
}

/// What is remembered from one period to the next, beside the updated version, which is the base model.
#[derive(Debug, Clone)]
pub struct Memory {
    previous: Params,
    transfer: Transfer,
    counters: Counters,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counters {
    /// Of the networks' optimiser.
    steps: u64,
}

impl Sml {
    pub(super) fn check(&self) -> Result<(), LearnError> {
        let fail = |key: &str, problem: &str| Err(LearnError::Config { key: key.into(), problem: problem.into() });
        match () {
            _ if !(1..=1000).contains(&self.rounds) => fail("rounds", "from 1 to 1000 rounds are possible"),
            _ if self.epochs == 0 => fail("epochs", "at least one pass is needed"),
            _ if self.base_learning_rate.is_some_and(|rate| !(rate >= 0.0 && rate.is_finite())) => {
                fail("base_learning_rate", "a learning rate is a positive number")
            }
            _ => Ok(self.transfer.check()?),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self.rounds {
            1 => "parameters transferred from the previous version and the updated one (SML)".into(),
            rounds => {
                format!("parameters transferred from the previous version and the updated one, {rounds} rounds (SML)")
            }
        }
    }

    /// Earlier periods that an update needs again.
    pub(super) fn reach(&self) -> usize {
        usize::from(self.rounds > 1)
    }

    /// Passes over whole periods in the `nth` update (from 0), of the networks and of the updated version in further rounds:
    /// how many periods before the newest. There is nothing to transfer in the first.
    pub(super) fn generator_passes(&self, nth: usize, epochs: u32) -> Vec<usize> {
        let newest = vec![0; (self.rounds * self.epochs) as usize];
        let before = vec![1; ((self.rounds - 1) * epochs) as usize];
        if nth == 0 { Vec::new() } else { [newest, before].concat() }
    }

    /// What it remembers: the previous version, and the networks with the state of their optimiser.
    pub(crate) fn remembered(&self, learned: &Learned) -> Result<Remembered, LearnError> {
        let Servable { backbone, params, .. } = &learned.servable;
        let transfer = Transfer::new(&self.transfer, backbone.spec(), &self.optimiser, 0)?;
        Ok(Remembered::generator(bytes_of(&transfer.weights), params, 1))
    }

    pub(super) fn update(
        &self,
        mut learned: Learned,
        seen: &SeenPeriod,
        env: &Env<'_>,
    ) -> Result<(Learned, Trained), LearnError> {
        if seen.parts().iter().all(|part| part.is_empty()) {
            return Ok((learned, Trained::default()));
        }
        let memory = std::mem::take(&mut learned.memory);
        learned.generated = None;
        admit(&mut learned, &[seen]);
        let data = encode(&learned.servable, &[seen])?;
        let (period, mut trained) = (seen.index() as u32, Trained::default());
        let mut memory = match memory {
            crate::Memory::Sml(memory) => self.alternate(*memory, &mut learned, &data, period, env, &mut trained)?,
            _ => self.blank(&learned, env)?,
        };
        memory.previous = shared_values(&mut learned.servable.params);
        self.train_updated(&memory, &mut learned, &data, (period, 0..env.training.epochs), env, &mut trained)?;
        let mut params = memory.transfer.make(&memory.previous, &learned.servable.params, env.workers);
        params.share();
        let newborn = Newborn::Transferred(Arc::new(memory.transfer.values_only()));
        learned.generated = Some(Generated { params, newborn });
        learned.memory = crate::Memory::Sml(Box::new(memory));
        Ok((learned, trained))
    }

    fn blank(&self, learned: &Learned, env: &Env<'_>) -> Result<Memory, LearnError> {
        let spec = learned.servable.backbone.spec();
        let transfer = Transfer::new(&self.transfer, spec, &self.optimiser, env.seed)?;
        Ok(Memory { previous: Params::default(), transfer, counters: Counters::default() })
    }

    /// Trains the networks on the newest period, in turn with the updated version on the one before, and replaces the
    /// updated version by what they make.
    fn alternate(
        &self,
        mut memory: Memory,
        learned: &mut Learned,
        data: &Encoded,
        period: u32,
        env: &Env<'_>,
        trained: &mut Trained,
    ) -> Result<Memory, LearnError> {
        memory.previous.grow_to(learned.servable.backbone.spec(), &learned.servable.encoder);
        let before = match self.rounds {
            1 => Encoded::default(),
            _ => encode(&learned.servable, &[&env.archive.seen(period - 1)?])?,
        };
        for round in 0..self.rounds {
            if round > 0 {
                let passes = round * env.training.epochs..(round + 1) * env.training.epochs;
                self.train_updated(&memory, learned, &before, (period - 1, passes), env, trained)?;
            }
            self.train_transfer(&mut memory, learned, data, (period, round), env, trained)?;
        }
        let params = &mut learned.servable.params;
        let made = memory.transfer.make(&memory.previous, params, env.workers);
        replace(params, &made);
        Ok(memory)
    }

    /// Trains the networks to make, of two versions that are fixed, one that is good on `data`.
    fn train_transfer(
        &self,
        memory: &mut Memory,
        learned: &Learned,
        data: &Encoded,
        (period, round): (u32, u32),
        env: &Env<'_>,
        trained: &mut Trained,
    ) -> Result<(), LearnError> {
        let Servable { backbone, params: updated, .. } = &learned.servable;
        let Memory { previous, transfer, counters } = memory;
        let mut transferring = Transferring::new(env.training.shards, updated.tables.len());
        let passes = round * self.epochs..(round + 1) * self.epochs;
        let done = each_batch(data, Order::Meta, passes, period, env, |data, batch| {
            counters.steps += 1;
            let (loss, finite) = env.workers.run(|| {
                transferring.select(backbone, &updated.tables, data, batch);
                let through = Through { transfer, previous, updated, backbone };
                let (data, objective) = ((data, batch), env.training.objective);
                // Without noise: what is made is served, so it is made for layers as they are in serving.
                let loss = transferring.differentiate(through, data, objective, Wanted::Transfer, None, env.workers);
                let step = self.optimiser.step(counters.steps, self.optimiser.learning_rate);
                (loss, move_all(&mut transfer.weights, transferring.by_weights(), &step, env.workers))
            });
            Stepped { loss: if finite { loss } else { f64::NAN }, weight: weight(data, batch), number: counters.steps }
        })?;
        trained.rows += done.rows;
        trained.generator_loss = done.loss;
        Ok(())
    }

    /// Trains the updated version so that what the fixed networks make of it is good on `data`. A batch of no weight
    /// moves nothing.
    fn train_updated(
        &self,
        memory: &Memory,
        learned: &mut Learned,
        data: &Encoded,
        (period, passes): (u32, Range<u32>),
        env: &Env<'_>,
        trained: &mut Trained,
    ) -> Result<(), LearnError> {
        let Memory { previous, transfer, .. } = memory;
        let Learned { servable: Servable { backbone, params, .. }, step: number, .. } = learned;
        let training = self.base_learning_rate.map_or_else(|| env.training.clone(), |rate| env.training.at_rate(rate));
        let optimisers = training.optimisers()?;
        let mut transferring = Transferring::new(env.training.shards, params.tables.len());
        let mut descent = Descent::default();
        let done = each_batch(data, Order::Shuffled, passes, period, env, |data, batch| {
            let weight = weight(data, batch);
            if weight <= 0.0 {
                return Stepped { loss: 0.0, weight, number: *number };
            }
            *number += 1;
            let steps = optimisers.steps(*number);
            let noise = Some(hash_parts(&[env.seed, hash_text("noise"), *number]));
            let (loss, finite) = env.workers.run(|| {
                transferring.select(backbone, &params.tables, data, batch);
                transferring.catch_up(&mut params.tables, env.workers);
                let through = Through { transfer, previous, updated: params, backbone };
                let (data, objective) = ((data, batch), env.training.objective);
                let loss = transferring.differentiate(through, data, objective, Wanted::Updated, noise, env.workers);
                transferring.update_statistics(backbone, &mut params.statistics);
                (loss, descent.step((params, backbone.spec()), &transferring, &steps, training.clip_norm, env.workers))
            });
            Stepped { loss: if finite { loss } else { f64::NAN }, weight, number: *number }
        })?;
        params.tables.iter_mut().for_each(Table::settle);
        params.share();
        trained.rows += done.rows;
        trained.steps += done.steps;
        trained.loss = done.loss;
        Ok(())
    }

    /// What [`Memory::pieces`] stored.
    pub(super) fn restore(&self, mut pieces: Pieces, spec: &ModelSpec) -> Result<Memory, LearnError> {
        let counters = pieces.take_json("counters")?;
        let mut previous = pieces.take_params("previous")?;
        previous.share();
        let transfer = Transfer::with_weights(&self.transfer, spec, pieces.take_params("transfer")?.dense)?;
        Ok(Memory { previous, transfer, counters })
    }
}

impl Memory {
    pub(crate) fn pieces(&self) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.put_json("counters", &self.counters);
        pieces.put_params("previous", self.previous.clone());
        pieces.put_params("transfer", Params { dense: self.transfer.weights.clone(), ..Params::default() });
        pieces
    }
}

/// The weight of the examples of a batch.
fn weight(data: &Encoded, batch: &[u32]) -> f64 {
    batch.iter().map(|&i| f64::from(data.weight[i as usize])).sum()
}

/// The values of `params`, on shared pages.
fn shared_values(params: &mut Params) -> Params {
    params.share();
    params.values_only()
}

/// Replaces values, and leaves the optimiser's slots. Rows that are what they were keep their pages.
fn replace(params: &mut Params, made: &Params) {
    for (dense, made) in params.dense.iter_mut().zip(&made.dense) {
        dense.values.copy_from_slice(&made.values);
    }
    for (table, made) in params.tables.iter_mut().zip(&made.tables) {
        for row in (0..table.rows()).filter(|row| *row != perennial_table::PAD) {
            if table.row(row) != made.row(row) {
                table.row_mut(row).copy_from_slice(made.row(row));
            }
        }
    }
}
