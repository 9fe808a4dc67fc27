//! One static split: train on one part, choose the epoch by a second, judge by a third.
//!
//! The protocol of the public benchmarks, where time does not matter: several epochs over the training examples, after
//! each of them a look at the validation examples, which decide on the learning rate, on the end and on the epoch that is
//! kept. The test examples decide nothing.

mod earlier;
mod schedule;

pub use earlier::EarlierScores;
pub use schedule::{Plateau, Schedule};

use crate::order::Order;
use crate::scoring::score;
use crate::trainer::{Epoch, admit, encode, settle};
use crate::{LearnError, Learned, Thinning, Trained, Trainer, TrainingConfig};
use perennial_core::{Encoded, Examples};
use perennial_eval::{PeriodMetrics, SplitEpoch, evaluate};
use perennial_nn::Workers;
use perennial_stream::SeenPeriod;
use schedule::Course;

/// The three parts.
#[derive(Debug, Clone, Copy)]
pub struct StaticSplit<'a> {
    /// What is learned from, and all that vocabularies know; see [`SeenPeriod::static_split`].
    pub train: &'a SeenPeriod,
    /// What epochs are chosen by.
    pub valid: &'a Examples,
    /// What nothing is chosen by; `None` for a search, whose epochs have no test metrics.
    pub test: Option<&'a Examples>,
}

/// The circumstances of training on a split: everything but the examples.
pub struct SplitEnv<'a> {
    /// Settings of the training loop: `epochs` is the most there can be, and the learning rate the one to begin with.
    pub training: &'a TrainingConfig,
    /// What happens between epochs.
    pub schedule: &'a Schedule,
    /// Seed of the model: initialisation and order of examples.
    pub seed: u64,
    /// A model of a seed that has learned nothing.
    pub blank: &'a (dyn Fn(u64) -> Result<Learned, LearnError> + Sync),
    /// Threads.
    pub workers: &'a Workers,
    /// Called after every step; `false` stops the training.
    pub progress: &'a (dyn Fn(SplitStep) -> bool + Sync),
    /// Called after every epoch of the model itself.
    pub epoch: &'a (dyn Fn(&SplitEpoch) + Sync),
}

/// How far training on a split has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitStep {
    /// Which of how many models for earlier scores is being trained, from 1; `None` for the model itself.
    pub earlier: Option<(u32, u32)>,
    /// Steps taken.
    pub step: u64,
    /// Steps in all, unless it stops early.
    pub of: u64,
}

/// A model trained on a split.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// The model: of the best epoch, or of the last one if the schedule says so.
    pub learned: Learned,
    /// All epochs, in order.
    pub epochs: Vec<SplitEpoch>,
    /// The best epoch by validation, from 1; the first of equals.
    pub best: u32,
}

/// Trains a model on a split. `earlier` says where the scores come from that the objective compares with; without it
/// every example learns from its label alone.
///
/// Fails where the validation examples leave the watched metric undefined, or if the loss is no longer a number. Costs
/// two clones of the model beside it; the time of an epoch includes scoring both held-out parts.
pub fn fit_split(
    split: StaticSplit<'_>,
    earlier: Option<EarlierScores>,
    env: &SplitEnv<'_>,
) -> Result<Fitted, LearnError> {
    let train = &Thinning::of(env.training).thin(split.train.clone());
    let split = StaticSplit { train, ..split };
    match earlier {
        None => fit(split.train, split.valid, split.test, env),
        Some(earlier) => fit(&earlier.rescored(split, env)?, split.valid, split.test, env),
    }
}

/// Trains a model on `train`. Without `test` the epochs have no metrics of one.
fn fit(
    train: &SeenPeriod,
    valid: &Examples,
    test: Option<&Examples>,
    env: &SplitEnv<'_>,
) -> Result<Fitted, LearnError> {
    env.schedule.check()?;
    let mut learned = (env.blank)(env.seed)?;
    admit(&mut learned, &[train]);
    let data = encode(&learned.servable, &[train])?;
    let mut course = Course::new(env.schedule, env.training.optimiser.learning_rate);
    let (mut trained, mut epochs, mut best) = (Trained::default(), Vec::new(), None);
    while !course.ended() && course.epochs() < env.training.epochs {
        let learning_rate = course.learning_rate();
        pass(&mut learned, &data, &course, &mut trained, env)?;
        let valid = metrics(&learned, valid, env)?;
        course.turn(watched(&valid, env.schedule)?);
        let test = test.map_or_else(|| Ok(PeriodMetrics::default()), |test| metrics(&learned, test, env))?;
        let epoch = SplitEpoch { epoch: course.epochs(), learning_rate, loss: trained.loss, valid, test };
        (env.epoch)(&epoch);
        epochs.push(epoch);
        if env.schedule.restore_best && course.best() == course.epochs() {
            best = Some(learned.clone());
        }
    }
    Ok(Fitted { learned: best.unwrap_or(learned), epochs, best: course.best() })
}

/// One epoch at the learning rates that the course has come to.
fn pass(
    learned: &mut Learned,
    data: &Encoded,
    course: &Course,
    trained: &mut Trained,
    env: &SplitEnv<'_>,
) -> Result<(), LearnError> {
    let training = env.training.with_rates(|rate| course.lowered(rate));
    let epoch = Epoch { period: 0, number: course.epochs(), of: training.epochs, ordered: Order::Shuffled };
    let progress = |step, of| (env.progress)(SplitStep { earlier: None, step, of });
    Trainer::new(&training, env.seed).epoch(learned, data, epoch, trained, env.workers, &progress)?;
    settle(learned);
    Ok(())
}

/// Of scores on the scale of the split's files.
fn metrics(learned: &Learned, part: &Examples, env: &SplitEnv<'_>) -> Result<PeriodMetrics, LearnError> {
    let mut logits = score(learned.serving(), [part], env.workers)?;
    Thinning::of(env.training).correct(&mut logits);
    Ok(evaluate(&logits, &part.label, &part.weight, &part.user)?)
}

fn watched(valid: &PeriodMetrics, schedule: &Schedule) -> Result<f64, LearnError> {
    let metric = schedule.watch.metric();
    valid.get(metric.name).ok_or_else(|| LearnError::Config {
        key: "schedule.watch".into(),
        problem: format!(
            "{} is undefined on the {} validation examples; it needs {}",
            metric.title, valid.rows, metric.needs
        ),
    })
}
