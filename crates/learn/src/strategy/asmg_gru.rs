//! Adaptive sequential model generation with a recurrent generator, ASMG-GRU (Peng et al., RecSys 2021, section 4).
//!
//! The base model is updated incrementally, as by IU, and never sees what is generated. When a period closes, the
//! generator is trained: it reads the last `sequence` base models and is judged by what it generated after each on the
//! period that followed. Then it reads the newest base model and generates what is served.
//!
//! Departures: rows are generated only where a batch reads them; ids are born as they come (see [`Births`]), where the
//! published code has rows for all ids from the start; until the generator has been trained once, the base model is
//! served.

use crate::generated::past_of;
use crate::memory::Pieces;
use crate::meta::{Schedule, Sequence, StepLoss, Unrolled, Window, move_all};
use crate::remembered::{Remembered, bytes_of};
use crate::trainer::{encode, fit};
use crate::{Env, LearnError, Learned, Trained};
use perennial_core::Encoded;
use perennial_model::generator::{Generator, GeneratorConfig, Newborn, Recurrent, StateFormat, States, evolved};
use perennial_model::{Generated, ModelSpec, Params, Servable};
use perennial_nn::optim::{Optimiser, Rule};
use perennial_stream::SeenPeriod;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Options of ASMG-GRU. The defaults are those of the paper's experiments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AsmgGru {
    /// Which of the paper's methods.
    pub variant: Variant,
    /// Number of base models that are read; k in the paper, which finds 3 to 5 good. `full` reads all.
    pub sequence: u32,
    /// What the generator is.
    pub generator: GeneratorConfig,
    /// What the steps of a sequence count; the variant's own if absent.
    pub loss: Option<StepLoss>,
    /// The generator's optimiser, whose state is carried over periods.
    pub optimiser: Optimiser,
    /// Passes over the data of an update.
    pub epochs: u32,
    /// Examples of the newest period per step; the training loop's if absent.
    pub batch_size: Option<usize>,
    /// What rows that the newest period did not read become.
    pub inactive: Inactive,
    /// The state with which ids are born.
    pub births: Births,
    /// How states are kept between periods.
    pub states: StateFormat,
    /// Updates of the generator before what it makes is served.
    pub warm_up: u32,
}

/// The methods of the paper's tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// All steps count, linearly more (ASMG-GRUmulti).
    #[default]
    Multi,
    /// The last step counts (ASMG-GRUsingle).
    Single,
    /// All steps count alike (GRUunif).
    Unif,
    /// As multi, from a state of zeros in every period (GRUzero).
    Zero,
    /// As multi, over all models since the first update (GRUfull). Costs grow with the number of periods.
    Full,
}

/// What rows become that the newest period did not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inactive {
    /// Generated like all others, as in the paper: their values move although nothing was learned about them.
    #[default]
    Generate,
    /// Those of the base model.
    Copy,
}

/// The state with which an id is born that was not in the log when the sequence began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Births {
    /// Zeros.
    #[default]
    Fresh,
    /// That to which its first value would have led, had it been there all along: exactly what the published code has,
    /// whose rows are all there from the start. Keeps the generators of past periods, as far as tables are concerned.
    Evolved,
}

impl Default for AsmgGru {
    fn default() -> Self {
        AsmgGru {
            variant: Variant::Multi,
            sequence: 3,
            generator: GeneratorConfig::default(),
            loss: None,
            optimiser: Optimiser::new(Rule::ADAM, 1e-2),
            epochs: 1,
            batch_size: None,
            inactive: Inactive::Generate,
            births: Births::Fresh,
            states: StateFormat::F32,
            warm_up: 1,
        }
    }
}

/// What is remembered from one period to the next.
#[derive(Debug, Clone)]
pub struct Memory {
    window: Window,
    generator: Generator,
    /// The state before the first model of the window.
    start: Vec<States>,
    /// The generators that carried `start` from period to period, where births need them.
    past: Vec<Arc<Generator>>,
    counters: Counters,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counters {
    /// Steps of the generator's optimiser.
    steps: u64,
    /// Periods on which the generator was trained.
    updates: u32,
}

impl AsmgGru {
    pub(super) fn check(&self) -> Result<(), LearnError> {
        let fail = |key: &str, problem: &str| Err(LearnError::Config { key: key.into(), problem: problem.into() });
        match () {
            _ if self.sequence == 0 => fail("sequence", "a sequence holds at least one model"),
            _ if self.sequence > 64 => {
                fail("sequence", "at most 64 models are possible; `variant = \"full\"` reads all")
            }
            _ if self.epochs == 0 => fail("epochs", "at least one pass is needed"),
            _ if self.batch_size == Some(0) => fail("batch_size", "a batch holds at least one example"),
            _ if self.states.bounded() && self.generator.cell == perennial_nn::cell::CellKind::Lstm => {
                fail("states", "the cells of an LSTM are not bounded: \"f32\" and \"bf16\" are possible")
            }
            _ => Ok(self.generator.check()?),
        }
    }

    pub(super) fn describe(&self) -> String {
        let name = match self.variant {
            Variant::Multi => "ASMG-GRUmulti",
            Variant::Single => "ASMG-GRUsingle",
            Variant::Unif => "ASMG-GRUunif",
            Variant::Zero => "ASMG-GRUzero",
            Variant::Full => {
                return "parameters generated from all models since the first update (ASMG-GRUfull)".into();
            }
        };
        format!("parameters generated from the last {} models ({name})", self.sequence)
    }

    /// Earlier periods that an update needs again.
    pub(super) fn reach(&self) -> usize {
        match (self.variant, self.step_loss()) {
            (Variant::Full, _) => usize::MAX,
            (_, StepLoss::Last) => 0,
            _ => self.sequence as usize - 1,
        }
    }

    /// Passes of the generator over whole periods in the `nth` update (from 0): how many periods before the newest.
    pub(super) fn generator_passes(&self, nth: usize) -> Vec<usize> {
        let models = nth.min(self.limit());
        let judged = match self.step_loss() {
            _ if models < self.needed() => 0,
            StepLoss::Last => 1,
            StepLoss::Linear | StepLoss::Uniform | StepLoss::Exponential => models,
        };
        (0..judged).collect::<Vec<_>>().repeat(self.epochs as usize)
    }

    /// What it remembers after so many updates: past models, states, and the generator with the state of its optimiser.
    pub(crate) fn remembered(&self, learned: &Learned, updates: usize) -> Remembered {
        let Servable { backbone, params, .. } = &learned.servable;
        let generator = Generator::new(&self.generator, backbone.spec(), &self.optimiser, 0);
        let states: usize = generator.zero_states(self.states, params).iter().map(States::bytes).sum();
        Remembered::generator(bytes_of(&generator.weights) + states as u64, params, self.limit().min(updates))
    }

    fn step_loss(&self) -> StepLoss {
        self.loss.unwrap_or(match self.variant {
            Variant::Multi | Variant::Zero | Variant::Full => StepLoss::Linear,
            Variant::Single => StepLoss::Last,
            Variant::Unif => StepLoss::Uniform,
        })
    }

    /// Most models that are kept.
    fn limit(&self) -> usize {
        match self.variant {
            Variant::Full => usize::MAX,
            _ => self.sequence as usize,
        }
    }

    /// Models without which the generator is not trained.
    fn needed(&self) -> usize {
        match self.variant {
            Variant::Full => 1,
            _ => self.sequence as usize,
        }
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
        let memory = std::mem::take(&mut previous.memory);
        previous.generated = None;
        let (mut learned, mut trained) = fit(previous, &[seen], env.training.epochs, seen.index() as u32, env)?;
        let newest = encode(&learned.servable, &[seen])?;
        (learned.memory, learned.generated) =
            self.follow(memory, &learned, &newest, seen.index() as u32, env, &mut trained)?;
        Ok((learned, trained))
    }

    /// Learns from a base model that was just trained on `newest`, and generates parameters of it.
    pub(super) fn follow(
        &self,
        memory: crate::Memory,
        learned: &Learned,
        newest: &Encoded,
        period: u32,
        env: &Env<'_>,
        trained: &mut Trained,
    ) -> Result<(crate::Memory, Option<Generated>), LearnError> {
        let memory = match memory {
            crate::Memory::AsmgGru(memory) => *memory,
            _ => self.blank(learned, env),
        };
        let memory = self.learn(memory, learned, newest, period, env, trained)?;
        let (memory, generated) = self.generate(memory, learned, newest, env);
        Ok((crate::Memory::AsmgGru(Box::new(memory)), generated))
    }

    fn blank(&self, learned: &Learned, env: &Env<'_>) -> Memory {
        let Servable { backbone, params, .. } = &learned.servable;
        let generator = Generator::new(&self.generator, backbone.spec(), &self.optimiser, env.seed);
        let start = generator.zero_states(self.states, params);
        Memory { window: Window::default(), generator, start, past: Vec::new(), counters: Counters::default() }
    }

    /// Trains the generator to make, of each model in the window, one that is good on the period after it.
    fn learn(
        &self,
        mut memory: Memory,
        learned: &Learned,
        newest: &Encoded,
        period: u32,
        env: &Env<'_>,
        trained: &mut Trained,
    ) -> Result<Memory, LearnError> {
        let Servable { encoder, backbone, params } = &learned.servable;
        memory.window.grow_to(backbone.spec(), encoder);
        memory.grow(params);
        if memory.window.len() < self.needed() {
            return Ok(memory);
        }
        let steps = memory.window.len();
        let shares = self.step_loss().weights(steps);
        let earlier = (0..steps - 1).map(|step| self.earlier(step, steps, &shares, learned, period, env));
        let earlier = earlier.collect::<Result<Vec<_>, _>>()?;
        let sets: Vec<Option<&Encoded>> = earlier.iter().map(Option::as_ref).chain([Some(newest)]).collect();
        let readings = memory.window.readings();
        let sequence = Sequence { readings: &readings, start: &memory.start, copies: self.inactive == Inactive::Copy };
        let mut unrolled = Unrolled::new(env.training.shards, params.tables.len());
        let mut sum = (0.0, 0u64);
        for epoch in 0..self.epochs {
            let size = self.batch_size.unwrap_or(env.training.batch_size);
            let keys = [env.seed, u64::from(period), u64::from(epoch)];
            let schedule = Schedule::new(sets.clone(), size, keys, env.training.objective.needs_requests());
            sum = (0.0, 0);
            for nth in 0..schedule.len() {
                let batches = schedule.batch(nth);
                let loss = env.workers.run(|| {
                    unrolled.differentiate(
                        &memory.generator,
                        backbone,
                        sequence,
                        &schedule.sets,
                        &batches,
                        &shares,
                        env.training.objective,
                        env.workers,
                    )
                });
                memory.counters.steps += 1;
                let step = self.optimiser.step(memory.counters.steps, self.optimiser.learning_rate);
                let finite = move_all(&mut memory.generator.weights, &unrolled.gradients, &step, env.workers);
                if !(loss.is_finite() && finite) {
                    let loss = if finite { loss } else { f64::NAN };
                    return Err(LearnError::NotFinite { period, epoch, step: memory.counters.steps, loss });
                }
                sum = (sum.0 + loss, sum.1 + 1);
                trained.rows += batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
                let all = u64::from(self.epochs) * schedule.len() as u64;
                if !(env.progress)(u64::from(epoch) * schedule.len() as u64 + nth as u64 + 1, all) {
                    return Err(LearnError::Stopped);
                }
            }
        }
        trained.generator_loss = (sum.1 > 0).then(|| sum.0 / sum.1 as f64);
        memory.counters.updates += 1;
        Ok(memory)
    }

    /// The period on which a step of the sequence is judged, unless it does not count or is the newest.
    fn earlier(
        &self,
        step: usize,
        steps: usize,
        shares: &[f64],
        learned: &Learned,
        period: u32,
        env: &Env<'_>,
    ) -> Result<Option<Encoded>, LearnError> {
        if shares[step] == 0.0 {
            return Ok(None);
        }
        let seen = env.archive.seen(period - (steps - 1 - step) as u32)?;
        Ok(Some(encode(&learned.servable, &[&seen])?))
    }

    /// Rolls the states on and reads the newest model: one step of the generator, whatever the length of the sequence.
    fn generate(
        &self,
        mut memory: Memory,
        learned: &Learned,
        newest: &Encoded,
        env: &Env<'_>,
    ) -> (Memory, Option<Generated>) {
        let ready = self.roll(&mut memory, learned, env);
        memory.window.push(learned, newest, self.limit());
        let (counters, window) = (memory.counters, &memory.window);
        let Some(mut states) = ready.filter(|_| counters.updates >= self.warm_up.max(1)) else {
            return (memory, None);
        };
        let readings = window.readings();
        let reading = readings.last().expect("a model was just pushed");
        let copies = self.inactive == Inactive::Copy;
        let copied = |table: usize, row: u32| copies && !reading.now.activity[table].is_active(row as usize);
        let params = memory.generator.step(reading, &mut states, true, copied, env.workers);
        let mut params = params.expect("asked for");
        params.share();
        let newborn = self.newborn(&memory, window.len());
        (memory, Some(Generated { params, newborn }))
    }

    /// The state before the newest model. Where states are carried, the window's start moves on by the model that is
    /// about to leave it.
    fn roll(&self, memory: &mut Memory, learned: &Learned, env: &Env<'_>) -> Option<Vec<States>> {
        if memory.counters.updates == 0 {
            return None;
        }
        let full = memory.window.len() == self.limit();
        let Memory { window, generator, start, past, .. } = memory;
        let mut readings = window.readings();
        let mut states = match self.variant {
            Variant::Zero => generator.zero_states(self.states, &learned.servable.params),
            _ => start.clone(),
        };
        if full {
            let leaving = readings.remove(0);
            if self.variant != Variant::Zero {
                generator.step(&leaving, &mut states, false, |_, _| false, env.workers);
                *start = states.clone();
                if self.births == Births::Evolved {
                    past.push(Arc::new(generator.with_table_weights(generator.table_weights())));
                }
            }
        }
        for reading in &readings {
            generator.step(reading, &mut states, false, |_, _| false, env.workers);
        }
        Some(states)
    }

    fn newborn(&self, memory: &Memory, steps: usize) -> Newborn {
        match self.inactive {
            // What was not read in the newest period keeps its value, and a newborn id was not.
            Inactive::Copy => Newborn::AsIs,
            Inactive::Generate => {
                let mut generator = memory.generator.clone();
                generator.weights.iter_mut().for_each(|dense| dense.slots = Vec::new());
                Newborn::Recurrent(Recurrent { generator: Arc::new(generator), past: memory.past.clone(), steps })
            }
        }
    }

    /// What [`Memory::pieces`] stored.
    pub(super) fn restore(&self, mut pieces: Pieces, spec: &ModelSpec) -> Result<Memory, LearnError> {
        let counters = pieces.take_json("counters")?;
        let weights = pieces.take_params("generator")?.dense;
        let generator = Generator::with_weights(&self.generator, spec, weights)?;
        let mut start = Vec::new();
        for (nth, part) in generator.parts().iter().enumerate() {
            let bytes = pieces.take_bytes(&format!("start/{nth:03}"))?;
            let width = generator.cell().state() * part.layout.lanes;
            start.push(States::from_bytes(self.states, width, &bytes)?);
        }
        let past = past_of(&mut pieces, &generator)?;
        Ok(Memory { window: Window::from_pieces(pieces.take_all("window"))?, generator, start, past, counters })
    }
}

impl Memory {
    /// Gives states to rows that were born since.
    fn grow(&mut self, params: &Params) {
        let readings = self.window.readings();
        let tensors = params.dense.len();
        for (part, (states, table)) in (tensors..).zip(self.start[tensors..].iter_mut().zip(&params.tables)) {
            let first = states.rows();
            states.grow_to(table.rows() as usize);
            let Some(reading) = readings.last().filter(|_| !self.past.is_empty()) else { continue };
            let mut state = vec![0.0; self.generator.cell().state() * table.dim()];
            for row in first..states.rows() {
                evolved(&self.past, reading, part, row as u32, &mut state);
                states.write(row, &state);
            }
        }
    }

    pub(crate) fn pieces(&self) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.put_json("counters", &self.counters);
        pieces.put_params("generator", Params { dense: self.generator.weights.clone(), ..Params::default() });
        for (nth, states) in self.start.iter().enumerate() {
            pieces.put_bytes(format!("start/{nth:03}"), states.to_bytes());
        }
        for (nth, past) in self.past.iter().enumerate() {
            pieces.put_params(format!("past/{nth:04}"), Params { dense: past.table_weights(), ..Params::default() });
        }
        pieces.put_all("window", self.window.pieces());
        pieces
    }
}
