//! Results as text tables.

use crate::{Better, Comparison, Error, METRICS, MethodKind, MethodResults, Metric, Results, show};
use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets};
use std::ops::Range;

/// Whether output may be coloured: it goes to a terminal and `NO_COLOR` is unset or empty (no-color.org).
pub fn wants_color(is_terminal: bool, no_color: Option<&std::ffi::OsStr>) -> bool {
    is_terminal && no_color.is_none_or(|value| value.is_empty())
}

/// The methods, best first by the metric named `sort_by`; the ceiling last, if there is one; below, that metric by
/// period in bars.
///
/// That metric is shown as mean ± standard deviation over seeds (number of seeds), the others as means. `*` marks the
/// best method of each column. Without `color` the text has no escape codes. Errs on an unknown metric.
pub fn results_table(results: &Results, sort_by: &str, color: bool) -> Result<String, Error> {
    let first = Metric::named(sort_by)?;
    let metrics: Vec<&Metric> =
        std::iter::once(first).chain(METRICS.into_iter().filter(|metric| metric.name != sort_by)).collect();
    let lift = results.methods.iter().any(|method| results.lift_share(method, first).is_some());
    let mut table = new_table(color);
    table.set_header(header(&metrics, lift));
    for method in order(results, first) {
        let mut row = vec![Cell::new(&method.name)];
        row.extend(metrics.iter().map(|metric| value_cell(results, method, metric, metric.name == sort_by, color)));
        let share = || results.lift_share(method, first).map_or("-".into(), |share| show::percent(share.mean));
        row.extend(lift.then(|| Cell::new(share())));
        row.push(Cell::new(method.train_seconds(&results.span).map_or("-".into(), show::seconds)));
        table.add_row(row);
    }
    if results.ceiling.is_some() {
        let value =
            |metric: &Metric| results.ceiling_mean(metric.name).map_or("- ".into(), |value| metric.show(value) + " ");
        table.add_row(std::iter::once("ceiling".into()).chain(metrics.iter().map(|metric| value(metric))));
    }
    align(&mut table, metrics.len() + if lift { 2 } else { 1 });
    Ok(format!("{table}\n{}{}", legend(results, first), bars(results, first)))
}

fn header(metrics: &[&Metric], lift: bool) -> Vec<String> {
    let mut header = vec!["method".to_owned()];
    header.extend(metrics.iter().map(|metric| format!("{}\n{} ", metric.title, arrow(metric.better))));
    header.extend(lift.then(|| "of\nceiling".to_owned()));
    header.push("update".into());
    header
}

/// One line per method and metric: both values, their difference and the test.
pub fn comparison_table(comparison: &Comparison, color: bool) -> String {
    let mut table = new_table(color);
    table.set_header(["method", "metric", "before", "after", "difference", "p", "test"]);
    for line in &comparison.lines {
        let mut row = vec![
            Cell::new(&line.method),
            Cell::new(line.metric.title),
            Cell::new(show::summary(line.metric, &line.a)),
            Cell::new(show::summary(line.metric, &line.b)),
        ];
        match line.paired {
            Some(paired) => row.extend([
                Cell::new(show::signed(line.metric, paired.difference)),
                Cell::new(show::p_value(paired.p)),
                Cell::new(paired.test),
            ]),
            None => row.extend(["-", "-", "no common seed"].map(Cell::new)),
        }
        table.add_row(row);
    }
    align(&mut table, 4);
    let only = |names: &[String], which: &str| match names {
        [] => String::new(),
        names => format!("\nonly in the {which}: {}", names.join(", ")),
    };
    let (a, b) = (only(&comparison.only_a, "first"), only(&comparison.only_b, "second"));
    format!("{table}\nmeans over {}{a}{b}", show::periods(&comparison.span))
}

pub(crate) fn new_table(color: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    if color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

/// The first column and those from `numbers` on are texts, what lies between are numbers.
pub(crate) fn align(table: &mut Table, numbers: usize) {
    for (i, column) in table.column_iter_mut().enumerate() {
        let number = (1..=numbers).contains(&i);
        column.set_cell_alignment(if number { CellAlignment::Right } else { CellAlignment::Left });
    }
}

fn value_cell(results: &Results, method: &MethodResults, metric: &Metric, spread: bool, color: bool) -> Cell {
    let Some(summary) = method.summary(metric.name, &results.span) else { return Cell::new("- ") };
    let value = match spread {
        true => format!("{} ({})", show::summary(metric, &summary), summary.seeds),
        false => metric.show(summary.mean),
    };
    let best = results.ranked(metric).first().is_some_and(|(best, _)| best.name == method.name);
    let cell = Cell::new(format!("{value}{}", if best { '*' } else { ' ' }));
    if best && color { cell.add_attribute(Attribute::Bold).fg(Color::Green) } else { cell }
}

fn arrow(better: Better) -> &'static str {
    match better {
        Better::Higher => "↑",
        Better::Lower => "↓",
        Better::NearOne => "→ 1",
    }
}

/// Best first; methods without a value follow in their own order.
pub(crate) fn order<'a>(results: &'a Results, metric: &Metric) -> Vec<&'a MethodResults> {
    let mut order: Vec<&MethodResults> = results.ranked(metric).into_iter().map(|(method, _)| method).collect();
    let rest = results.methods.iter().filter(|method| method.summary(metric.name, &results.span).is_none());
    order.extend(rest);
    order
}

/// A line of bars per method and one for the ceiling. What the methods that learn need sets the scale: a reference
/// far below would flatten them.
fn bars(results: &Results, metric: &Metric) -> String {
    let all = results.all_periods();
    let chunks = chunks(&all);
    let mean_of = |method: &MethodResults| {
        chunks.iter().map(|chunk| Some(method.summary(metric.name, chunk)?.mean)).collect::<Vec<_>>()
    };
    let order = order(results, metric);
    let learners = order.iter().filter(|method| method.kind != MethodKind::Reference);
    let values: Vec<f64> = learners.flat_map(|method| mean_of(method)).flatten().collect();
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    if values.is_empty() {
        return String::new();
    }
    let width = order.iter().map(|method| method.name.chars().count()).max().unwrap_or(0);
    let mut text = format!("\n\n{} by period, {} to {}:", metric.title, metric.show(low), metric.show(high));
    for method in order {
        text += &format!("\n  {:width$}  {}", method.name, show::sparkline(&mean_of(method), low, high));
    }
    text
}

/// At most this many bars; more periods share one.
const BARS: usize = 48;

fn chunks(all: &Range<u32>) -> Vec<Range<u32>> {
    let width = u32::try_from(all.len().div_ceil(BARS).max(1)).expect("periods are numbered in 32 bits");
    all.clone().step_by(width as usize).map(|start| start..(start + width).min(all.end)).collect()
}

fn legend(results: &Results, first: &Metric) -> String {
    let reference = results.best_reference(first).filter(|_| results.ceiling.is_some());
    format!(
        "{} on {}: means over {}, ± standard deviation over (seeds); * best; update: time per period.{}",
        results.experiment,
        results.log,
        show::periods(&results.span),
        reference.map_or(String::new(), |(reference, _)| format!(
            "\nceiling: the true probabilities; of ceiling: share of the way there from {}.",
            reference.name
        ))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compare, sample};
    use std::ffi::OsStr;

    #[test]
    fn best_first_and_marked_and_plain() {
        let text = results_table(&sample::marketplace(), "auc", false).unwrap();
        println!("{text}");
        assert!(!text.contains('\u{1b}'));
        let names: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("│ ")?.split_whitespace().next()).collect();
        let names: Vec<&str> = names.into_iter().filter(|name| *name != "┆").collect();
        assert_eq!(names, ["method", "batch-7", "incremental", "frozen", "popularity", "constant", "ceiling"]);
        let best = text.lines().find(|line| line.contains("batch-7")).unwrap();
        assert!(best.matches('*').count() >= 4 && best.contains('±'), "{best}");
        let widths: Vec<usize> =
            text.lines().filter(|line| line.starts_with('│')).map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{widths:?}");
        assert!(widths[0] <= 120, "{} columns", widths[0]);
    }

    #[test]
    fn color_is_for_terminals_without_no_color() {
        assert!(results_table(&sample::marketplace(), "log_loss", true).unwrap().contains("\u{1b}["));
        assert!(wants_color(true, None) && wants_color(true, Some(OsStr::new(""))));
        assert!(!wants_color(false, None) && !wants_color(true, Some(OsStr::new("1"))));
        assert!(results_table(&sample::marketplace(), "acu", true).is_err());
    }

    #[test]
    fn a_comparison_lists_what_is_missing() {
        let (before, mut after) = (sample::marketplace(), sample::marketplace());
        after.methods.remove(0);
        let text = comparison_table(&compare(&before, &after).unwrap(), false);
        assert!(text.contains("only in the first: constant") && text.contains("p = 1.00"), "{text}");
    }

    #[test]
    fn empty_results_have_a_table_too() {
        let mut empty = sample::marketplace();
        empty.methods.clear();
        empty.periods.clear();
        empty.ceiling = None;
        assert!(results_table(&empty, "auc", false).unwrap().contains("method"));
    }
}
