//! `perennial inspect PATH`

use super::versions;
use crate::terminal::Terminal;
use anyhow::{Result, bail};
use clap::Args;
use perennial_data::log::Log;
use std::path::{Path, PathBuf};

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of a log, or of a run together with a version
    path: PathBuf,
    /// A version of the run, such as incremental/1/0012, or an alias
    version: Option<String>,
    /// Read all of it and check every checksum
    #[arg(long)]
    verify: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    match (&arguments.version, arguments.path.join("manifest.json").is_file()) {
        (None, true) => inspect_log(&arguments.path, arguments.verify, terminal),
        (Some(version), false) => inspect_version(&arguments.path, version, arguments.verify, terminal),
        (None, false) => bail!(
            "{} is not a log; for a version say `perennial inspect RUN VERSION`, and `perennial versions RUN` lists them",
            arguments.path.display()
        ),
        (Some(_), true) => bail!("{} is a log and has no versions", arguments.path.display()),
    }
}

fn inspect_log(path: &Path, verify: bool, terminal: &Terminal) -> Result<()> {
    let log = Log::open(path)?;
    if verify {
        log.verify()?;
    }
    let manifest = log.manifest();
    if terminal.json() {
        terminal.print(&serde_json::to_string_pretty(manifest)?);
        return Ok(());
    }
    let mut text = format!("log      {} ({})\n", log.schema().name, path.display());
    text += &format!("rows     {}\n", indicatif::HumanCount(manifest.rows));
    if let (Some(first), Some(last)) = (manifest.first_time, manifest.last_time) {
        text += &format!("time     {} .. {}\n", show_time(first.0), show_time(last.0));
    }
    let bytes = manifest.parts.iter().map(|part| part.bytes).sum();
    text += &format!("parts    {} ({})\n", manifest.parts.len(), versions::human_bytes(bytes));
    for (reason, count) in &manifest.notes.bad_rows {
        text += &format!("bad rows {count} {reason}\n");
    }
    text += if verify { "every part has its checksum\n" } else { "" };
    text += &format!("\n{}", log.schema().to_toml());
    terminal.print(&text);
    Ok(())
}

fn inspect_version(folder: &Path, version: &str, verify: bool, terminal: &Terminal) -> Result<()> {
    let store = versions::open(folder)?;
    let id = versions::find(&store, version)?;
    let manifest = store.manifest(&id)?;
    let scorer = crate::run::scorer_of(&store, &id)?;
    if terminal.json() {
        terminal.print(&serde_json::to_string_pretty(&manifest)?);
        return Ok(());
    }
    let params = &scorer.learned.servable.params;
    let mut text = versions::describe(&manifest)?;
    text += &format!("\nhistories of {} users over {} items\n", scorer.histories.users(), scorer.histories.items());
    for dense in &params.dense {
        text += &format!("  {:<28} [{}, {}]\n", dense.name, dense.rows, dense.cols);
    }
    for statistic in &params.statistics {
        text += &format!("  {:<28} [1, {}]\n", statistic.name, statistic.values.len());
    }
    for table in &params.tables {
        text += &format!("  {:<28} [{}, {}]\n", table.spec().name, table.rows(), table.dim());
    }
    // Loading has checked every object already.
    text += if verify { "every object has its checksum\n" } else { "" };
    terminal.print(&text);
    Ok(())
}

fn show_time(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| format!("{micros} us"), |time| time.to_string())
}
