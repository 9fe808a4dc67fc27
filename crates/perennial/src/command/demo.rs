//! `perennial demo`

use super::run::{show, threads};
use crate::experiment::Experiment;
use crate::run::{self, RunOptions};
use crate::terminal::Terminal;
use anyhow::{Context, Result, bail};
use clap::Args;
use perennial_disk::{Disk, atomic_write};
use perennial_store::RunLock;
use perennial_world::{Marketplace, MarketplaceConfig};
use std::path::PathBuf;

/// The experiment that the demo runs; it is written beside its results, to be changed and run again.
const EXPERIMENT: &str = include_str!("demo.toml");

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "The marketplace is synthetic: users' tastes and items drift, a shared taste comes round every \
                        four days, new items burst in, sparse users return after days. Its true click probabilities \
                        are known, so the table shows how far from the best achievable score each method is."
)]
pub(crate) struct Arguments {
    /// Folder of the run
    #[arg(long, short, default_value = "runs/demo")]
    out: PathBuf,
    /// Seed of the world
    #[arg(long, default_value_t = 1)]
    world_seed: u64,
    /// Threads [default: all cores]
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// A quarter of the rows, for a quick look
    #[arg(long)]
    small: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    let experiment = prepare(arguments, terminal)?;
    let options = RunOptions {
        out: arguments.out.clone(),
        prepared: None,
        workers: threads(arguments.workers),
        disk: Disk::default(),
        watch: terminal,
    };
    let outcome = run::run(&experiment, &options)?;
    show(&options, &outcome, terminal)
}

/// Writes the world and the experiment file, unless an earlier demo did. A folder that holds another world is refused:
/// its results would be of neither.
fn prepare(arguments: &Arguments, terminal: &Terminal) -> Result<Experiment> {
    let folder = &arguments.out;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Let go when this returns, before the run takes it.
    let _lock = RunLock::acquire(folder)?;
    let path = folder.join("demo.toml");
    let world = folder.join("world");
    let found = std::fs::read_to_string(world.join(MARK)).ok();
    if let Some(found) = found.as_deref().filter(|found| *found != mark(arguments)) {
        bail!(
            "{} holds the demo of another world ({}; asked for: {}): choose another folder with --out, or delete it",
            folder.display(),
            found.trim(),
            mark(arguments).trim()
        );
    }
    if found.is_none() {
        terminal.note("drawing a marketplace whose true click probabilities are known");
        let default = MarketplaceConfig::default();
        let rows = if arguments.small { default.rows / 4 } else { default.rows };
        let marketplace = Marketplace::new(MarketplaceConfig { rows, ..default }, arguments.world_seed)?;
        marketplace.write(&world).with_context(|| format!("cannot write {}", world.display()))?;
        atomic_write(&path, EXPERIMENT.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        atomic_write(world.join(MARK), mark(arguments).as_bytes())?;
    }
    Experiment::read(&path)
}

/// Says which world lies in the folder; written last.
const MARK: &str = "world.txt";

fn mark(arguments: &Arguments) -> String {
    format!("seed {} small {}\n", arguments.world_seed, arguments.small)
}
