//! `perennial compare RUN RUN` and `perennial compare RUN --methods A B`

use super::report::results_of;
use crate::report::MAIN;
use crate::terminal::Terminal;
use anyhow::Result;
use clap::Args;
use perennial_eval::{ComparedMetric, Comparison, METRICS, Metric, Results, compare, comparison_table, wants_color};
use std::io::IsTerminal;
use std::path::PathBuf;

/// Arguments of `compare`.
#[derive(Debug, Args)]
#[command(
    override_usage = "perennial compare [OPTIONS] BEFORE AFTER\n       perennial compare [OPTIONS] RUN --methods A B",
    after_help = "Methods of the same name are compared over the periods that both runs averaged; with --methods, two \
                  methods of one run over the periods that it averaged. Differences are paired by seed, or by period \
                  where there is one seed. JSON always has all metrics."
)]
pub(crate) struct Arguments {
    /// Folder of the run before
    before: PathBuf,
    /// Folder of the run after
    #[arg(required_unless_present = "methods", conflicts_with = "methods")]
    after: Option<PathBuf>,
    /// Compare two methods of one run
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    methods: Option<Vec<String>>,
    /// All metrics, not only AUC and LogLoss
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    let before = results_of(&arguments.before)?;
    let mut comparison = match (&arguments.after, arguments.methods.as_deref()) {
        (Some(after), _) => compare(&before, &results_of(after)?)?,
        (None, Some([a, b])) => methods(&before, a, b)?,
        (None, _) => unreachable!("clap asks for a second run or for two methods"),
    };
    if terminal.json() {
        terminal.print(&serde_json::to_string_pretty(&as_json(&comparison))?);
        return Ok(());
    }
    if !arguments.all {
        comparison.lines.retain(|line| MAIN.contains(&line.metric.name));
    }
    let color = wants_color(std::io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
    terminal.print(&comparison_table(&comparison, color));
    Ok(())
}

/// Two methods of one run, as a comparison of one line per metric that both have.
fn methods(results: &Results, a: &str, b: &str) -> Result<Comparison> {
    let (before, after) = (results.method(a)?, results.method(b)?);
    let span = results.span.clone();
    let line = |metric: &'static Metric| {
        Some(ComparedMetric {
            method: format!("{a} -> {b}"),
            metric,
            a: before.summary(metric.name, &span)?,
            b: after.summary(metric.name, &span)?,
            paired: after.against(before, metric.name, &span),
        })
    };
    let lines = METRICS.into_iter().filter_map(line).collect();
    Ok(Comparison { lines, only_a: Vec::new(), only_b: Vec::new(), span })
}

fn as_json(comparison: &Comparison) -> serde_json::Value {
    let lines = comparison.lines.iter().map(|line| {
        serde_json::json!({
            "method": line.method,
            "metric": line.metric.name,
            "before": line.a.mean,
            "after": line.b.mean,
            "difference": line.paired.as_ref().map(|paired| paired.difference),
            "p": line.paired.as_ref().map(|paired| paired.p),
        })
    });
    lines.collect()
}
