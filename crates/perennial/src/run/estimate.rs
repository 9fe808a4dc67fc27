//! What a run will cost, before it is run.

use super::{RunOptions, scored_periods};
use crate::experiment::{Experiment, KeepVersions, Method};
use anyhow::Result;
use perennial_core::{Encoded, Examples, FeatureSet};
use perennial_data::log::Log;
use perennial_learn::strategy::{Sampling, Spmf};
use perennial_learn::{Learned, Remembered, StrategyConfig, Trainer};
use perennial_model::{Encoder, Servable};
use perennial_nn::Workers;
use perennial_store::RunLock;
use perennial_stream::Prepared;
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::time::Instant;

/// An estimate. Examples are exact where labels are not late, no period is empty, none are replayed from a reservoir and all
/// negatives are trained on; disk and memory are within a third of what logs of
/// 100 thousand to 500 thousand rows took on one and two workers (SPEED.md); time is right in its order of magnitude.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Rows of the log.
    pub rows: u64,
    /// Periods, pre-training included.
    pub periods: usize,
    /// Jobs: methods and references, by seed.
    pub jobs: usize,
    /// Examples that will be trained on, counted once per pass, by generators too, over all methods and seeds.
    pub trained_examples: u64,
    /// Seconds of training measured on a few batches of this log, divided by the cores that are used. A generator's step
    /// counts as a base model's with as many examples, which is less than it takes (SPEED.md).
    pub seconds: f64,
    /// Bytes of memory when the jobs that need most run side by side: the periods that each trains on at once, as
    /// examples and encoded, the models that an update holds, histories, what the allocator keeps, and the program.
    pub memory: u64,
    /// Bytes on disk while the run is under way: prepared periods, histories, versions, scores and records. An upper
    /// bound: it takes every version to be written in full, while those that share chunks store them once.
    pub disk: u64,
}

/// Steps that are timed.
const STEPS: usize = 8;

/// Models of a job in an update: the pre-trained one, the previous, the new, and the new one's bytes when it is
/// published.
const MODELS: u64 = 4;

/// Bytes that an id takes in a vocabulary in memory: its key, and a slot of key and row in a map that is two thirds full.
const ID_BYTES: u64 = 8 + 16 * 3 / 2;

/// Bytes of a key in a stored vocabulary.
const KEY_BYTES: u64 = 8;

/// Bytes of a stored score: event id and logit.
const SCORE_BYTES: u64 = 12;

/// A file takes whole blocks of the disk, so many bytes each.
const BLOCK: u64 = 4096;

/// Files of a version beside those of tensors, tables and vocabularies: names and sizes, encoder, experiment, manifest.
const FILES: usize = 4;

/// Files of a strategy's memory beside those of parameters: counters, which rows were active, what belongs to which model.
const FILES_OF_MEMORY: u64 = 4;

/// What a run takes before it holds any data: the program, its threads, a batch of the log, the buffers of a step.
const PROGRAM: u64 = 20 << 20;

/// Prepares the log (the result is kept and used by the run), reads it once more to see how large the model grows, and
/// times a few steps. Refused while a run is under way in the folder.
pub fn estimate(experiment: &Experiment, options: &RunOptions<'_>) -> Result<Estimate> {
    let _lock = RunLock::acquire(&options.out)?;
    let log = Log::open(&experiment.log)?;
    let prepared = super::prepare_log(experiment, &log, options)?;
    let plan = Plan::new(experiment, &prepared, options.workers)?;
    let probe = Probe::run(experiment, &log, &prepared, &plan)?;
    let trained_examples = plan.trained();
    Ok(Estimate {
        rows: log.manifest().rows,
        periods: plan.examples.len(),
        jobs: super::jobs(experiment).len(),
        trained_examples,
        seconds: trained_examples as f64 * probe.seconds_per_example / plan.side_by_side as f64,
        memory: plan.memory(&probe),
        disk: plan.disk(&probe, &prepared),
    })
}

/// What is trained on what.
struct Plan<'a> {
    experiment: &'a Experiment,
    /// The first period that is scored.
    first: usize,
    /// Examples of each period, up to the last one that is scored.
    examples: Vec<u64>,
    /// Their bytes.
    bytes: Vec<u64>,
    /// Jobs of learners that run at once.
    side_by_side: usize,
}

impl Plan<'_> {
    fn new<'a>(experiment: &'a Experiment, prepared: &Prepared, workers: usize) -> Result<Plan<'a>> {
        let periods = scored_periods(experiment, prepared)?;
        let of = |each: &dyn Fn(usize) -> u64| (0..periods.end as usize).map(each).collect();
        let examples = of(&|period| prepared.facts(period).examples());
        let bytes = of(&|period| prepared.bytes(period));
        let learners = experiment.method.len() * experiment.seeds.len();
        let (first, side_by_side) = (periods.start as usize, workers.clamp(1, learners));
        Ok(Plan { experiment, first, examples, bytes, side_by_side })
    }

    fn seeds(&self) -> u64 {
        self.experiment.seeds.len() as u64
    }

    /// Periods that are learned from after they were scored: all but the last.
    fn updates(&self) -> Range<usize> {
        self.first..self.examples.len() - 1
    }

    fn trained(&self) -> u64 {
        let methods: u64 = self.experiment.method.iter().map(|method| self.trained_by(method)).sum();
        self.seeds() * (self.pretraining() + methods)
    }

    fn pretraining(&self) -> u64 {
        u64::from(self.experiment.training.pretrain_epochs) * sum(&self.examples, 0..self.first)
    }

    /// Examples that one seed of a method trains on after pre-training.
    fn trained_by(&self, method: &Method) -> u64 {
        let (training, strategy) = (&self.experiment.training, &method.strategy);
        let passes = match strategy {
            StrategyConfig::Frozen => 0,
            StrategyConfig::Retrain(retrain) => retrain.epochs.unwrap_or(training.pretrain_epochs),
            StrategyConfig::Incremental
            | StrategyConfig::Sml(_)
            | StrategyConfig::Batch(_)
            | StrategyConfig::IncCtr(_)
            | StrategyConfig::Spmf(_)
            | StrategyConfig::AsmgGru(_)
            | StrategyConfig::AsmgLinear(_)
            | StrategyConfig::Mixture(_) => training.epochs,
        };
        let together = |period: usize| sum(&self.examples, period.saturating_sub(strategy.window())..period + 1);
        let examples = |period| together(period) + self.replayed(strategy, period);
        let beside =
            if trains_beside(method) { u64::from(training.epochs) * sum(&self.examples, self.updates()) } else { 0 };
        u64::from(passes) * self.updates().map(examples).sum::<u64>() + self.generating(strategy) + beside
    }

    /// Examples that generators are trained on.
    fn generating(&self, strategy: &StrategyConfig) -> u64 {
        let epochs = self.experiment.training.epochs;
        let of_update = |(nth, period): (usize, usize)| {
            let passes = strategy.generator_passes(nth, epochs);
            passes.iter().map(|back| self.examples[period - back]).sum::<u64>()
        };
        self.updates().enumerate().map(of_update).sum()
    }

    /// Examples from a reservoir, at most.
    fn replayed(&self, strategy: &StrategyConfig, period: usize) -> u64 {
        match strategy {
            StrategyConfig::Spmf(Spmf { sampling: Sampling::ReplayAndAll, ratio, .. }) => {
                (ratio * self.examples[period] as f64) as u64
            }
            _ => 0,
        }
    }

    fn memory(&self, probe: &Probe) -> u64 {
        // Once as examples, once encoded.
        let job = |bytes: u64| 2 * bytes + MODELS * probe.model_bytes;
        let largest =
            |strategy: &StrategyConfig| self.updates().map(|period| in_reach(&self.bytes, strategy, period)).max();
        let of_method = |method: &Method| {
            let beside = if trains_beside(method) { (MODELS - 1) * probe.model_bytes } else { 0 };
            job(largest(&method.strategy).unwrap_or(0)) + beside
        };
        // An update holds what was remembered and what will be.
        let methods = self.experiment.method.iter().zip(&probe.remembered);
        let mut jobs: Vec<u64> = methods.map(|(method, remembered)| of_method(method) + 2 * remembered.held).collect();
        jobs = jobs.repeat(self.experiment.seeds.len());
        jobs.sort_unstable_by(|a, b| b.cmp(a));
        let updating: u64 = jobs.iter().take(self.side_by_side).sum();
        let pretraining = job(sum(&self.bytes, 0..self.first));
        let used = updating.max(self.seeds().min(self.side_by_side as u64) * pretraining);
        // The allocator keeps some of what was freed: beside one job a half of what it needs, beside several no more.
        let kept = jobs.first().copied().unwrap_or(0).max(pretraining) / 2;
        // Histories: the state of the replay, and one on its way to the disk.
        PROGRAM + used + kept + 2 * probe.last_history_bytes
    }

    fn disk(&self, probe: &Probe, prepared: &Prepared) -> u64 {
        let periods: u64 = (0..prepared.periods()).map(|period| in_blocks(prepared.bytes(period))).sum();
        // Beside the periods and once in the store.
        let histories = 2 * probe.history_bytes;
        let scored = &self.examples[self.first..];
        let scores: u64 = scored.iter().map(|examples| in_blocks(SCORE_BYTES * examples)).sum();
        let scores = if self.experiment.keep.scores { scores } else { 0 };
        // Two records of each period, scored and learned from.
        let records = 2 * BLOCK * scored.len() as u64;
        let jobs = super::jobs(self.experiment).len() as u64;
        periods + histories + self.versions(probe) + self.gains() + jobs * (scores + records)
    }

    /// Bytes of the gains that gates keep of every draw, one file per update.
    fn gains(&self) -> u64 {
        let gates = self.experiment.method.iter().filter_map(|method| method.gate.as_ref());
        let of_update: u64 = gates.map(|gate| in_blocks(8 * u64::from(gate.resamples))).sum();
        of_update * self.seeds() * self.updates().len() as u64
    }

    /// Bytes of the versions that are there at once, at most.
    fn versions(&self, probe: &Probe) -> u64 {
        let methods = self.experiment.method.iter().zip(&probe.remembered);
        let mut learners: Vec<u64> =
            methods.map(|(method, remembered)| of_version(method, remembered, probe)).collect();
        learners = learners.repeat(self.experiment.seeds.len());
        learners.sort_unstable_by(|a, b| b.cmp(a));
        let (all, updates): (u64, u64) = (learners.iter().sum(), self.updates().len() as u64);
        let updated = match self.experiment.keep.versions {
            KeepVersions::All => all * updates,
            // Those before the last go when a job is done.
            KeepVersions::Last => all + learners.iter().take(self.side_by_side).sum::<u64>() * updates,
        };
        self.seeds() * probe.version_bytes + updated
    }
}

/// Bytes of a version of a method. A frozen model's are those of the pre-trained one again; with a base model beside the
/// method's own there are two in one.
fn of_version(method: &Method, remembered: &Remembered, probe: &Probe) -> u64 {
    let models = u64::from(method.strategy != StrategyConfig::Frozen) + u64::from(trains_beside(method));
    let rest = if remembered.stored > 0 { BLOCK * FILES_OF_MEMORY } else { 0 };
    models * probe.version_bytes + remembered.stored + rest
}

/// Whether a gate trains the incremental update beside the method's own model.
fn trains_beside(method: &Method) -> bool {
    method.gate.is_some() && !method.strategy.carries_base()
}

/// What a file of so many bytes takes of a disk.
fn in_blocks(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK)
}

/// Sum over some periods.
fn sum(of_period: &[u64], periods: Range<usize>) -> u64 {
    of_period[periods].iter().sum()
}

/// Sum over the periods that an update looks at.
fn in_reach(of_period: &[u64], strategy: &StrategyConfig, period: usize) -> u64 {
    sum(of_period, period.saturating_sub(strategy.reach())..period + 1)
}

/// What the log and the model weigh.
struct Probe {
    seconds_per_example: f64,
    /// In memory, of the model that knows every id of the log.
    model_bytes: u64,
    /// On disk, of its version without the histories.
    version_bytes: u64,
    /// Of the catalogue and the histories when the last update is made.
    last_history_bytes: u64,
    /// The same on disk, summed over pre-training and all updates.
    history_bytes: u64,
    /// What each method remembers at the end.
    remembered: Vec<Remembered>,
}

impl Probe {
    fn run(experiment: &Experiment, log: &Log, prepared: &Prepared, plan: &Plan<'_>) -> Result<Probe> {
        let Experiment { encoder, model, training, data, .. } = experiment;
        let features = FeatureSet::of(log.schema(), data.history > 0);
        let mut learned = Learned::new(model, Encoder::new(features, encoder.clone()), training, 0)?;
        // The last period that is learned from has the longest histories; an empty one shows nothing.
        let mut part = prepared.load(0)?;
        admit(&mut learned, &part);
        for period in 1..plan.updates().end {
            let next = prepared.load(period)?;
            admit(&mut learned, &next);
            part = if next.is_empty() { part } else { next };
        }
        let mut histories = Vec::new();
        // The run asks for the same ones, and finds them.
        for period in plan.first - 1..plan.updates().end {
            histories.push(prepared.state(period)?.len() as u64);
        }
        let Servable { encoder, params, .. } = &learned.servable;
        let vocabularies = encoder.vocabularies();
        let ids: u64 = vocabularies.iter().map(|vocabulary| vocabulary.rows() as u64).sum();
        let slots = params.dense.iter().map(|dense| dense.slots.len()).max().unwrap_or(0);
        let files = FILES + vocabularies.len() + (1 + slots) * (1 + params.tables.len());
        let parameters = params.bytes() as u64;
        let updates = plan.updates().len();
        let remembered = experiment.method.iter().map(|method| method.strategy.remembered(&learned, updates));
        let remembered = remembered.collect::<Result<Vec<_>, _>>()?;
        Ok(Probe {
            remembered,
            model_bytes: parameters + ID_BYTES * ids,
            version_bytes: parameters + KEY_BYTES * ids + BLOCK * files as u64,
            last_history_bytes: histories.last().copied().unwrap_or(0),
            history_bytes: histories.iter().map(|bytes| in_blocks(*bytes)).sum(),
            seconds_per_example: time_steps(&mut learned, &part, experiment)?,
        })
    }
}

/// Gives every id of a period its row.
fn admit(learned: &mut Learned, part: &Examples) {
    let servable = &mut learned.servable;
    let admitted = servable.encoder.observe(&[part]);
    servable.params.grow(servable.backbone.spec(), &admitted);
}

/// Seconds that an example takes on one core.
fn time_steps(learned: &mut Learned, part: &Examples, experiment: &Experiment) -> Result<f64> {
    let columns = learned.servable.encoder.encode(part)?;
    let encoded = Encoded { label: vec![0.0; part.len()], ..Encoded::new(columns, part) };
    let order: Vec<u32> = (0..part.len() as u32).collect();
    let (workers, mut trainer) = (Workers::new(1), Trainer::new(&experiment.training, 0));
    let clock = Instant::now();
    let mut rows = 0;
    for batch in order.chunks(experiment.training.batch_size).take(STEPS) {
        trainer.step(learned, &encoded, batch, &workers);
        rows += batch.len();
    }
    Ok(clock.elapsed().as_secs_f64() / rows.max(1) as f64)
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
        write!(f, "disk                  at most {}", bytes(self.disk))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Place;
    use super::super::{Event, Ledger, Watch, files, run};
    use super::*;
    use crate::experiment::PRETRAINED;
    use perennial_disk::Disk;
    use perennial_world::{LOG_DIR, Marketplace, MarketplaceConfig};
    use std::path::Path;

    struct Silent;

    impl Watch for Silent {
        fn tell(&self, _: Event<'_>) {}

        fn stop(&self) -> bool {
            false
        }
    }

    /// A log of six small periods, and an experiment on it with every strategy but replay, which is estimated at most.
    fn world(folder: &Path, keep: &str) -> Experiment {
        let config = MarketplaceConfig { periods: 6, rows: 100, ..MarketplaceConfig::default() };
        Marketplace::new(config, 1).unwrap().write(folder).unwrap();
        let text = format!(
            r#"
            name = "every-strategy"
            log = {:?}
            seeds = [1, 2]
            data = {{ slicing = {{ time = "1d" }}, history = 5 }}
            protocol = {{ pretrain = 2 }}
            model = {{ kind = "embedding_mlp", dim = 4, hidden = [6] }}
            training = {{ batch_size = 64, epochs = 2, pretrain_epochs = 3 }}
            method = [
                {{ name = "frozen", strategy = "frozen" }},
                {{ name = "incremental", strategy = "incremental" }},
                {{ name = "batch-2", strategy = {{ batch = {{ window = 2 }} }} }},
                {{ name = "batch-9", strategy = {{ batch = {{ window = 9, init = "scratch" }} }} }},
                {{ name = "retrain", strategy = "retrain" }},
                {{ name = "retrain-1", strategy = {{ retrain = {{ epochs = 1 }} }} }},
                {{ name = "incctr", strategy = "incctr" }},
                {{ name = "linear", strategy = {{ asmg_linear = {{ sequence = 1, epochs = 2 }} }} }},
                {{ name = "gru-multi", strategy = {{ asmg_gru = {{ sequence = 2, epochs = 2 }} }} }},
                {{ name = "gru-single", strategy = {{ asmg_gru = {{ variant = "single", sequence = 2 }} }} }},
                {{ name = "gru-full", strategy = {{ asmg_gru = {{ variant = "full" }} }} }},
                {{ name = "mixture", strategy = "mixture" }},
                {{ name = "sml", strategy = {{ sml = {{ rounds = 3, epochs = 2 }} }} }},
                {{ name = "gated", strategy = {{ batch = {{ window = 2 }} }}, gate = {{}} }},
            ]
            keep = {{ versions = "{keep}", scores = true }}
            "#,
            folder.join(LOG_DIR)
        );
        Experiment::parse(&text).unwrap()
    }

    fn options(out: &Path) -> RunOptions<'static> {
        RunOptions { out: out.to_owned(), prepared: None, workers: 2, disk: Disk::default(), watch: &Silent }
    }

    /// Bytes of all files beneath a folder, in whole blocks.
    fn size(folder: &Path) -> u64 {
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        let sizes = entries.map(|entry| match entry.path().is_dir() {
            true => size(&entry.path()),
            false => entry.metadata().unwrap().len().next_multiple_of(BLOCK),
        });
        sizes.sum()
    }

    #[test]
    fn a_run_trains_on_what_was_estimated() {
        let folder = tempfile::tempdir().unwrap();
        let (experiment, out) = (world(folder.path(), "all"), folder.path().join("out"));
        let estimated = estimate(&experiment, &options(&out)).unwrap();
        let results = run(&experiment, &options(&out)).unwrap().results;

        let log = Log::open(&experiment.log).unwrap();
        let prepared = super::super::prepare_log(&experiment, &log, &options(&out)).unwrap();
        let plan = Plan::new(&experiment, &prepared, 2).unwrap();
        let mut all = 0;
        for method in &experiment.method {
            for run in &results.method(&method.name).unwrap().seeds {
                let trained: u64 = run.periods.iter().map(|record| record.trained_rows).sum();
                assert_eq!(plan.trained_by(method), trained, "{}, seed {}", method.name, run.seed);
                all += trained;
            }
        }
        let ledger = Ledger::new(out.join(files::LEDGER), Disk::default());
        for &seed in &experiment.seeds {
            let updated = ledger.updated(Place { method: PRETRAINED, seed, period: 1 }).unwrap().unwrap();
            assert_eq!(plan.pretraining(), updated.trained.rows, "seed {seed}");
            all += updated.trained.rows;
        }
        assert_eq!(estimated.trained_examples, all);
    }

    /// With all versions kept, a run has at its end what it has at most: no less than two thirds of the estimate, where
    /// methods do not share what a store keeps once.
    #[test]
    fn a_run_takes_the_disk_that_was_estimated() {
        for name in ["incremental", "batch-2", "retrain", "gru-multi", "linear", "sml", "gated"] {
            let folder = tempfile::tempdir().unwrap();
            let (mut experiment, out) = (world(folder.path(), "all"), folder.path().join("out"));
            experiment.method.retain(|method| method.name == name || method.name == "frozen");
            let estimated = estimate(&experiment, &options(&out)).unwrap().disk;
            run(&experiment, &options(&out)).unwrap();
            let taken = size(&out);
            let close = taken <= estimated && estimated <= taken * 3 / 2;
            assert!(close, "{name}: {taken} bytes taken, {estimated} estimated");
        }
    }

    #[test]
    fn what_is_kept_and_what_is_looked_back_on_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut experiment = world(folder.path(), "all");
        let mut estimated = |keep, names: &[&str]| {
            experiment.keep.versions = keep;
            let only = |method: &&crate::experiment::Method| names.contains(&method.name.as_str());
            let method = experiment.method.iter().filter(only).cloned().collect();
            estimate(&Experiment { method, ..experiment.clone() }, &options(&folder.path().join("out"))).unwrap()
        };
        let all = ["incremental", "batch-2", "retrain"];
        assert!(estimated(KeepVersions::Last, &all).disk < estimated(KeepVersions::All, &all).disk);
        let memory = ["incremental", "batch-2", "retrain"].map(|name| estimated(KeepVersions::All, &[name]).memory);
        assert!(memory.is_sorted() && memory[1] < memory[2], "{memory:?}");
    }

    #[test]
    fn nothing_is_prepared_while_a_run_is_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let (experiment, out) = (world(folder.path(), "all"), folder.path().join("out"));
        let _held = RunLock::acquire(&out).unwrap();
        assert!(estimate(&experiment, &options(&out)).is_err());
        assert!(!out.join(files::PREPARED).exists());
    }
}
