//! Training on one static split: every method and seed, resumable between them.
//!
//! ```text
//! <out>/experiment.toml          the experiment, every default spelled out
//! <out>/data/<digest>/           what the files hold, as canonical logs and prepared examples
//! <out>/runs/<method>/<seed>.json  one finished run; kept, and not run again
//! <out>/results.json             all of them
//! <out>/store/                   the model that each run kept, as a version that `score` reads
//! ```

mod config;
mod data;
mod publish;
mod record;
mod watch;

pub(crate) use data::held_back_digest;

pub use config::{SplitExperiment, SplitMethod, SplitPart, Stretch};
pub use watch::{SplitEvent, SplitWatch};

use crate::run::files;
use anyhow::{Context, Result, bail};
use data::Data;
use perennial_core::{Digest, FeatureSet};
use perennial_disk::Disk;
use perennial_eval::{SPLIT_FORMAT, SplitMethodResults, SplitResults, SplitRun};
use perennial_learn::{EarlierScores, LearnError, Learned, SplitEnv, fit_split};
use perennial_model::Encoder;
use perennial_nn::Workers;
use perennial_store::{RunLock, Store};
use record::Records;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where and how to train; nothing here changes any result.
pub struct SplitOptions<'a> {
    /// Folder of the results; made if it is not there.
    pub out: PathBuf,
    /// Folder of the data, where several trainings share it; beneath `out` if absent.
    pub data: Option<PathBuf>,
    /// Leave the test files alone, so that no result is of them: for a search.
    pub hold_test_back: bool,
    /// Threads.
    pub workers: usize,
    /// The disk; one that is made to fail, in tests.
    pub disk: Disk,
    /// Is told what happens, and may ask to stop.
    pub watch: &'a dyn SplitWatch,
}

/// Name of the results in the folder.
pub const RESULTS: &str = "results.json";

/// Trains what the folder does not hold yet, and gathers all results.
pub fn train(experiment: &SplitExperiment, options: &SplitOptions<'_>) -> Result<SplitResults> {
    options.disk.create_folder(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    let _lock = RunLock::acquire(&options.out)?;
    let data = Data::load(experiment, options)?;
    let store = match options.hold_test_back {
        true => None,
        false => Some(Store::on_disk(options.out.join(files::STORE), options.disk.clone())?),
    };
    let workers = Workers::new(options.workers);
    let training = Training { experiment, data: &data, options, store: store.as_ref(), workers };
    let methods = training.all()?;
    let results = SplitResults {
        format: SPLIT_FORMAT,
        experiment: experiment.name.clone(),
        data: data.schema.name.clone(),
        rows: data.rows(),
        watch: experiment.schedule.watch,
        report_epochs: experiment.report_epochs.clone(),
        methods,
    };
    write(options, "experiment.toml", experiment.to_toml().as_bytes())?;
    write(options, RESULTS, results.to_json().as_bytes())?;
    Ok(results)
}

fn write(options: &SplitOptions<'_>, name: &str, bytes: &[u8]) -> Result<()> {
    let path = options.out.join(name);
    options.disk.replace(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Folder for an experiment that names none.
pub fn default_folder(experiment: &SplitExperiment) -> PathBuf {
    Path::new("runs").join(&experiment.name)
}

/// What all runs have in common.
struct Training<'a> {
    experiment: &'a SplitExperiment,
    data: &'a Data,
    options: &'a SplitOptions<'a>,
    /// Where models are kept; a search keeps none.
    store: Option<&'a Store>,
    workers: Workers,
}

impl Training<'_> {
    /// The runs of all methods: found, or made.
    fn all(&self) -> Result<Vec<SplitMethodResults>> {
        let records = Records { folder: self.options.out.join("runs"), disk: &self.options.disk };
        let runs = || {
            let methods = self.experiment.method.iter();
            methods.flat_map(|method| self.experiment.seeds.iter().map(move |&seed| (method, seed)))
        };
        // All are looked at first: a folder of another experiment is refused before hours of training, not after.
        let found = runs().map(|(method, seed)| records.find(&method.name, seed, self.key(method, seed)));
        let found = found.collect::<Result<Vec<_>>>()?;
        // And so is a model that cannot be.
        for method in &self.experiment.method {
            self.check_logged(method).with_context(|| format!("method \"{}\"", method.name))?;
            self.blank(method, 0).with_context(|| format!("method \"{}\"", method.name))?;
        }
        self.options.watch.tell(SplitEvent::Planned { runs: found.iter().filter(|run| run.is_none()).count() });
        let mut done = Vec::with_capacity(found.len());
        for ((method, seed), found) in runs().zip(found) {
            done.push(match found {
                Some(run) => run,
                None => {
                    let run =
                        self.run(method, seed).with_context(|| format!("method \"{}\", seed {seed}", method.name))?;
                    records.keep(&method.name, seed, self.key(method, seed), &run)?;
                    run
                }
            });
        }
        let mut done = done.into_iter();
        let of = |method: &SplitMethod| SplitMethodResults {
            name: method.name.clone(),
            objective: method.objective(&self.experiment.training).name(),
            previous: method.earlier(&self.experiment.training).map(|earlier| earlier.describe()),
            seeds: done.by_ref().take(self.experiment.seeds.len()).collect(),
        };
        Ok(self.experiment.method.iter().map(of).collect())
    }

    /// Scores that shall have been logged are there.
    fn check_logged(&self, method: &SplitMethod) -> Result<()> {
        if method.earlier(&self.experiment.training) != Some(EarlierScores::Logged) {
            return Ok(());
        }
        let Some(field) = self.data.schema.score() else {
            bail!(
                "previous = \"logged\": {} has no field of kind \"score\"; name the column that holds what was served, or say \
                 previous = \"recomputed\"",
                self.experiment.schema.display()
            );
        };
        let mut logged = self.data.split().train.parts().iter().flat_map(|part| &part.previous);
        if logged.all(|logit| logit.is_nan()) {
            bail!("previous = \"logged\": no row to train on has a \"{}\"", field.name);
        }
        Ok(())
    }

    /// Digest of all that a run depends on.
    fn key(&self, method: &SplitMethod, seed: u64) -> Digest {
        self.experiment.key(method, seed, self.data.digest)
    }

    fn run(&self, method: &SplitMethod, seed: u64) -> Result<SplitRun> {
        let clock = Instant::now();
        let (watch, name) = (self.options.watch, method.name.as_str());
        if watch.stop() {
            bail!(LearnError::Stopped);
        }
        let training = method.training(&self.experiment.training);
        let env = SplitEnv {
            training: &training,
            schedule: &self.experiment.schedule,
            seed,
            blank: &|seed| self.blank(method, seed),
            workers: &self.workers,
            progress: &|step| {
                watch.tell(SplitEvent::Training { method: name, seed, step });
                !watch.stop()
            },
            epoch: &|epoch| watch.tell(SplitEvent::Epoch { method: name, seed, epoch }),
        };
        let fitted = fit_split(self.data.split(), method.earlier(&self.experiment.training), &env)?;
        // The version before the record: what is recorded exists.
        if let Some(store) = self.store {
            publish::publish(store, self.experiment, method, seed, self.data, &fitted)?;
        }
        let run = SplitRun {
            seed,
            parameters: parameters(&fitted.learned),
            best: fitted.best,
            epochs: fitted.epochs,
            digest: fitted.learned.digest(),
            seconds: clock.elapsed().as_secs_f64(),
        };
        watch.tell(SplitEvent::Finished { method: name, run: &run });
        Ok(run)
    }

    /// A model that has learned nothing.
    fn blank(&self, method: &SplitMethod, seed: u64) -> Result<Learned, LearnError> {
        let config = publish::encoder(self.experiment);
        let encoder = Encoder::new(FeatureSet::of(&self.data.schema, false), config);
        Learned::new(&method.model, encoder, &method.training(&self.experiment.training), seed)
    }
}

/// Numbers that training may move: the row of padding is none.
fn parameters(learned: &Learned) -> u64 {
    let params = &learned.servable.params;
    let dense = params.dense.iter().map(|dense| dense.values.len() as u64);
    let tables = params.tables.iter().map(|table| u64::from(table.rows() - 1) * table.dim() as u64);
    dense.chain(tables).sum()
}
