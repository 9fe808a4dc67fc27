//! Results as people see them.

use anyhow::Result;
use perennial_eval::{Results, findings, results_table, to_html, wants_color};
use std::io::IsTerminal;

/// The metric by which methods are ranked and tested.
pub(crate) const METRIC: &str = "auc";

/// The metrics that are shown first: order and probability.
pub(crate) const MAIN: [&str; 2] = [METRIC, "log_loss"];

/// The table and what to read from it, for a terminal.
pub(crate) fn table(results: &Results) -> Result<String> {
    let color = wants_color(std::io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
    let mut text = results_table(results, METRIC, color)?;
    for line in findings(results, perennial_eval::Metric::named(METRIC)?) {
        text += &format!("\n- {line}");
    }
    Ok(text)
}

/// The report.
pub(crate) fn html(results: &Results, baseline: &str) -> Result<String> {
    Ok(to_html(results, METRIC, Some(baseline))?)
}
