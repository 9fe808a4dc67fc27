//! `perennial score RUN VERSION ROWS --out SCORES.parquet`

use super::import::show_progress;
use super::versions;
use crate::run::{Scorer, scorer_of};
use crate::terminal::Terminal;
use anyhow::{Context, Result, bail};
use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use clap::Args;
use perennial_core::{FieldKind, Schema};
use perennial_data::read::find_sources;
use perennial_data::scores::ScoreWriter;
use perennial_data::{BadRow, ImportOptions, Log, import};
use perennial_disk::atomic_write;
use perennial_nn::Workers;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Arguments of `score`.
#[derive(Debug, Args)]
#[command(
    after_help = "Rows are read by the schema stored in the version; labels may be missing. Histories are those that \
                        the version has; labels among the rows change nothing. The result has a row per input row: \
                        event_id (the file's own, or a hash of file name and row) and logit, in order of time. \
                        Bad rows are listed with file and line in OUT.bad_rows.jsonl."
)]
pub(crate) struct Arguments {
    /// Folder of the run
    run: PathBuf,
    /// The version or alias, such as incremental/1/0012, incremental/1 (its last) or live
    version: String,
    /// A canonical log, or files in any format that `import` takes
    #[arg(required = true)]
    rows: Vec<PathBuf>,
    /// Where to write event ids and logits
    #[arg(long, short)]
    out: PathBuf,
    /// Threads [default: all cores]
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    refuse_source(arguments)?;
    let store = versions::open(&arguments.run)?;
    let id = versions::find(&store, &arguments.version)?;
    let scorer = scorer_of(&store, &id)?;
    let workers = Workers::new(super::run::threads(arguments.workers));
    let rows = match arguments.rows.as_slice() {
        [folder] if folder.join("manifest.json").is_file() => {
            score_log(&scorer, &Log::open(folder)?, &workers, arguments)?
        }
        files => {
            let folder = folder_of(&arguments.out);
            let staging =
                tempfile::tempdir_in(folder).with_context(|| format!("cannot write to {}", folder.display()))?;
            let log = read_rows(&scorer.schema, files, &staging.path().join("log"), terminal)?;
            keep_bad_rows(log.dir(), &arguments.out, terminal)?;
            score_log(&scorer, &log, &workers, arguments)?
        }
    };
    terminal.end();
    let content = scorer.content;
    terminal.print(&match terminal.json() {
        true => serde_json::json!({ "version": id.as_str(), "content": content, "rows": rows }).to_string(),
        false => format!("{rows} rows scored by {id} ({}) into {}", content.short(), arguments.out.display()),
    });
    Ok(())
}

/// Scores in the place of the rows that they are of would be the end of the rows.
fn refuse_source(arguments: &Arguments) -> Result<()> {
    let Ok(out) = arguments.out.canonicalize() else { return Ok(()) };
    let found = find_sources(&arguments.rows).unwrap_or_default().into_iter().map(|source| source.path);
    let sources: Vec<PathBuf> = arguments.rows.iter().cloned().chain(found).collect();
    let is_source = |rows: &&PathBuf| rows.canonicalize().is_ok_and(|rows| out.starts_with(rows));
    match sources.iter().find(is_source) {
        Some(rows) => bail!("--out {} is where the rows are ({}); name another file", out.display(), rows.display()),
        None => Ok(()),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Brings rows into the form of a log, with labels left out where there are none.
fn read_rows(schema: &Schema, files: &[PathBuf], folder: &Path, terminal: &Terminal) -> Result<Log> {
    let mut schema = schema.clone();
    schema.fields.retain(|field| !matches!(field.kind, FieldKind::Score { .. }));
    for field in &mut schema.fields {
        field.optional |= matches!(field.kind, FieldKind::Label { .. } | FieldKind::Weight | FieldKind::EventId);
    }
    let options = ImportOptions::new(files.to_vec(), schema, folder.to_owned());
    let summary = import(&options, &show_progress(terminal))?;
    terminal.end();
    for (reason, count) in &summary.manifest.notes.bad_rows {
        terminal.note(&format!("{count} rows could not be scored: {reason}"));
    }
    Ok(Log::open(folder)?)
}

/// Bad rows that are shown; the file beside the scores lists all.
const SHOWN: usize = 3;

/// Puts the list of bad rows beside the scores, and removes one that an earlier command left there.
fn keep_bad_rows(log: &Path, out: &Path, terminal: &Terminal) -> Result<()> {
    let mut kept = out.as_os_str().to_owned();
    kept.push(".bad_rows.jsonl");
    let kept = PathBuf::from(kept);
    let found = log.join("bad_rows.jsonl");
    if !found.is_file() {
        return match std::fs::remove_file(&kept) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", kept.display()))
            }
            _ => Ok(()),
        };
    }
    let text = std::fs::read_to_string(&found).with_context(|| format!("cannot read {}", found.display()))?;
    for line in text.lines().take(SHOWN) {
        let row: BadRow = serde_json::from_str(line).with_context(|| format!("in {}", found.display()))?;
        terminal.note(&format!("  {row}"));
    }
    atomic_write(&kept, text.as_bytes()).with_context(|| format!("cannot write {}", kept.display()))?;
    terminal.note(&format!("bad rows: {}", kept.display()));
    Ok(())
}

fn score_log(scorer: &Scorer, log: &Log, workers: &Workers, arguments: &Arguments) -> Result<u64> {
    let mut writer = ScoreWriter::create(&arguments.out)?;
    let mut rows = 0;
    for batch in log.batches() {
        let batch = batch?;
        let label = scorer.experiment.data.label.as_deref();
        let examples = scorer.histories.examples(&scorer.schema, label, &batch)?;
        let logits = scorer.score(&examples, workers)?;
        let events = batch.column_by_name("event_id").context("a log has event ids")?.as_primitive::<UInt64Type>();
        if let Some(at) = logits.iter().position(|logit| !logit.is_finite()) {
            bail!(
                "event {} has a score of {}: a number among its inputs is too large to be scored",
                events.value(at),
                logits[at]
            );
        }
        writer.write(events.values(), &logits)?;
        rows += logits.len() as u64;
    }
    writer.finish()?;
    Ok(rows)
}
