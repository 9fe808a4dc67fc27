//! `perennial run EXPERIMENT.toml`

use crate::experiment::Experiment;
use crate::run::{self, Outcome, RunOptions, default_folder};
use crate::terminal::Terminal;
use anyhow::Result;
use clap::Args;
use perennial_disk::Disk;
use std::path::PathBuf;

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "A run that was killed goes on with the same command and ends with the same digest.\n\
                        Workers change speed only, never a result.")]
pub(crate) struct Arguments {
    /// The experiment file
    experiment: PathBuf,
    /// Folder of the run [default: runs/<name of the experiment>]
    #[arg(long, short)]
    out: Option<PathBuf>,
    /// Threads [default: all cores]
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Only estimate rows, disk, memory and time
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    let experiment = Experiment::read(&arguments.experiment)?;
    let options = RunOptions {
        out: arguments.out.clone().unwrap_or_else(|| default_folder(&experiment)),
        prepared: None,
        workers: threads(arguments.workers),
        disk: Disk::default(),
        watch: terminal,
    };
    if arguments.dry_run {
        let estimate = run::estimate(&experiment, &options)?;
        terminal.print(&if terminal.json() { estimate.to_json()? } else { estimate.to_string() });
        return Ok(());
    }
    let outcome = run::run(&experiment, &options)?;
    show(&options, &outcome, terminal)
}

/// Prints the table and where everything is.
pub(crate) fn show(options: &RunOptions<'_>, outcome: &Outcome, terminal: &Terminal) -> Result<()> {
    terminal.end();
    if terminal.json() {
        terminal.print(&outcome.results.to_json());
    } else {
        terminal.print(&crate::report::table(&outcome.results)?);
    }
    terminal.note(&format!("report: {}", options.out.join(run::files::REPORT).display()));
    terminal.note(&format!("digest: {}", outcome.digest));
    Ok(())
}

/// As many threads as were asked for, or as there are cores.
pub(crate) fn threads(asked: Option<u16>) -> usize {
    asked.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
}
