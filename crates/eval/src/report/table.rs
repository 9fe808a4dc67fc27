//! The table of methods.

use super::escape;
use crate::{METRICS, MethodResults, Metric, Results, show};
use std::collections::BTreeSet;

/// Below this p-value a difference is coloured.
const SIGNIFICANT: f64 = 0.05;

/// Methods best first, with values over the span and, below each, the difference to the baseline with its test.
/// `swatch` gives the mark that a method has in plots.
pub(super) fn methods(
    results: &Results,
    sort_by: &'static Metric,
    baseline: Option<&MethodResults>,
    swatch: &dyn Fn(&MethodResults) -> String,
) -> String {
    let table = MethodTable { results, sort_by, baseline };
    let head: String = METRICS
        .iter()
        .map(|metric| format!("<th>{}<small>{}</small></th>", metric.title, metric.better.describe()))
        .collect();
    let share = if table.has_ceiling() { "<th>Of the ceiling<small>from the reference</small></th>" } else { "" };
    let ranked = crate::table::order(results, sort_by);
    let rows: String = ranked.iter().map(|method| table.row(method, &swatch(method))).collect();
    format!(
        "<section>\n<h2>Methods</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>Method</th>{head}{share}<th>Update<small>per period</small></th></tr></thead>\n\
         <tbody>\n{rows}{}</tbody>\n</table></div>\n<p class=\"note\">{}</p>\n</section>\n",
        table.ceiling_row(),
        escape(&table.note())
    )
}

struct MethodTable<'a> {
    results: &'a Results,
    sort_by: &'static Metric,
    baseline: Option<&'a MethodResults>,
}

impl MethodTable<'_> {
    fn has_ceiling(&self) -> bool {
        self.results.methods.iter().any(|method| self.results.lift_share(method, self.sort_by).is_some())
    }

    fn row(&self, method: &MethodResults, swatch: &str) -> String {
        let cells: String = METRICS.iter().map(|metric| self.cell(method, metric)).collect();
        let share = match self.results.lift_share(method, self.sort_by) {
            Some(share) => format!("<td>{}</td>", show::percent(share.mean)),
            None if self.has_ceiling() => "<td>-</td>".into(),
            None => String::new(),
        };
        let seconds = method.train_seconds(&self.results.span).map_or("-".into(), show::seconds);
        format!(
            "<tr><th scope=\"row\"><span>{swatch}{}</span><small>{}</small></th>{cells}{share}<td>{seconds}</td></tr>\n",
            escape(&method.name),
            escape(&method.description)
        )
    }

    fn cell(&self, method: &MethodResults, metric: &Metric) -> String {
        let Some(summary) = method.summary(metric.name, &self.results.span) else { return "<td>-</td>".into() };
        let best = self.results.ranked(metric).first().is_some_and(|(first, _)| first.name == method.name);
        let class = if best { " class=\"best\"" } else { "" };
        format!("<td{class}>{}{}</td>", show::summary(metric, &summary), self.test(method, metric))
    }

    fn test(&self, method: &MethodResults, metric: &Metric) -> String {
        let Some(baseline) = self.baseline else { return String::new() };
        if baseline.name == method.name {
            return "<small>baseline</small>".into();
        }
        let Some(test) = method.against(baseline, metric.name, &self.results.span) else { return String::new() };
        let value =
            |method: &MethodResults| method.summary(metric.name, &self.results.span).map(|summary| summary.mean);
        let better = match (value(method), value(baseline)) {
            (Some(mine), Some(theirs)) => metric.better.compare(mine, theirs).is_lt(),
            _ => false,
        };
        let class = match (test.p < SIGNIFICANT, better) {
            (false, _) => "",
            (true, true) => " class=\"better\"",
            (true, false) => " class=\"worse\"",
        };
        let (difference, p) = (show::signed(metric, test.difference), escape(&show::p_value(test.p)));
        format!("<small{class}>{difference} · {p}</small>")
    }

    fn ceiling_row(&self) -> String {
        if self.results.ceiling.is_none() {
            return String::new();
        }
        let cell = |metric: &&Metric| {
            let value = self.results.ceiling_mean(metric.name);
            format!("<td>{}</td>", value.map_or("-".into(), |value| metric.show(value)))
        };
        let cells: String = METRICS.iter().map(cell).collect();
        let share = if self.has_ceiling() { "<td>100 %</td>" } else { "" };
        format!(
            "<tr class=\"ceiling\"><th scope=\"row\"><span>{}true probabilities</span><small>The best that can be expected.</small></th>{cells}{share}<td>-</td></tr>\n",
            super::swatch(super::Stroke::Ceiling)
        )
    }

    fn note(&self) -> String {
        let mut note = format!("Means over {}, ± standard deviation over seeds.", show::periods(&self.results.span));
        let Some(baseline) = self.baseline else { return note };
        let tests: BTreeSet<String> = self
            .results
            .methods
            .iter()
            .filter(|method| method.name != baseline.name)
            .filter_map(|method| {
                Some(method.against(baseline, self.sort_by.name, &self.results.span)?.test.to_string())
            })
            .collect();
        if !tests.is_empty() {
            let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
            note += &format!(
                " Below: the difference to {} and its p-value ({}); coloured where p < {SIGNIFICANT}.",
                baseline.name,
                show::list(&tests)
            );
        }
        note
    }
}
