//! `perennial compare RUN RUN`

use super::report::results_of;
use crate::terminal::Terminal;
use anyhow::Result;
use clap::Args;
use perennial_eval::{compare, comparison_table, wants_color};
use std::io::IsTerminal;
use std::path::PathBuf;

/// Arguments of `compare`.
#[derive(Debug, Args)]
#[command(
    after_help = "Methods of the same name are compared over the periods that both runs averaged. Differences are \
                        paired by seed, or by period where there is one seed."
)]
pub(crate) struct Arguments {
    /// Folder of the run before
    before: PathBuf,
    /// Folder of the run after
    after: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    let comparison = compare(&results_of(&arguments.before)?, &results_of(&arguments.after)?)?;
    let color = wants_color(std::io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
    match terminal.json() {
        true => terminal.print(&serde_json::to_string_pretty(&as_json(&comparison))?),
        false => terminal.print(&comparison_table(&comparison, color)),
    }
    Ok(())
}

fn as_json(comparison: &perennial_eval::Comparison) -> serde_json::Value {
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
