//! A small synthetic log and an experiment on it.

use perennial::experiment::Experiment;
use perennial::run::{Event, Outcome, RunOptions, Watch, run};
use perennial::store::Disk;
use perennial::world::{LOG_DIR, Marketplace, MarketplaceConfig};
use std::path::Path;
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

/// Puts another log of as many rows in the place of the one that is there.
pub(crate) fn write_other_log(folder: &Path) {
    write(folder, 2);
}

fn write(folder: &Path, seed: u64) {
    let config = MarketplaceConfig { periods: 6, rows: 300, ..MarketplaceConfig::default() };
    Marketplace::new(config, seed).unwrap().write(folder).unwrap();
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
        "#,
        folder.join(LOG_DIR)
    )
}

pub(crate) fn experiment(folder: &Path) -> Experiment {
    Experiment::parse(&experiment_text(folder)).unwrap()
}

/// Runs on a disk that may be made to fail.
pub(crate) fn run_on(experiment: &Experiment, out: &Path, workers: usize, disk: Disk) -> anyhow::Result<Outcome> {
    run(experiment, &RunOptions { out: out.to_owned(), workers, disk, watch: &Silent })
}
