//! `perennial train CONFIG.toml`

use super::run::threads;
use crate::split::{self, SplitExperiment, SplitOptions, default_folder};
use crate::terminal::Terminal;
use anyhow::Result;
use clap::Args;
use perennial_disk::Disk;
use perennial_eval::{split_seeds_table, split_table, wants_color};
use std::io::IsTerminal;
use std::path::PathBuf;

/// Arguments of `train`.
#[derive(Debug, Args)]
#[command(
    after_help = "Runs that are finished are kept: killed or extended by methods and seeds, the same command makes \
                        the others only.\nWorkers change speed only, never a result."
)]
pub(crate) struct Arguments {
    /// The file that names the split, the training and the models
    experiment: PathBuf,
    /// Folder of the results [default: runs/<name of the experiment>]
    #[arg(long, short)]
    out: Option<PathBuf>,
    /// Threads [default: all cores]
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Also print a table with a line for each seed
    #[arg(long)]
    each_seed: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    let experiment = SplitExperiment::read(&arguments.experiment)?;
    let options = SplitOptions {
        out: arguments.out.clone().unwrap_or_else(|| default_folder(&experiment)),
        data: None,
        hold_test_back: false,
        workers: threads(arguments.workers),
        disk: Disk::default(),
        watch: terminal,
    };
    let results = split::train(&experiment, &options)?;
    terminal.end();
    if terminal.json() {
        terminal.print(&results.to_json());
    } else {
        let color = wants_color(std::io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
        terminal.print(&split_table(&results, color));
        if arguments.each_seed {
            terminal.print(&split_seeds_table(&results, color));
        }
    }
    terminal.note(&format!("results: {}", options.out.join(split::RESULTS).display()));
    terminal.note(&format!("digest: {}", results.digest()));
    Ok(())
}
