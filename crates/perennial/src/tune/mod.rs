//! A search over settings of an experiment, ranked on what it is not judged by.
//!
//! ```text
//! <out>/trials/<digest of settings>/   each trial, as `run` or `train` leave it; finished work is kept, also that a trial diverged
//! <out>/data/, <out>/prepared/         the data, read once for all trials
//! <out>/tune.json                      all trials, the best first
//! <out>/best.toml                      the experiment with the best settings, whole
//! ```
//!
//! A trial of a split never sees the test files; one of a continual experiment ends with the selection periods.

mod base;
mod config;
mod failure;
mod space;

pub use config::{Search, Selection, TuneConfig};
pub use space::{Range, Settings, Values};

use crate::experiment::Experiment;
use crate::run::{self, RunOptions, Watch};
use crate::split::{self, SplitExperiment, SplitOptions, SplitWatch};
use anyhow::{Context, Result, bail};
use base::{Base, Trial};
use perennial_core::{Digest, DigestBuilder};
use perennial_disk::Disk;
use perennial_eval::{Criterion, SplitMoment, TUNE_FORMAT, TuneResults, TuneTrial};
use std::path::{Path, PathBuf};

/// Where and how to search; nothing here changes any result.
pub struct TuneOptions<'a> {
    /// Folder of the results; made if it is not there.
    pub out: PathBuf,
    /// Threads.
    pub workers: usize,
    /// The disk; one that is made to fail, in tests.
    pub disk: Disk,
    /// Is told what happens within trials, and may ask to stop.
    pub watch: &'a dyn TuneWatch,
}

/// Looks on while trials run.
pub trait TuneWatch: Watch + SplitWatch {
    /// A trial begins: its number from 1, of how many, and its settings.
    fn trial(&self, number: usize, of: usize, settings: &Settings);

    /// A trial is over, or was found finished.
    fn trial_done(&self, number: usize, of: usize, trial: &TuneTrial);

    /// Something that a person should know.
    fn warn(&self, text: &str);
}

/// Names of the files of a search.
pub mod files {
    /// All trials.
    pub const RESULTS: &str = "tune.json";
    /// The experiment with the best settings.
    pub const BEST: &str = "best.toml";
}

/// Folder for a search that names none.
pub fn default_folder(config: &TuneConfig) -> PathBuf {
    Path::new("runs").join(&config.name)
}

/// Runs all trials that are not finished, and ranks all.
pub fn tune(config: &TuneConfig, options: &TuneOptions<'_>) -> Result<TuneResults> {
    let base = Base::read(config)?;
    let trials = space::trials(config);
    // Mistakes in settings are found before hours of training, not after.
    let built = trials
        .iter()
        .map(|settings| base.with(&config.name, settings).with_context(|| format!("with {}", show(settings))));
    let built = built.collect::<Result<Vec<_>>>()?;
    let best_as = built.first().map_or("run", Trial::command);
    if let (Some(Trial::Continual(experiment)), Some(selection)) = (built.first(), config.selection) {
        check_log(experiment, selection, options)?;
    }
    let mut done = Vec::new();
    for (number, (settings, trial)) in trials.iter().zip(built).enumerate() {
        options.watch.trial(number + 1, trials.len(), settings);
        let of = || format!("trial {} of {}: {}", number + 1, trials.len(), show(settings));
        let run = run_trial(&trial.cut(config.selection), settings, config, options).with_context(of)?;
        let diverged = run.is_none();
        let (values, seconds) = run.unwrap_or_default();
        let trial = TuneTrial { settings: as_text(settings), values, diverged, seconds };
        options.watch.trial_done(number + 1, trials.len(), &trial);
        done.push(trial);
    }
    if done.iter().all(|trial| trial.diverged) {
        bail!("every trial diverged: a loss or a score is infinite or no number. Try smaller learning rates");
    }
    let results = TuneResults::ranked(TUNE_FORMAT, config.name.clone(), best_as.into(), config.metric, done);
    let best = trials.iter().find(|settings| as_text(settings) == results.trials[0].settings);
    let best = base.with(&config.name, best.expect("the best trial is one of them"))?;
    write(options, files::RESULTS, results.to_json().as_bytes())?;
    write(options, files::BEST, best.to_toml().as_bytes())?;
    Ok(results)
}

fn as_text(settings: &Settings) -> std::collections::BTreeMap<String, String> {
    settings.iter().map(|(key, value)| (key.clone(), value.to_string())).collect()
}

/// Settings in one line.
pub fn show(settings: &Settings) -> String {
    settings.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
}

fn write(options: &TuneOptions<'_>, name: &str, bytes: &[u8]) -> Result<()> {
    let path = options.out.join(name);
    options.disk.replace(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// The metric of each seed, and seconds of training; `None` if it diverges.
fn run_trial(
    trial: &Trial,
    settings: &Settings,
    config: &TuneConfig,
    options: &TuneOptions<'_>,
) -> Result<Option<(Vec<f64>, f64)>> {
    let out = options.out.join("trials").join(key(settings).short());
    if failure::find(trial, &out)?.is_some() {
        return Ok(None);
    }
    let run = match trial {
        Trial::Split(experiment) => validate(experiment, out.clone(), config.metric, options),
        Trial::Continual(experiment) => select(experiment, out.clone(), config, options),
    };
    let error = match run {
        Ok(found) => return Ok(Some(found)),
        Err(error) => error,
    };
    let Some(problem) = failure::diverged(&error) else { return Err(error) };
    options.watch.warn(&problem);
    failure::keep(trial, &out, &problem, &options.disk)?;
    Ok(None)
}

/// Refuses a log that ends before the selection, and warns where the experiment is judged by what it was selected on.
fn check_log(experiment: &Experiment, selection: Selection, options: &TuneOptions<'_>) -> Result<()> {
    let all = run::periods_of_log(experiment, &run_options(options.out.clone(), options))?;
    if selection.last() >= all {
        bail!("selection.periods: the log has periods 0 to {}, and not {}", all.saturating_sub(1), selection.last());
    }
    let protocol = &experiment.protocol;
    let end = protocol.periods.map_or(all, |periods| all.min(protocol.pretrain.saturating_add(periods)));
    let averaged = protocol.average_last.map_or(protocol.pretrain, |last| end.saturating_sub(last));
    let left = end.saturating_sub(selection.last() + 1);
    if averaged.max(protocol.pretrain) <= selection.last() {
        options.watch.warn(&match left {
            0 => "no period comes after the selection: nothing is left that the best can be judged by".to_owned(),
            left => format!(
                "the average of the experiment holds periods that were selected on; protocol.average_last = {left} leaves \
                 them out"
            ),
        });
    }
    Ok(())
}

fn run_options<'a>(out: PathBuf, options: &TuneOptions<'a>) -> RunOptions<'a> {
    RunOptions {
        out,
        prepared: Some(options.out.join(run::files::PREPARED)),
        workers: options.workers,
        disk: options.disk.clone(),
        watch: options.watch,
    }
}

fn key(settings: &Settings) -> Digest {
    DigestBuilder::new("trial").str(&show(settings)).finish()
}

/// On the validation examples of a split, at the best epoch.
fn validate(
    experiment: &SplitExperiment,
    out: PathBuf,
    metric: Criterion,
    options: &TuneOptions<'_>,
) -> Result<(Vec<f64>, f64)> {
    let split_options = SplitOptions {
        out,
        data: Some(options.out.join("data")),
        hold_test_back: true,
        workers: options.workers,
        disk: options.disk.clone(),
        watch: options.watch,
    };
    let results = split::train(experiment, &split_options)?;
    let runs = &results.methods[0].seeds;
    let value = |run: &perennial_eval::SplitRun| run.at(SplitMoment::Best)?.valid.get(metric.metric().name);
    let values = runs.iter().map(value).collect::<Option<Vec<_>>>();
    let values =
        values.with_context(|| format!("{} is undefined on the validation examples", metric.metric().title))?;
    Ok((values, runs.iter().map(|run| run.seconds).sum()))
}

/// On the selection periods of a continual experiment.
fn select(
    experiment: &Experiment,
    out: PathBuf,
    config: &TuneConfig,
    options: &TuneOptions<'_>,
) -> Result<(Vec<f64>, f64)> {
    let results = run::run(experiment, &run_options(out, options))?.results;
    let (metric, span) = (config.metric.metric(), results.span.clone());
    let method = results.method(&experiment.method[0].name).context("a method has results")?;
    let mut values = Vec::new();
    for seed in &method.seeds {
        let chosen = seed.periods.iter().filter(|record| span.contains(&record.period));
        let of_seed: Vec<f64> = chosen.filter_map(|record| record.metrics.get(metric.name)).collect();
        let mean = perennial_eval::Summary::of(&of_seed).map(|summary| summary.mean);
        values.push(mean.with_context(|| format!("{} is undefined on the selection periods", metric.title))?);
    }
    let periods = method.seeds.iter().flat_map(|seed| &seed.periods);
    Ok((values, periods.filter_map(|record| record.train_seconds).sum()))
}
