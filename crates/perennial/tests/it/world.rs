//! A small synthetic log and an experiment on it.

use perennial::core::Digest;
use perennial::data::scores::Scores;
use perennial::disk::Disk;
use perennial::experiment::Experiment;
use perennial::run::{Event, Outcome, RunOptions, Watch, run};
use perennial::store::{Store, VersionId};
use perennial::world::{LOG_DIR, Marketplace, MarketplaceConfig};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Watches nothing and never stops.
pub(crate) struct Silent;

impl Watch for Silent {
    fn tell(&self, _: Event<'_>) {}

    fn stop(&self) -> bool {
        false
    }
}

/// A log of six small periods in a folder of its own.
pub(crate) fn write_log() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1);
    folder
}

/// The same log, on a disk that may be made to fail.
pub(crate) fn write_log_on(disk: &Disk, folder: &Path) -> anyhow::Result<()> {
    marketplace(1).write_on(disk, folder)?;
    Ok(())
}

/// Puts another log of as many rows in the place of the one that is there.
pub(crate) fn write_other_log(folder: &Path) {
    write(folder, 2);
}

fn write(folder: &Path, seed: u64) {
    marketplace(seed).write(folder).unwrap();
}

fn marketplace(seed: u64) -> Marketplace {
    let config = MarketplaceConfig { periods: 6, rows: 300, ..MarketplaceConfig::default() };
    Marketplace::new(config, seed).unwrap()
}

/// The text of an experiment on a log written by [`write_log`].
pub(crate) fn experiment_text(folder: &Path) -> String {
    format!(
        r#"
        name = "small"
        log = {:?}
        seeds = [1, 2]
        [data]
        slicing = {{ time = "1d" }}
        history = 5
        [protocol]
        pretrain = 2
        average_last = 2
        [model]
        kind = "embedding_mlp"
        dim = 4
        hidden = [6]
        [training]
        batch_size = 64
        optimiser = {{ rule = "adam", learning_rate = 0.01 }}
        [[method]]
        name = "frozen"
        strategy = "frozen"
        [[method]]
        name = "incremental"
        strategy = "incremental"
        [[method]]
        name = "batch-2"
        strategy = {{ batch = {{ window = 2 }} }}
        objective = {{ bce = 0.7, self_correction = 0.3 }}
        "#,
        folder.join(LOG_DIR)
    )
}

pub(crate) fn experiment(folder: &Path) -> Experiment {
    Experiment::parse(&experiment_text(folder)).unwrap()
}

/// Runs on a disk that may be made to fail.
pub(crate) fn run_on(experiment: &Experiment, out: &Path, workers: usize, disk: Disk) -> anyhow::Result<Outcome> {
    run(experiment, &RunOptions { out: out.to_owned(), prepared: None, workers, disk, watch: &Silent })
}

/// Everything that a run leaves for others.
#[derive(Debug, PartialEq)]
pub(crate) struct Left {
    results: Digest,
    /// Content of every version.
    pub(crate) versions: BTreeMap<VersionId, Digest>,
    /// Score files by their path beneath the folder of scores.
    pub(crate) scores: BTreeMap<PathBuf, Scores>,
}

/// What a finished run left in its folder, which must be sound.
pub(crate) fn left_by(out: &Path, outcome: &Outcome) -> Left {
    let store = Store::open(out.join("store")).unwrap();
    assert!(store.verify(None).unwrap().troubles.is_empty(), "the store is whole");
    let ids = store.list("").unwrap();
    let versions = ids.into_iter().map(|id| (id.clone(), store.manifest(&id).unwrap().content)).collect();
    let folder = out.join("scores");
    let files = files_beneath(&folder).into_iter();
    let scores = files.map(|path| (path.strip_prefix(&folder).unwrap().to_owned(), Scores::read(&path).unwrap()));
    Left { results: outcome.digest, versions, scores: scores.collect() }
}

/// All files beneath a folder; none where it is not.
pub(crate) fn files_beneath(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_beneath(&path) } else { vec![path] }).collect()
}

/// A run that was ended after each of so many scored periods and then gone on with, on other numbers of workers, leaves what
/// one made at once leaves.
pub(crate) fn goes_on_where_it_ended(whole: &Experiment, after: &[u32]) {
    let folder = tempfile::tempdir().unwrap();
    let run = |experiment: &Experiment, name: &str, workers| {
        let out = folder.path().join(name);
        let outcome = run_on(experiment, &out, workers, Disk::default()).unwrap();
        left_by(&out, &outcome)
    };
    let expected = run(whole, "whole", 1);
    for &periods in after {
        let mut part = whole.clone();
        part.protocol.periods = Some(periods);
        run(&part, "grown", 2);
    }
    assert_eq!(run(whole, "grown", 2), expected);
}
