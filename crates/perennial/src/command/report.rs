//! `perennial report RUN`

use crate::cli::RunFolder;
use crate::experiment::Experiment;
use crate::run::files;
use crate::terminal::Terminal;
use anyhow::{Context, Result};
use clap::Args;
use perennial_disk::atomic_write;
use perennial_eval::Results;
use std::path::{Path, PathBuf};

/// Arguments of `report`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    folder: RunFolder,
    /// Where to write the page [default: report.html in the run's folder]
    #[arg(long)]
    html: Option<PathBuf>,
    /// Test against this method instead of the experiment's baseline
    #[arg(long)]
    baseline: Option<String>,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    let folder = &arguments.folder.run;
    let results = results_of(folder)?;
    let experiment = Experiment::parse(&read(&folder.join(files::EXPERIMENT))?)?;
    let baseline = arguments.baseline.as_deref().unwrap_or(experiment.baseline());
    let page = arguments.html.clone().unwrap_or_else(|| folder.join(files::REPORT));
    atomic_write(&page, crate::report::html(&results, baseline)?.as_bytes())
        .with_context(|| format!("cannot write {}", page.display()))?;
    terminal.print(&if terminal.json() { results.to_json() } else { crate::report::table(&results)? });
    terminal.note(&format!("report: {}", page.display()));
    Ok(())
}

/// The results of a finished run.
pub(crate) fn results_of(folder: &Path) -> Result<Results> {
    let path = folder.join(files::RESULTS);
    let text =
        read(&path).context("the run is not finished: `perennial run` with the same arguments goes on with it")?;
    Results::from_json(&text).with_context(|| format!("in {}", path.display()))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
