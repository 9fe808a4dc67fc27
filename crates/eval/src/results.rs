//! What an experiment found: the content of `results.json`.
//!
//! # The file
//!
//! UTF-8 JSON of one [`Results`]; every field of the types below under its own name. `format` comes first and is
//! [`RESULTS_FORMAT`]; it grows when a reader of the old format could not read the new. Numbers are written so that
//! they read back bit for bit. An undefined metric is absent from its map; other absent values are `null`. Times are
//! microseconds since 1970-01-01T00:00:00Z, durations seconds.

use crate::{Error, GateDecision, PeriodMetrics};
use perennial_core::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;

/// The format that this version writes and reads.
pub const RESULTS_FORMAT: u32 = 1;

/// Everything measured by one experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// [`RESULTS_FORMAT`].
    pub format: u32,
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the log.
    pub log: String,
    /// Indices of the periods that averages and tests are over; the end is excluded.
    pub span: Range<u32>,
    /// The scored periods in order of time.
    pub periods: Vec<PeriodFacts>,
    /// The methods in the order of the experiment.
    pub methods: Vec<MethodResults>,
    /// Metrics of the true probabilities, where a synthetic world knows them: the best that can be expected.
    pub ceiling: Option<Vec<PeriodScore>>,
}

/// What a scored period held, whatever the method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodFacts {
    /// Index in the experiment; pre-training periods come before the first scored one.
    pub index: u32,
    /// Start.
    pub start: Timestamp,
    /// End, excluded.
    pub end: Timestamp,
    /// Rows, sampled negatives included.
    pub rows: u64,
    /// Rows with label 1.
    pub positives: u64,
    /// Share of the period's users who were never seen before; `None` where the log knows no users.
    pub new_user_share: Option<f64>,
    /// Share of the period's items that were never seen before; `None` where the log knows no items.
    pub new_item_share: Option<f64>,
}

/// What a method is to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodKind {
    /// Learns no parameters: a constant, popularity. What learning has to beat. Does not depend on the seed, so one
    /// seed stands for all.
    Reference,
    /// Learned before the first scored period and never again: shows what going stale costs.
    Frozen,
    /// Is updated period by period.
    Updated,
}

/// One method of the experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodResults {
    /// Name, unique among the methods.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// The loss of its updates, where that is not plain cross-entropy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
    /// What it is.
    pub kind: MethodKind,
    /// One run per seed.
    pub seeds: Vec<SeedResults>,
}

/// One run of a method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedResults {
    /// The seed of the run.
    pub seed: u64,
    /// One record per scored period, in order of time.
    pub periods: Vec<PeriodRecord>,
}

/// One run's part in one period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodRecord {
    /// Index of the scored period.
    pub period: u32,
    /// How good the scores were.
    pub metrics: PeriodMetrics,
    /// Seconds spent on the update that followed the scoring; `None` where there was none.
    pub train_seconds: Option<f64>,
    /// Seconds spent on scoring.
    pub score_seconds: f64,
    /// Rows visited by that update, counted once per epoch.
    pub trained_rows: u64,
    /// Digest of the version that scored; `None` where none is kept.
    pub version: Option<Digest>,
    /// What the gate decided after that update, for the next period; absent where the method has no gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateDecision>,
}

/// Metrics of one period without a run behind them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodScore {
    /// Index of the scored period.
    pub period: u32,
    /// How good the scores were.
    pub metrics: PeriodMetrics,
}

impl Results {
    /// The content of `results.json`.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("results are plain data with text keys")
    }

    /// Reads `results.json`. Errs on another format, on unknown fields and on parts that contradict each other.
    pub fn from_json(text: &str) -> Result<Results, Error> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        let got = serde_json::from_str::<Header>(text)?.format;
        if got != RESULTS_FORMAT {
            return Err(Error::Format { expected: RESULTS_FORMAT, got });
        }
        let results: Results = serde_json::from_str(text)?;
        results.check()?;
        Ok(results)
    }

    /// Errs if methods or seeds repeat, or if something speaks of a period that was not scored.
    pub fn check(&self) -> Result<(), Error> {
        let known = distinct(self.periods.iter().map(|facts| facts.index), "period")?;
        let known_only = |periods: BTreeSet<u32>, who: &str| match periods.difference(&known).next() {
            Some(period) => Err(Error::Inconsistent(format!("{who} speaks of period {period}, which was not scored"))),
            None => Ok(()),
        };
        distinct(self.methods.iter().map(|method| &method.name), "method")?;
        for method in &self.methods {
            distinct(method.seeds.iter().map(|run| run.seed), &format!("seed of {}", method.name))?;
            for run in &method.seeds {
                let who = format!("{} with seed {}", method.name, run.seed);
                known_only(distinct(run.periods.iter().map(|record| record.period), &who)?, &who)?;
            }
        }
        let ceiling = self.ceiling.iter().flatten().map(|score| score.period);
        known_only(distinct(ceiling, "period of the ceiling")?, "the ceiling")
    }

    /// Digest of all but the durations: equal for two runs that computed the same, on whatever machine.
    pub fn digest(&self) -> Digest {
        let mut timeless = self.clone();
        for method in &mut timeless.methods {
            for record in method.seeds.iter_mut().flat_map(|run| &mut run.periods) {
                record.train_seconds = None;
                record.score_seconds = 0.0;
            }
        }
        Digest::of_bytes(timeless.to_json().as_bytes())
    }

    /// The method of this name; the error lists those there are.
    pub fn method(&self, name: &str) -> Result<&MethodResults, Error> {
        self.methods.iter().find(|method| method.name == name).ok_or_else(|| Error::NoMethod {
            name: name.to_owned(),
            known: self.methods.iter().map(|method| method.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// The values as a set; errs if one comes twice.
fn distinct<T: Ord + std::fmt::Display>(values: impl Iterator<Item = T>, what: &str) -> Result<BTreeSet<T>, Error> {
    let mut seen = BTreeSet::new();
    for value in values {
        if seen.contains(&value) {
            return Err(Error::Inconsistent(format!("{what} {value} occurs twice")));
        }
        seen.insert(value);
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn reads_back_what_it_wrote() {
        let results = sample::marketplace();
        assert_eq!(Results::from_json(&results.to_json()).unwrap(), results);
    }

    #[test]
    fn other_formats_and_contradictions_are_refused() {
        let refused = |edit: fn(&mut Results), expected: &str| {
            let mut results = sample::marketplace();
            edit(&mut results);
            let error = Results::from_json(&results.to_json()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        refused(|results| results.format = 9, "expected results of format 1, got format 9");
        refused(|results| results.methods[1].name = results.methods[0].name.clone(), "occurs twice");
        refused(|results| results.methods[0].seeds[0].periods[0].period = 99, "period 99, which was not scored");
        let error = Results::from_json("{}").unwrap_err().to_string();
        assert!(error.contains("missing field `format`"), "{error}");
    }

    #[test]
    fn files_of_format_1_stay_readable() {
        let results = Results::from_json(
            r#"{"format":1,"experiment":"e","log":"l","span":{"start":3,"end":5},
                "periods":[{"index":3,"start":0,"end":60000000,"rows":2,"positives":1,
                            "new_user_share":null,"new_item_share":0.5}],
                "methods":[{"name":"m","description":"d","kind":"updated","seeds":[{"seed":7,"periods":[
                    {"period":3,"metrics":{"rows":2,"unlabelled":1,"positives":1,"values":{"auc":0.1}},
                     "train_seconds":null,"score_seconds":0.5,"trained_rows":2,"version":null}]}]}],
                "ceiling":null}"#,
        )
        .unwrap();
        assert_eq!((results.span, results.periods[0].end), (3..5, Timestamp(60_000_000)));
        assert_eq!(results.methods[0].seeds[0].periods[0].metrics.get("auc"), Some(0.1));
    }

    #[test]
    fn the_digest_leaves_durations_out_and_nothing_else() {
        let results = sample::marketplace();
        let mut slower = results.clone();
        slower.methods[3].seeds[0].periods[0].train_seconds = Some(9.0);
        slower.methods[3].seeds[0].periods[0].score_seconds = 9.0;
        assert_eq!(slower.digest(), results.digest());
        slower.methods[3].seeds[0].periods[0].trained_rows += 1;
        assert_ne!(slower.digest(), results.digest());
    }
}
