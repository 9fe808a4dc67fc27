//! What a run will cost, before it is run.

use super::{RunOptions, scored_periods};
use crate::experiment::Experiment;
use anyhow::Result;
use perennial_core::{Encoded, FeatureSet};
use perennial_data::log::Log;
use perennial_learn::{Learned, StrategyConfig, Trainer};
use perennial_model::Encoder;
use perennial_nn::Workers;
use serde::Serialize;
use std::fmt;
use std::time::Instant;

/// An estimate: right in its order of magnitude.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Rows of the log.
    pub rows: u64,
    /// Periods, pre-training included.
    pub periods: usize,
    /// Jobs: methods and references, by seed.
    pub jobs: usize,
    /// Examples that will be trained on, counted once per pass, over all methods and seeds.
    pub trained_examples: u64,
    /// Seconds of training measured on a few batches of this log, divided by the cores that are used.
    pub seconds: f64,
    /// Bytes of memory: periods at hand, parameters and optimiser slots of the jobs that run side by side.
    pub memory: u64,
    /// Bytes on disk: prepared periods and versions.
    pub disk: u64,
}

/// Steps that are timed.
const STEPS: usize = 8;

/// Prepares the log (the result is kept and used by the run) and times a few steps on it.
pub fn estimate(experiment: &Experiment, options: &RunOptions<'_>) -> Result<Estimate> {
    std::fs::create_dir_all(&options.out)?;
    let log = Log::open(&experiment.log)?;
    let prepared = super::prepare_log(experiment, &log, options)?;
    let periods = scored_periods(experiment, &prepared)?;
    let examples: Vec<u64> = (0..periods.end as usize).map(|period| prepared.facts(period).examples()).collect();
    let trained_examples = experiment.seeds.len() as u64 * trained_per_seed(experiment, &examples, periods.start);
    let probe = Probe::run(experiment, &log, &prepared)?;
    let jobs = super::jobs(experiment).len();
    let side_by_side = options.workers.clamp(1, jobs) as u64;
    let most = examples.iter().max().copied().unwrap_or(0);
    let at_hand: u64 = examples[..periods.start as usize].iter().sum::<u64>().max(most);
    let versions = experiment.seeds.len() as u64 * (experiment.method.len() as u64 + 1);
    Ok(Estimate {
        rows: log.manifest().rows,
        periods: periods.end as usize,
        jobs,
        trained_examples,
        seconds: trained_examples as f64 * probe.seconds_per_example / side_by_side as f64,
        memory: side_by_side * (at_hand * probe.bytes_per_example + 2 * probe.parameter_bytes),
        disk: examples.iter().sum::<u64>() * probe.bytes_per_example + versions * probe.parameter_bytes,
    })
}

/// Examples that the methods of one seed train on, pre-training included.
fn trained_per_seed(experiment: &Experiment, examples: &[u64], first: u32) -> u64 {
    let training = &experiment.training;
    let sum = |range: std::ops::Range<usize>| examples[range].iter().sum::<u64>();
    let pretraining = u64::from(training.pretrain_epochs) * sum(0..first as usize);
    let updates = first as usize..examples.len() - 1;
    let of_method = |strategy: &StrategyConfig| -> u64 {
        let window = |period: usize| (period + 1).saturating_sub(strategy.reach().saturating_add(1))..period + 1;
        let passes = match strategy {
            StrategyConfig::Frozen => 0,
            StrategyConfig::Retrain(retrain) => retrain.epochs.unwrap_or(training.pretrain_epochs),
            StrategyConfig::Incremental | StrategyConfig::Batch(_) => training.epochs,
        };
        u64::from(passes) * updates.clone().map(|period| sum(window(period))).sum::<u64>()
    };
    pretraining + experiment.method.iter().map(|method| of_method(&method.strategy)).sum::<u64>()
}

/// A few steps on the first period.
struct Probe {
    seconds_per_example: f64,
    bytes_per_example: u64,
    parameter_bytes: u64,
}

impl Probe {
    fn run(experiment: &Experiment, log: &Log, prepared: &perennial_stream::Prepared) -> Result<Probe> {
        let Experiment { encoder, model, training, data, .. } = experiment;
        let features = FeatureSet::of(log.schema(), data.history > 0);
        let mut learned = Learned::new(model, Encoder::new(features, encoder.clone()), training, 0)?;
        let part = prepared.load(0)?;
        let admitted = learned.servable.encoder.observe(&[&part]);
        let servable = &mut learned.servable;
        servable.params.grow(servable.backbone.spec(), &admitted);
        let columns = servable.encoder.encode(&part)?;
        let weight = vec![1.0; part.len()];
        let encoded = Encoded { columns, label: vec![0.0; part.len()], weight };
        let order: Vec<u32> = (0..part.len() as u32).collect();
        let (workers, mut trainer) = (Workers::new(1), Trainer::new(training));
        let clock = Instant::now();
        let batches = order.chunks(training.batch_size).take(STEPS);
        let rows: usize = batches
            .map(|batch| {
                trainer.step(&mut learned, &encoded, batch, &workers);
                batch.len()
            })
            .sum();
        Ok(Probe {
            seconds_per_example: clock.elapsed().as_secs_f64() / rows.max(1) as f64,
            bytes_per_example: bytes_per_example(&part),
            parameter_bytes: learned.servable.params.bytes() as u64,
        })
    }
}

fn bytes_per_example(part: &perennial_core::Examples) -> u64 {
    use perennial_core::Column;
    let columns: usize = part
        .columns
        .iter()
        .map(|column| match column {
            Column::Id(ids) => 4 * ids.len(),
            Column::Numeric(values) => 4 * values.len(),
            Column::Bag { spans, ids, weights } => {
                8 * spans.len.len() + 4 * ids.len() + 4 * weights.as_ref().map_or(0, Vec::len)
            }
        })
        .sum();
    // Label, weight, two times, event, user and item.
    (columns / part.len().max(1)) as u64 + 48
}

impl Estimate {
    /// The estimate for machines.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = indicatif::HumanBytes;
        writeln!(f, "rows in the log       {}", indicatif::HumanCount(self.rows))?;
        writeln!(f, "periods               {}", self.periods)?;
        writeln!(f, "jobs                  {}", self.jobs)?;
        writeln!(f, "examples to train on  {}", indicatif::HumanCount(self.trained_examples))?;
        writeln!(f, "training time         about {:.0} s", self.seconds)?;
        writeln!(f, "memory                about {}", bytes(self.memory))?;
        write!(f, "disk                  about {}", bytes(self.disk))
    }
}
