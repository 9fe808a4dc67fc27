//! The period loop: every method and seed over every period of a log, resumable at any moment.
//!
//! A run's folder holds the resolved experiment, the prepared periods, the store of versions, the ledger of what was
//! scored and learned, and at the end the results. Whatever is found there is used again; whatever is missing is made
//! again, with the same digests.

mod archive;
mod ceiling;
mod contestant;
mod estimate;
mod job;
mod ledger;
mod outside;
mod publish;
mod results;
mod resume;
mod served;
mod version;
mod watch;

pub use estimate::{Estimate, estimate};
pub use ledger::Ledger;
pub(crate) use version::bundle as version_bundle;
pub use version::{Scorer, load_learned, scorer_of};
pub use watch::{Event, Watch};

pub(crate) use job::users_of;

use crate::experiment::{Experiment, KeepVersions, Method};
use anyhow::{Context, Result, bail};
use contestant::Contestant;
use job::{Job, Shared};
use outside::Outside;
use perennial_core::{Digest, Role, Schema};
use perennial_data::log::Log;
use perennial_disk::Disk;
use perennial_eval::Results;
use perennial_store::{Retention, RunLock, Store, VersionId};
use perennial_stream::{Cache, Prepared, Progress, prepare};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};

/// Where and how to run; nothing here changes any result.
pub struct RunOptions<'a> {
    /// Folder of the run; made if it is not there.
    pub out: PathBuf,
    /// Folder of the prepared periods, where several runs share them; beneath `out` if absent.
    pub prepared: Option<PathBuf>,
    /// Threads.
    pub workers: usize,
    /// The disk; one that is made to fail, in tests.
    pub disk: Disk,
    /// Is told what happens, and may ask to stop.
    pub watch: &'a dyn Watch,
}

/// What a finished run found.
#[derive(Debug)]
pub struct Outcome {
    /// The results.
    pub results: Results,
    /// Digest over every metric and every version; timings are not in it.
    pub digest: Digest,
}

/// Names of the files of a run's folder.
pub mod files {
    /// The resolved experiment.
    pub const EXPERIMENT: &str = "experiment.toml";
    /// Prepared periods.
    pub const PREPARED: &str = "prepared";
    /// Versions.
    pub const STORE: &str = "store";
    /// What was scored and learned.
    pub const LEDGER: &str = "ledger";
    /// Scores, if they are kept.
    pub const SCORES: &str = "scores";
    /// The results for machines.
    pub const RESULTS: &str = "results.json";
    /// The results as a table for machines.
    pub const TABLE: &str = "results.parquet";
    /// The results for people.
    pub const REPORT: &str = "report.html";
}

/// Runs an experiment, or what is left of it.
pub fn run(experiment: &Experiment, options: &RunOptions<'_>) -> Result<Outcome> {
    options.disk.create_folder(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    let _lock = RunLock::acquire(&options.out)?;
    let log = Log::open(&experiment.log)?;
    check_requests(experiment, log.schema())?;
    settle_experiment(experiment, options)?;
    for folder in [files::LEDGER, files::SCORES] {
        let folder = options.out.join(folder);
        options.disk.sweep(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    options.watch.tell(Event::Preparing { log: &experiment.log });
    let prepared = prepare_log(experiment, &log, options)?;
    note_losses(&prepared, options);
    let periods = scored_periods(experiment, &prepared)?;
    let outside = Outside::read(experiment, &log, &prepared)?;
    let store = Store::on_disk(options.out.join(files::STORE), options.disk.clone())?;
    let ledger = Ledger::new(options.out.join(files::LEDGER), options.disk.clone());
    let shared = Shared {
        experiment,
        schema: log.schema(),
        prepared: &prepared,
        outside,
        periods,
        store: &store,
        ledger: &ledger,
        options,
        store_turns: RwLock::new(()),
        failed: AtomicBool::new(false),
    };
    announce(&shared)?;
    pretrain_all(&shared)?;
    run_all(&shared)?;
    collect_garbage(&shared)?;
    finish(&shared, &log)
}

/// Tells what preparing the log left out, and what it had to do again.
fn note_losses(prepared: &Prepared, options: &RunOptions<'_>) {
    if let Some(damage) = prepared.damage() {
        options
            .watch
            .tell(Event::Noted { text: &format!("the prepared periods were damaged and were made again: {damage}") });
    }
    if prepared.dropped_rows() > 0 {
        let text = format!(
            "{} rows at the end of the log are left out: periods of equal counts have no remainder",
            prepared.dropped_rows()
        );
        options.watch.tell(Event::Noted { text: &text });
    }
}

/// Tells the onlooker how much is left to do.
fn announce(shared: &Shared<'_>) -> Result<()> {
    let mut left = 0;
    for job in jobs(shared.experiment) {
        for period in shared.periods.clone() {
            let place = ledger::Place { method: job.contestant.name(), seed: job.seed, period };
            left += u64::from(shared.ledger.scored(place)?.is_none());
        }
    }
    shared.options.watch.tell(Event::Planned { periods: left });
    Ok(())
}

/// Refuses a loss on pairs where no two examples are of one request.
fn check_requests(experiment: &Experiment, schema: &Schema) -> Result<()> {
    if schema.key_of(Role::Request).is_some() || experiment.data.negatives.is_some() {
        return Ok(());
    }
    let looks_at_pairs = |method: &&Method| method.training(&experiment.training).objective.needs_requests();
    match experiment.method.iter().find(looks_at_pairs) {
        Some(method) => bail!(
            "method \"{}\": its objective looks at pairs of a request, but the log has no field of role \"request\" and no \
             negatives are sampled",
            method.name
        ),
        None => Ok(()),
    }
}

/// Stores the resolved experiment, or refuses a folder that holds the run of another one. What changes no version may
/// differ: more methods and seeds, other averages, another place of the same log (its content is checked period by
/// period).
fn settle_experiment(experiment: &Experiment, options: &RunOptions<'_>) -> Result<()> {
    let path = options.out.join(files::EXPERIMENT);
    if path.exists() {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let found = Experiment::parse(&text).with_context(|| format!("in {}", path.display()))?;
        if let Some(key) = experiment.conflict(&found) {
            bail!(
                "{} holds the run of another experiment: \"{key}\" differs from {}; choose another folder with --out, \
                 or delete it",
                options.out.display(),
                path.display()
            );
        }
    }
    let resolved = experiment.to_toml();
    options.disk.replace(&path, resolved.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn prepare_log(experiment: &Experiment, log: &Log, options: &RunOptions<'_>) -> Result<Prepared> {
    let mut progress = |Progress { rows, of, .. }: Progress| {
        options.watch.tell(Event::Prepared { rows, of });
        !options.watch.stop()
    };
    let folder = options.prepared.clone().unwrap_or_else(|| options.out.join(files::PREPARED));
    let cache = Cache { folder, disk: options.disk.clone() };
    Ok(prepare(log, &experiment.data, &cache, &mut progress)?)
}

/// How many periods the log of an experiment has; it is prepared, or found prepared.
pub(crate) fn periods_of_log(experiment: &Experiment, options: &RunOptions<'_>) -> Result<u32> {
    let log = Log::open(&experiment.log)?;
    options.watch.tell(Event::Preparing { log: &experiment.log });
    Ok(prepare_log(experiment, &log, options)?.periods() as u32)
}

/// Periods that are scored: after pre-training, to the last one or as many as were asked for.
fn scored_periods(experiment: &Experiment, prepared: &Prepared) -> Result<std::ops::Range<u32>> {
    let (first, all) = (experiment.protocol.pretrain, prepared.periods() as u32);
    let last = experiment.protocol.periods.map_or(all, |periods| all.min(first.saturating_add(periods)));
    if first >= last {
        bail!(
            "the log has {all} periods and all of them go into pre-training (protocol.pretrain = {first}): none is \
             left to score; lower it, or cut the log finer in data.slicing"
        );
    }
    Ok(first..last)
}

fn pretrain_all(shared: &Shared<'_>) -> Result<()> {
    let seeds = &shared.experiment.seeds;
    in_parallel(shared, seeds.len(), |nth, workers| {
        job::pretrain(shared, seeds[nth], workers).with_context(|| format!("pre-training, seed {}", seeds[nth]))
    })
}

fn run_all(shared: &Shared<'_>) -> Result<()> {
    let jobs = jobs(shared.experiment);
    in_parallel(shared, jobs.len(), |nth, workers| {
        job::run(shared, &jobs[nth], workers)?;
        collect_garbage(shared)
    })
}

/// References first, then methods by seed.
fn jobs(experiment: &Experiment) -> Vec<Job<'_>> {
    let references = [Contestant::Constant, Contestant::Popularity];
    let references = references.into_iter().map(|contestant| Job { contestant, seed: 0 });
    let learners = experiment.seeds.iter().flat_map(|&seed| {
        experiment.method.iter().map(move |method: &Method| Job { contestant: Contestant::Learner(method), seed })
    });
    references.chain(learners).collect()
}

/// Calls `work(n, workers)` for every n below `count`, as many at once as there are threads; threads that are left
/// over work within. The first error stops what has not begun.
fn in_parallel(
    shared: &Shared<'_>,
    count: usize,
    work: impl Fn(usize, &perennial_nn::Workers) -> Result<()> + Sync,
) -> Result<()> {
    let threads = shared.options.workers.clamp(1, count.max(1));
    let within = (shared.options.workers / threads).max(1);
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let workers = perennial_nn::Workers::new(within);
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= count {
                        return;
                    }
                    if let Err(error) = work(nth, &workers) {
                        next.store(count, Ordering::Relaxed);
                        // The reason first: others that are told to stop have none of their own.
                        failure.lock().expect("no thread panics while it holds this").get_or_insert(error);
                        shared.failed.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    match failure.into_inner().expect("no thread panicked while it held this") {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Removes the versions that nothing needs any more, after each job: until then all versions of the jobs under way are
/// there.
fn collect_garbage(shared: &Shared<'_>) -> Result<()> {
    if shared.experiment.keep.versions == KeepVersions::All {
        return Ok(());
    }
    let keep = shared.experiment.seeds.iter().map(|&seed| resume::pretrained_id(seed)).collect::<Result<_>>()?;
    // Where another job is publishing, the next collection will find what this one leaves.
    let Ok(_turn) = shared.store_turns.try_write() else { return Ok(()) };
    match shared.store.gc(&Retention { last: 1, keep }) {
        Ok(_) | Err(perennial_store::Error::Busy { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn finish(shared: &Shared<'_>, log: &Log) -> Result<Outcome> {
    let results = results::collect(shared, &jobs(shared.experiment), log)?;
    let write = |name: &str, bytes: &[u8]| {
        let path = shared.options.out.join(name);
        shared.options.disk.replace(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    write(files::RESULTS, results.to_json().as_bytes())?;
    write(files::TABLE, &perennial_eval::to_parquet(&results)?)?;
    write(files::REPORT, crate::report::html(&results, shared.experiment.baseline())?.as_bytes())?;
    Ok(Outcome { digest: results.digest(), results })
}

/// The name of a version: `<method>/<seed>/<last period learned from>`; 0 for the pre-trained ones.
pub(crate) fn version_id(group: &str, seed: u64, period: u32) -> Result<VersionId> {
    Ok(format!("{group}/{seed}/{period:04}").parse::<VersionId>()?)
}

/// Folder of a run for an experiment that names none.
pub fn default_folder(experiment: &Experiment) -> PathBuf {
    Path::new("runs").join(&experiment.name)
}
