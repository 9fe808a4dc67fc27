//! What a search over settings found: the content of its `tune.json`, and the table that is shown of it.
//!
//! UTF-8 JSON of one [`TuneResults`]; every field of the types below under its own name.

use crate::table::{align, new_table};
use crate::{Criterion, Summary, show};
use perennial_core::{Digest, DigestBuilder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format that this version writes and reads.
pub const TUNE_FORMAT: u32 = 1;

/// All trials of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuneResults {
    /// [`TUNE_FORMAT`].
    pub format: u32,
    /// Name of the search.
    pub name: String,
    /// The command that runs the experiment with the best settings: `run` or `train`.
    pub command: String,
    /// By what trials are ranked.
    pub metric: Criterion,
    /// The best first; of equals in the order of the search.
    pub trials: Vec<TuneTrial>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuneTrial {
    /// The value of each key, as it is written in an experiment.
    pub settings: BTreeMap<String, String>,
    /// The metric of each seed; none where training came to nothing.
    pub values: Vec<f64>,
    /// Whether the loss or a score became infinite or no number, with any seed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub diverged: bool,
    /// Seconds of training over all seeds.
    pub seconds: f64,
}

impl TuneTrial {
    /// Mean over seeds; `None` where training came to nothing.
    pub fn summary(&self) -> Option<Summary> {
        Summary::of(&self.values)
    }
}

impl TuneResults {
    /// Ranks trials by the mean over seeds; those that came to nothing last.
    pub fn ranked(
        format: u32,
        name: String,
        command: String,
        metric: Criterion,
        mut trials: Vec<TuneTrial>,
    ) -> TuneResults {
        let better = metric.metric().better;
        let badness = |trial: &TuneTrial| trial.summary().map_or(f64::INFINITY, |summary| better.badness(summary.mean));
        trials.sort_by(|a, b| badness(a).total_cmp(&badness(b)));
        TuneResults { format, name, command, metric, trials }
    }

    /// The content of `tune.json`.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("results are plain data with text keys")
    }

    /// Digest of all but the durations.
    pub fn digest(&self) -> Digest {
        let mut timeless = self.clone();
        timeless.trials.iter_mut().for_each(|trial| trial.seconds = 0.0);
        DigestBuilder::new("tune").str(&timeless.to_json()).finish()
    }
}

/// Trials, the best first, a column for each key. Without `color` the text has no escape codes.
pub fn tune_table(results: &TuneResults, color: bool) -> String {
    let metric = results.metric.metric();
    let mut table = new_table(color);
    let keys: Vec<&String> = results.trials.iter().take(1).flat_map(|trial| trial.settings.keys()).collect();
    let head = [String::from("rank")].into_iter().chain(keys.iter().map(|key| short(key, &keys)));
    table.set_header(head.chain([metric.title.to_owned(), "time".to_owned()]));
    for (rank, trial) in results.trials.iter().enumerate() {
        let mut row = vec![(rank + 1).to_string()];
        row.extend(trial.settings.values().cloned());
        row.push(trial.summary().map_or("diverged".into(), |summary| show::summary(metric, &summary)));
        row.push(if trial.diverged { "-".into() } else { show::seconds(trial.seconds) });
        table.add_row(row);
    }
    align(&mut table, keys.len() + 2);
    let seeds = results.trials.first().map_or(0, |trial| trial.values.len());
    let spread = if seeds > 1 { ", ± standard deviation" } else { "" };
    format!(
        "{table}\n{}: {} of what settings may be chosen by, means over {}{spread}; time over all seeds.",
        results.name,
        metric.title,
        show::plural(seeds, "seed"),
    )
}

/// The last part of a key, where no other ends alike.
fn short(key: &str, all: &[&String]) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let alike = all.iter().filter(|other| last(other) == last(key)).count();
    if alike > 1 { key.to_owned() } else { last(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(rate: &str, values: &[f64]) -> TuneTrial {
        let settings = [("training.optimiser.learning_rate".to_owned(), rate.to_owned())];
        TuneTrial { settings: settings.into(), values: values.to_vec(), diverged: values.is_empty(), seconds: 1.5 }
    }

    #[test]
    fn the_best_comes_first_whichever_way_is_better() {
        let trials = || vec![trial("0.1", &[0.5, 0.6]), trial("0.01", &[0.7, 0.8]), trial("1", &[0.1, 0.2])];
        let rates = |metric| {
            let results = TuneResults::ranked(TUNE_FORMAT, "t".into(), "run".into(), metric, trials());
            let rate = |trial: &TuneTrial| trial.settings.values().next().unwrap().clone();
            results.trials.iter().map(rate).collect::<Vec<_>>()
        };
        assert_eq!(rates(Criterion::Auc), ["0.01", "0.1", "1"]);
        assert_eq!(rates(Criterion::LogLoss), ["1", "0.1", "0.01"]);
    }

    #[test]
    fn what_diverged_comes_last_whichever_way_is_better() {
        for metric in [Criterion::Auc, Criterion::LogLoss] {
            let trials = vec![trial("9", &[]), trial("0.1", &[0.5])];
            let results = TuneResults::ranked(TUNE_FORMAT, "t".into(), "run".into(), metric, trials);
            assert_eq!(results.trials.iter().map(|trial| trial.diverged).collect::<Vec<_>>(), [false, true]);
            assert!(tune_table(&results, false).contains("diverged"));
        }
    }

    #[test]
    fn the_table_has_a_column_for_each_key() {
        let trials = vec![trial("0.1", &[0.5, 0.6])];
        let results = TuneResults::ranked(TUNE_FORMAT, "t".into(), "run".into(), Criterion::Auc, trials);
        let table = tune_table(&results, false);
        assert!(
            table.contains("learning_rate") && table.contains("0.5500 ± 0.0707") && table.contains("1.5"),
            "{table}"
        );
    }
}
