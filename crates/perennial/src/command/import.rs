//! `perennial import`

use super::dataset::{self, DatasetArguments};
use super::versions::human_bytes;
use crate::terminal::Terminal;
use anyhow::{Context, Result, bail};
use clap::Args;
use perennial_core::{Schema, Span};
use perennial_data::read::{Delimited, Format};
use perennial_data::{Cut, ImportOptions, ImportSummary, PartitionOptions, Progress, Stage, import};
use std::cell::Cell;
use std::path::PathBuf;

/// Arguments of `import`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    perennial import --dataset movielens DATA/ml-100k --out logs/ml-100k\n  \
    perennial import --schema clicks.toml 'clicks/*.csv.gz' --out logs/clicks\n\n\
    Bad rows are counted by reason and listed with file and line in bad_rows.jsonl; originals are never changed.\n\
    `perennial schema infer FILE` proposes a schema, `perennial schema list` shows the data sets.")]
pub(crate) struct Arguments {
    /// Files, folders of partitions or patterns, in order of time
    #[arg(required = true)]
    sources: Vec<PathBuf>,
    /// Folder of the log
    #[arg(long, short)]
    out: PathBuf,
    /// The schema of the files
    #[arg(long, short, conflicts_with = "dataset", required_unless_present = "dataset")]
    schema: Option<PathBuf>,
    /// A public data set with a built-in schema; the source is its folder
    #[arg(long, short)]
    dataset: Option<String>,
    /// Format of the files [default: by their names]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    #[command(flatten)]
    open: DatasetArguments,
    /// Largest share of bad rows: 0.01 or 1%
    #[arg(long, default_value = "1%", value_parser = parse_share)]
    max_bad: f64,
    /// Memory for sorting, in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    memory: u64,
    /// Cut parts at this span, such as 1d [default: about a million rows to a part]
    #[arg(long, value_parser = parse_partition)]
    partition: Option<Span>,
    /// Keep only users with so many events, as user=5; looks at the whole log, the future included
    #[arg(long, value_parser = parse_min_events)]
    min_events: Option<u32>,
    /// Replace the log that is there
    #[arg(long)]
    replace: bool,
}

/// Formats by name.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FormatName {
    /// Comma-separated with a header
    Csv,
    /// Tab-separated with a header
    Tsv,
    /// One JSON object to a line
    Jsonl,
    /// label index:value ...
    Libsvm,
    /// Apache Parquet
    Parquet,
}

impl FormatName {
    fn format(self) -> Format {
        match self {
            FormatName::Csv => Format::Delimited(Delimited::csv()),
            FormatName::Tsv => Format::Delimited(Delimited::tsv()),
            FormatName::Jsonl => Format::JsonLines,
            FormatName::Libsvm => Format::Svm,
            FormatName::Parquet => Format::Parquet,
        }
    }
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    let mut options = match (&arguments.dataset, &arguments.schema) {
        (Some(name), _) => of_dataset(name, arguments)?,
        (None, Some(path)) => {
            arguments.open.options(None)?;
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let schema = Schema::parse(&text).with_context(|| format!("in {}", path.display()))?;
            ImportOptions::new(arguments.sources.clone(), schema, arguments.out.clone())
        }
        (None, None) => bail!("say --schema FILE or --dataset NAME"),
    };
    if let Some(format) = arguments.format {
        options.format = Some(format.format());
    }
    options.max_bad = arguments.max_bad;
    options.memory = arguments.memory << 20;
    options.min_events = arguments.min_events;
    let cut = arguments.partition.map_or(PartitionOptions::default().cut, Cut::Span);
    options.partition = PartitionOptions { cut, replace: arguments.replace };
    let summary = import(&options, &show_progress(terminal))?;
    show(&summary, arguments, terminal)
}

fn of_dataset(name: &str, arguments: &Arguments) -> Result<ImportOptions> {
    let [folder] = arguments.sources.as_slice() else {
        bail!("--dataset {name} takes one source: the folder of the data set");
    };
    let dataset = dataset::named(name)?;
    let options = arguments.open.options(Some(name))?;
    Ok(dataset.recipe(folder, &options)?.options(arguments.out.clone()))
}

/// A bar over the bytes of the files, begun anew with each stage.
pub(super) fn show_progress(terminal: &Terminal) -> impl Fn(Progress) + '_ {
    let stage = Cell::new(None);
    move |progress: Progress| {
        if stage.replace(Some(progress.stage)) != Some(progress.stage) {
            let what = match progress.stage {
                Stage::Counting => "counting events",
                Stage::Reading => "importing",
                Stage::Sorting => "sorting",
            };
            terminal.begin(what, progress.total_bytes);
        }
        terminal.at(progress.bytes);
    }
}

fn show(summary: &ImportSummary, arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    terminal.end();
    for warning in &summary.warnings {
        terminal.note(&format!("warning: {warning}"));
    }
    let manifest = &summary.manifest;
    if terminal.json() {
        terminal.print(&serde_json::to_string_pretty(manifest)?);
        return Ok(());
    }
    let bytes = manifest.parts.iter().map(|part| part.bytes).sum();
    let mut text = format!(
        "{} rows in {} parts ({}) under {}\n",
        indicatif::HumanCount(manifest.rows),
        manifest.parts.len(),
        human_bytes(bytes),
        arguments.out.display()
    );
    if manifest.notes.filtered_rows > 0 {
        text += &format!("{} rows of users with too few events were left out\n", manifest.notes.filtered_rows);
    }
    for (reason, count) in &manifest.notes.bad_rows {
        text += &format!("{count} bad rows: {reason} (see bad_rows.jsonl)\n");
    }
    terminal.print(&text);
    Ok(())
}

fn parse_share(text: &str) -> Result<f64, String> {
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| format!("expected 0.01 or 1%, got \"{text}\""));
    let share = match text.strip_suffix('%') {
        Some(percent) => number(percent)? / 100.0,
        None => number(text)?,
    };
    match (0.0..=1.0).contains(&share) {
        true => Ok(share),
        false => Err(format!("a share is between 0 and 1 (0% and 100%), got \"{text}\"")),
    }
}

fn parse_partition(text: &str) -> Result<Span, String> {
    match Span::parse(text)? {
        Span::ZERO => Err(format!("a part spans some time, got \"{text}\"")),
        span => Ok(span),
    }
}

fn parse_min_events(text: &str) -> Result<u32, String> {
    let least = text.strip_prefix("user=").unwrap_or(text);
    least.parse().map_err(|_| format!("expected user=5, got \"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_lie_between_nothing_and_all() {
        assert_eq!(
            (parse_share("1%"), parse_share("0.01"), parse_share("0"), parse_share("100%")),
            (Ok(0.01), Ok(0.01), Ok(0.0), Ok(1.0))
        );
        for text in ["101%", "1.01", "-0.1", "NaN", "inf", "%", "few"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parts_span_some_time() {
        assert_eq!(parse_partition("1d"), Span::parse("1d"));
        assert!(parse_partition("0s").is_err() && parse_partition("0d").is_err() && parse_partition("-1d").is_err());
    }
}
