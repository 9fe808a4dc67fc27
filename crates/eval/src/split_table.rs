//! Results of a static split as text tables.

use crate::promise::{Promise, warnings};
use crate::table::{align, new_table};
use crate::{Criterion, Metric, SplitMethodResults, SplitMoment, SplitResults, SplitRun, show};
use comfy_table::Cell;

/// The metrics that are shown: order and probability.
fn metrics() -> [&'static Metric; 2] {
    [Criterion::Auc.metric(), Criterion::LogLoss.metric()]
}

/// A line per method and moment: means over seeds of the test examples, with standard deviations, and their number where
/// not all runs came so far. `*` marks the best method of each moment. Without `color` the text has no escape codes.
pub fn split_table(results: &SplitResults, color: bool) -> String {
    let mut table = new_table(color);
    table.set_header(["method", "after", "AUC\n↑  ", "LogLoss\n↓  ", "parameters", "time"]);
    for method in &results.methods {
        for (nth, moment) in results.moments().into_iter().enumerate() {
            let once = |text: String| Cell::new(if nth == 0 { text } else { String::new() });
            let mut row = vec![once(method.name.clone()), Cell::new(after(method, moment))];
            row.extend(metrics().map(|metric| Cell::new(value(results, method, metric, moment))));
            row.extend([once(parameters(method)), once(seconds(method))]);
            table.add_row(row);
        }
    }
    // The second column, too, is a text.
    align(&mut table, 5);
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    format!("{table}\n{}", legend(results))
}

/// A line per method, seed and moment.
pub fn split_seeds_table(results: &SplitResults, color: bool) -> String {
    let mut table = new_table(color);
    table.set_header(["method", "seed", "best epoch", "epochs", "after", "AUC", "LogLoss", "time"]);
    for (method, run) in results.methods.iter().flat_map(|method| method.seeds.iter().map(move |run| (method, run))) {
        for (nth, moment) in results.moments().into_iter().enumerate() {
            let once = |text: String| Cell::new(if nth == 0 { text } else { String::new() });
            let mut row = vec![once(method.name.clone()), once(run.seed.to_string()), once(run.best.to_string())];
            row.extend([once(run.epochs.len().to_string()), Cell::new(name(moment))]);
            let shown = |metric: &Metric| metric.show_or_dash(run.at(moment).and_then(|at| at.test.get(metric.name)));
            row.extend(metrics().map(|metric| Cell::new(shown(metric))));
            row.push(once(show::seconds(run.seconds)));
            table.add_row(row);
        }
    }
    align(&mut table, 7);
    table.to_string()
}

impl Metric {
    fn show_or_dash(&self, value: Option<f64>) -> String {
        value.map_or("-".into(), |value| self.show(value))
    }
}

fn name(moment: SplitMoment) -> String {
    match moment {
        SplitMoment::Epoch(epoch) => format!("epoch {epoch}"),
        SplitMoment::Best => "the best".into(),
        SplitMoment::Last => "the last".into(),
    }
}

/// `epoch 3`, `the best: 2, 3`, `the last: 3`.
fn after(method: &SplitMethodResults, moment: SplitMoment) -> String {
    if let SplitMoment::Epoch(_) = moment {
        return name(moment);
    }
    let epoch = |run: &SplitRun| run.at(moment).map_or("-".into(), |at| at.epoch.to_string());
    let mut epochs: Vec<String> = method.seeds.iter().map(epoch).collect();
    if epochs.windows(2).all(|pair| pair[0] == pair[1]) {
        epochs.truncate(1);
    }
    format!("{}: {}", name(moment), epochs.join(", "))
}

fn value(results: &SplitResults, method: &SplitMethodResults, metric: &Metric, moment: SplitMoment) -> String {
    let Some(summary) = method.summary(metric, moment) else { return "- ".into() };
    let of = |method: &SplitMethodResults| method.summary(metric, moment).map(|summary| summary.mean);
    let beaten = results.methods.iter().filter_map(of).any(|other| metric.better.compare(other, summary.mean).is_lt());
    let part = match summary.seeds < method.seeds.len() {
        true => format!(" ({})", summary.seeds),
        false => String::new(),
    };
    format!("{}{part}{}", show::summary(metric, &summary), if beaten { ' ' } else { '*' })
}

fn parameters(method: &SplitMethodResults) -> String {
    method.seeds.first().map_or("-".into(), |run| show::count(run.parameters))
}

fn seconds(method: &SplitMethodResults) -> String {
    let all: Vec<f64> = method.seeds.iter().map(|run| run.seconds).collect();
    crate::Summary::of(&all).map_or("-".into(), |summary| show::seconds(summary.mean))
}

fn legend(results: &SplitResults) -> String {
    let seeds = results.methods.iter().map(|method| method.seeds.len()).max().unwrap_or(0);
    let rows = results.rows;
    let mut text = format!(
        "{} on {}: {} to train, {} to validate, {} to test; test metrics, means over {}{}; * best;\n\
         the best epoch by {} of the validation examples; time per seed.",
        results.experiment,
        results.data,
        show::count(rows.train),
        show::count(rows.valid),
        show::count(rows.test),
        show::plural(seeds, "seed"),
        if seeds > 1 { ", ± standard deviation" } else { "" },
        results.watch.metric().title,
    );
    for method in &results.methods {
        if let Some(previous) = &method.previous {
            text += &format!("\n{}: {}, earlier scores {previous}", method.name, method.objective);
        }
    }
    for warning in warnings(&promises(results)) {
        text += &format!("\n{warning}");
    }
    text
}

/// Of the best epochs.
fn promises(results: &SplitResults) -> Vec<Promise<'_>> {
    let calibration = Metric::named("calibration").expect("it is in the table of metrics");
    let mut all = Vec::new();
    for method in &results.methods {
        let Some(summary) = method.summary(calibration, SplitMoment::Best) else { continue };
        let objective = Some(method.objective.as_str()).filter(|objective| *objective != "bce");
        all.push(Promise { method: &method.name, objective, ratio: summary.mean });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::tests::sample;

    #[test]
    fn a_line_per_method_and_moment() {
        let text = split_table(&sample(), false);
        println!("{text}");
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('│')).skip(2).collect();
        assert_eq!(lines.len(), 6);
        assert!(lines[0].contains("fm") && lines[0].contains("epoch 3") && lines[0].contains("54,321"), "{text}");
        assert!(lines[1].contains("the best: 2, 3") && lines[1].contains("0.7750 ± 0.0354*"), "{text}");
        assert!(lines[3].contains("0.5200 (1) ") && lines[4].contains("the best: 1 "), "{text}");
        assert!(text.contains("80 to train") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_line_per_seed_too() {
        let text = split_seeds_table(&sample(), false);
        println!("{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with('│')).count(), 1 + 4 * 3);
    }
}
