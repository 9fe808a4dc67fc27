//! Weighted sums of the last base models, ASMG-Linear (Peng et al., RecSys 2021, section 4.2).
//!
//! `theta* = sum_i alpha_i theta_i` over the last k models; the weights are trained on the period that followed the
//! newest of them. The paper writes one weight per model; its code has a softmax per scalar of the MLP and per embedding
//! dimension, which is the default here.

use crate::memory::Pieces;
use crate::meta::{Granularity, Mixture, Schedule, Weights, Window, lanes, mix};
use crate::remembered::{Remembered, bytes_of};
use crate::trainer::{encode, fit};
use crate::{Env, LearnError, Learned, Trained};
use perennial_core::Encoded;
use perennial_model::generator::{Newborn, Snapshot};
use perennial_model::{Dense, Generated, ModelSpec, Params, Servable};
use perennial_nn::optim::{Optimiser, Rule};
use perennial_stream::SeenPeriod;
use serde::{Deserialize, Serialize};

/// Options of ASMG-Linear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AsmgLinear {
    /// Number of base models that are summed.
    pub sequence: u32,
    /// Which coordinates share their weights.
    pub granularity: Granularity,
    /// What weights may be.
    pub constraint: Constraint,
    /// The weights at first, oldest model first; all alike if absent, or for fixed ones all on the newest.
    pub weights: Option<Vec<f64>>,
    /// The optimiser of the weights, whose state is carried over periods.
    pub optimiser: Optimiser,
    /// Passes over the data of an update.
    pub epochs: u32,
}

/// What weights may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// Positive, with sum 1: a softmax of what is trained.
    Softmax,
    /// Anything.
    Free,
    /// As they are at first. All on the newest model is IU, bit for bit.
    Fixed,
}

impl Default for AsmgLinear {
    fn default() -> Self {
        AsmgLinear {
            sequence: 3,
            granularity: Granularity::Coordinate,
            constraint: Constraint::Softmax,
            weights: None,
            optimiser: Optimiser::new(Rule::ADAM, 1e-2),
            epochs: 1,
        }
    }
}

/// What is remembered from one period to the next.
#[derive(Debug, Clone)]
pub struct Memory {
    window: Window,
    /// `[models, lanes]` per part (one for all if they are global): what is trained, with the optimiser's slots.
    trained: Vec<Dense>,
    counters: Counters,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counters {
    steps: u64,
    updates: u32,
}

impl AsmgLinear {
    pub(super) fn check(&self) -> Result<(), LearnError> {
        let fail = |key: &str, problem: &str| Err(LearnError::Config { key: key.into(), problem: problem.into() });
        let weights = self.weights.as_deref();
        match () {
            _ if !(1..=64).contains(&self.sequence) => fail("sequence", "from 1 to 64 models are possible"),
            _ if self.epochs == 0 => fail("epochs", "at least one pass is needed"),
            _ if weights.is_some_and(|weights| weights.len() != self.sequence as usize) => {
                fail("weights", "one weight for each model of the sequence is needed")
            }
            _ if weights.is_some_and(|weights| weights.iter().any(|weight| !weight.is_finite())) => {
                fail("weights", "weights must be finite")
            }
            _ if self.constraint == Constraint::Softmax
                && weights.is_some_and(|weights| weights.iter().any(|weight| *weight <= 0.0)) =>
            {
                fail("weights", "a softmax has positive weights; try `constraint = \"free\"`")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn describe(&self) -> String {
        format!("weighted sum of the last {} models (ASMG-Linear)", self.sequence)
    }

    /// Passes of the weights over whole periods in the `nth` update (from 0): how many periods before the newest.
    pub(super) fn generator_passes(&self, nth: usize) -> Vec<usize> {
        let learns = self.constraint != Constraint::Fixed && nth >= self.sequence as usize;
        if learns { vec![0; self.epochs as usize] } else { Vec::new() }
    }

    /// What it remembers after so many updates: past models, and their weights.
    pub(crate) fn remembered(&self, learned: &Learned, updates: usize) -> Remembered {
        let Servable { backbone, params, .. } = &learned.servable;
        let weights = bytes_of(&self.blank(backbone.spec()).trained);
        Remembered::generator(weights, params, (self.sequence as usize).min(updates))
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

    /// Learns from a base model that was just trained on `newest`, and sums it with those before.
    pub(super) fn follow(
        &self,
        memory: crate::Memory,
        learned: &Learned,
        newest: &Encoded,
        period: u32,
        env: &Env<'_>,
        trained: &mut Trained,
    ) -> Result<(crate::Memory, Option<Generated>), LearnError> {
        let Servable { encoder, backbone, .. } = &learned.servable;
        let mut memory = match memory {
            crate::Memory::AsmgLinear(memory) => *memory,
            _ => self.blank(backbone.spec()),
        };
        memory.window.grow_to(backbone.spec(), encoder);
        if memory.window.len() == self.sequence as usize {
            self.learn(&mut memory, learned, newest, period, env, trained)?;
        }
        memory.window.push(learned, newest, self.sequence as usize);
        let generated = (memory.counters.updates > 0).then(|| self.generate(&memory, backbone.spec(), env));
        Ok((crate::Memory::AsmgLinear(Box::new(memory)), generated))
    }

    fn blank(&self, spec: &ModelSpec) -> Memory {
        let models = self.sequence as usize;
        let parts = spec.dense.iter().map(|dense| &dense.name).chain(spec.tables.iter().map(|table| &table.name));
        let count = if self.granularity == Granularity::Global { 1 } else { usize::MAX };
        let trained = parts.take(count).enumerate().map(|(part, name)| {
            let lanes = lanes(self.granularity, spec, part);
            let first = (0..models).flat_map(|model| std::iter::repeat_n(self.initial(model), lanes));
            let values: Vec<f32> = first.collect();
            let slots = self.optimiser.rule.slots().iter().map(|slot| vec![slot.initial; values.len()]).collect();
            let name = if count == 1 { "everything" } else { name.as_str() };
            Dense { name: format!("weights.{name}"), rows: models, cols: lanes, values, slots }
        });
        Memory { window: Window::default(), trained: trained.collect(), counters: Counters::default() }
    }

    /// What is trained for a model, at first.
    fn initial(&self, model: usize) -> f32 {
        let models = self.sequence as usize;
        match (self.constraint, &self.weights) {
            (Constraint::Softmax, None) => 0.0,
            (Constraint::Softmax, Some(weights)) => weights[model].ln() as f32,
            (Constraint::Free | Constraint::Fixed, Some(weights)) => weights[model] as f32,
            (Constraint::Free, None) => 1.0 / models as f32,
            (Constraint::Fixed, None) => f32::from(u8::from(model + 1 == models)),
        }
    }

    /// The weights of every part.
    fn weights(&self, memory: &Memory, spec: &ModelSpec) -> Weights {
        let parts = 0..spec.dense.len() + spec.tables.len();
        let of = |part: usize| {
            let trained = &memory.trained[if memory.trained.len() == 1 { 0 } else { part }];
            match self.constraint {
                Constraint::Free | Constraint::Fixed => trained.values.clone(),
                Constraint::Softmax => softmax(&trained.values, trained.cols),
            }
        };
        parts.map(of).collect()
    }

    fn learn(
        &self,
        memory: &mut Memory,
        learned: &Learned,
        newest: &Encoded,
        period: u32,
        env: &Env<'_>,
        trained: &mut Trained,
    ) -> Result<(), LearnError> {
        memory.counters.updates += 1;
        if self.constraint == Constraint::Fixed {
            return Ok(());
        }
        let backbone = &learned.servable.backbone;
        let spec = backbone.spec();
        let mut mixture = Mixture::new(env.training.shards, spec);
        for epoch in 0..self.epochs {
            let keys = [env.seed, u64::from(period), u64::from(epoch)];
            let schedule = Schedule::new(
                vec![Some(newest)],
                env.training.batch_size,
                keys,
                env.training.objective.needs_requests(),
            );
            let mut sum = 0.0;
            for nth in 0..schedule.len() {
                let batch = schedule.batch(nth)[0];
                let weights = self.weights(memory, spec);
                let loss = {
                    let readings = memory.window.readings();
                    let models: Vec<&Snapshot> = readings.iter().map(|reading| reading.now).collect();
                    let objective = env.training.objective;
                    let (loss, slopes) =
                        mixture.differentiate(&models, &weights, backbone, (newest, batch), objective, env.workers);
                    let slopes: Vec<Vec<f32>> = slopes.iter().map(|slopes| slopes.to_vec()).collect();
                    memory.counters.steps += 1;
                    self.step(&mut memory.trained, memory.counters.steps, &weights, &slopes);
                    loss
                };
                let finite = memory.trained.iter().all(|dense| dense.values.iter().all(|x| x.is_finite()));
                if !(loss.is_finite() && finite) {
                    return Err(LearnError::NotFinite { period, epoch, step: memory.counters.steps, loss });
                }
                sum += loss;
                trained.rows += batch.len() as u64;
                if !(env.progress)(nth as u64 + 1, schedule.len() as u64) {
                    return Err(LearnError::Stopped);
                }
            }
            trained.generator_loss = (schedule.len() > 0).then(|| sum / schedule.len() as f64);
        }
        Ok(())
    }

    /// Moves what is trained by the slopes of the weights of all parts.
    fn step(&self, trained: &mut [Dense], number: u64, weights: &Weights, slopes: &[Vec<f32>]) {
        let step = self.optimiser.step(number, self.optimiser.learning_rate);
        let global = trained.len() == 1;
        for (nth, dense) in trained.iter_mut().enumerate() {
            let parts = if global { 0..slopes.len() } else { nth..nth + 1 };
            let mut gradient = vec![0.0; dense.values.len()];
            for part in parts {
                gradient.iter_mut().zip(&slopes[part]).for_each(|(sum, slope)| *sum += slope);
            }
            if self.constraint == Constraint::Softmax {
                through_softmax(&weights[nth], &mut gradient, dense.cols);
            }
            dense.update(&gradient, &step);
        }
    }

    fn generate(&self, memory: &Memory, spec: &ModelSpec, env: &Env<'_>) -> Generated {
        let readings = memory.window.readings();
        let models: Vec<&Snapshot> = readings.iter().map(|reading| reading.now).collect();
        let weights = self.weights(memory, spec);
        let mut params = mix(&models, &weights, spec, env.workers);
        params.share();
        // A constant first value, summed with weights that sum to 1, is itself.
        Generated { params, newborn: Newborn::AsIs }
    }

    /// What [`Memory::pieces`] stored.
    pub(super) fn restore(&self, mut pieces: Pieces, spec: &ModelSpec) -> Result<Memory, LearnError> {
        let counters = pieces.take_json("counters")?;
        let trained = pieces.take_params("weights")?.dense;
        let expected = self.blank(spec).trained;
        let shape = |dense: &Dense| (dense.name.clone(), dense.rows, dense.cols);
        if !trained.iter().map(shape).eq(expected.iter().map(shape)) {
            return Err(crate::memory::damaged("weights", "they are not those of this model's parameters"));
        }
        Ok(Memory { window: Window::from_pieces(pieces.take_all("window"))?, trained, counters })
    }
}

impl Memory {
    pub(crate) fn pieces(&self) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.put_json("counters", &self.counters);
        pieces.put_params("weights", Params { dense: self.trained.clone(), ..Params::default() });
        pieces.put_all("window", self.window.pieces());
        pieces
    }
}

/// Softmax over the models, lane by lane, of `[models, lanes]`.
fn softmax(trained: &[f32], lanes: usize) -> Vec<f32> {
    let mut weights = trained.to_vec();
    for lane in 0..lanes {
        let of_lane = || trained[lane..].iter().step_by(lanes);
        let most = of_lane().copied().fold(f32::MIN, f32::max);
        let sum: f32 = of_lane().map(|x| (x - most).exp()).sum();
        for (weight, x) in weights[lane..].iter_mut().step_by(lanes).zip(of_lane()) {
            *weight = (x - most).exp() / sum;
        }
    }
    weights
}

/// From slopes by the weights to slopes by what the softmax is of: `w_i (s_i - sum_j w_j s_j)`.
fn through_softmax(weights: &[f32], slopes: &mut [f32], lanes: usize) {
    for lane in 0..lanes {
        let pairs = weights[lane..].iter().step_by(lanes).zip(slopes[lane..].iter().step_by(lanes));
        let mean: f32 = pairs.map(|(weight, slope)| weight * slope).sum();
        let of_lane = slopes[lane..].iter_mut().step_by(lanes);
        for (slope, weight) in of_lane.zip(weights[lane..].iter().step_by(lanes)) {
            *slope = weight * (*slope - mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// d/dx of sum_i s_i softmax(x)_i by central differences, in f32: tolerance for rounding of 1e-3 steps.
    #[test]
    fn the_slope_of_a_softmax_equals_differences() {
        let (x, s, lanes) = ([0.3f32, -1.0, 0.7, 0.1, -0.2, 2.0], [1.0f32, -2.0, 0.5, 3.0, 0.25, -1.0], 2);
        let value = |x: &[f32]| softmax(x, lanes).iter().zip(s).map(|(w, s)| f64::from(w * s)).sum::<f64>();
        let mut slopes = s.to_vec();
        through_softmax(&softmax(&x, lanes), &mut slopes, lanes);
        for at in 0..x.len() {
            let moved = |by: f32| {
                let mut x = x;
                x[at] += by;
                value(&x)
            };
            let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((numeric - f64::from(slopes[at])).abs() < 1e-3, "{at}: {numeric} against {}", slopes[at]);
        }
    }

    #[test]
    fn weights_of_a_softmax_sum_to_one() {
        let weights = softmax(&[0.0, 500.0, 0.0, -500.0, 0.0, 0.0], 2);
        assert_eq!(weights[0], 1.0 / 3.0);
        assert_eq!([weights[1], weights[3], weights[5]], [1.0, 0.0, 0.0]);
    }
}
