//! How a log is cut and completed; part of the identity of what was prepared.

use crate::error::{Result, StreamError};
use perennial_core::{Role, Schema, Span};
use serde::{Deserialize, Serialize};

/// How a log becomes periods of examples. Independent of models, methods and model seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareConfig {
    /// Where periods begin and end.
    pub slicing: Slicing,
    /// Which label is to be predicted; the first one of the schema if not said.
    #[serde(default)]
    pub label: Option<String>,
    /// Added to the time at which each label became observable.
    #[serde(default = "no_delay")]
    pub label_delay: Span,
    /// Length of histories: most recent positive items of the user. 0 leaves histories out.
    #[serde(default = "thirty")]
    pub history: u32,
    /// Negatives to be sampled, for logs that hold positives only.
    #[serde(default)]
    pub negatives: Option<Negatives>,
    /// Names the stream of random numbers that negatives are drawn from.
    #[serde(default)]
    pub data_seed: u64,
}

/// Where periods begin and end. Rows of the log are counted and cut before negatives are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slicing {
    /// Stretches of equal length, aligned to 1970-01-01T00:00Z (so days are UTC days and weeks begin on a Thursday):
    /// period 0 holds the first row, stretches without rows are empty periods, the last one may be cut short by the
    /// end of the log. Growing the log changes no period but the last.
    Time(Span),
    /// This many periods of `floor(rows / count)` rows each; the remainder at the end is dropped and reported.
    /// Rows of one time may fall on both sides of a border.
    Count(u32),
    /// The log's period column, which must not fall from row to row; numbers that are left out are empty periods.
    Given,
}

/// More would be a mistake rather than a wish.
const MOST_NEGATIVES: u32 = 1000;

/// Negatives sampled for each positive. They are drawn with replacement among the candidates that are not rejected,
/// keyed by (data seed, event id, ordinal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Negatives {
    /// How many for each positive.
    #[serde(default = "one")]
    pub per_positive: u32,
    /// Which items may be drawn.
    pub from: Candidates,
    /// How likely each is.
    #[serde(default)]
    pub by: Weighing,
    /// Which candidates are passed over.
    #[serde(default)]
    pub reject: Reject,
}

/// The items that may be drawn as a negative of a positive at time t.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Candidates {
    /// Every item that a row before t named.
    Catalogue,
    /// Items with a positive at a time in `[t - window, t)` that was observable before t.
    Window(Span),
}

/// How likely each candidate is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighing {
    /// All alike.
    #[default]
    Uniform,
    /// In proportion to its number of positives among those that make up the candidates.
    Popularity,
}

/// Which candidates are passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reject {
    /// The positive itself.
    Positive,
    /// The positive itself and the items of its history.
    #[default]
    History,
}

fn no_delay() -> Span {
    Span::ZERO
}

fn thirty() -> u32 {
    30
}

fn one() -> u32 {
    1
}

impl PrepareConfig {
    /// Periods cut by `slicing`, all else as by default: first label, no delay, histories of 30, no negatives, seed 0.
    pub fn new(slicing: Slicing) -> PrepareConfig {
        PrepareConfig {
            slicing,
            label: None,
            label_delay: no_delay(),
            history: thirty(),
            negatives: None,
            data_seed: 0,
        }
    }

    /// Refuses settings that cannot hold together for a log of this schema.
    pub fn check(&self, schema: &Schema) -> Result<()> {
        let refuse = |problem: &str| Err(StreamError::Config(problem.to_owned()));
        if self.label_delay < Span::ZERO {
            return refuse("label_delay must not be negative");
        }
        match self.slicing {
            Slicing::Time(span) if span <= Span::ZERO => return refuse("periods of no length: say e.g. time = \"1d\""),
            Slicing::Count(0) => return refuse("a log cannot be cut into 0 periods"),
            _ => {}
        }
        let Some(negatives) = self.negatives else { return Ok(()) };
        if negatives.per_positive == 0 {
            return refuse("per_positive = 0 samples nothing: leave negatives out instead");
        }
        if negatives.per_positive > MOST_NEGATIVES {
            return refuse("at most 1000 negatives per positive are possible: a period is held in memory");
        }
        if matches!(negatives.from, Candidates::Window(span) if span <= Span::ZERO) {
            return refuse("a window of no length holds no candidates: say e.g. window = \"24h\"");
        }
        if schema.key_of(Role::Item).is_none() {
            return refuse("negatives are sampled items, but the schema has no id field of role \"item\"");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_documented_forms() {
        let config: PrepareConfig = toml::from_str(
            r#"
            slicing = { time = "1d" }
            label_delay = "1h"
            negatives = { from = { window = "24h" }, by = "popularity" }"#,
        )
        .unwrap();
        let negatives = Negatives {
            per_positive: 1,
            from: Candidates::Window(Span::parse("24h").unwrap()),
            by: Weighing::Popularity,
            reject: Reject::History,
        };
        let expected = PrepareConfig {
            label_delay: Span::parse("1h").unwrap(),
            negatives: Some(negatives),
            ..PrepareConfig::new(Slicing::Time(Span::parse("1d").unwrap()))
        };
        assert_eq!(config, expected);
        assert_eq!(toml::from_str::<PrepareConfig>("slicing = \"given\"").unwrap().slicing, Slicing::Given);
        assert_eq!(toml::from_str::<PrepareConfig>("slicing.count = 31").unwrap().slicing, Slicing::Count(31));
    }

    #[test]
    fn nonsense_is_refused() {
        let schema = Schema::parse(
            "name = \"x\"\nfield = [{ name = \"t\", kind = \"timestamp\", unit = \"s\" }, { name = \"y\", kind = \"label\" }]",
        )
        .unwrap();
        let refused = |edit: &dyn Fn(&mut PrepareConfig), expected: &str| {
            let mut config = PrepareConfig::new(Slicing::Count(3));
            edit(&mut config);
            let error = config.check(&schema).unwrap_err().to_string();
            assert!(error.contains(expected), "got: {error}");
        };
        refused(&|c| c.slicing = Slicing::Count(0), "0 periods");
        refused(&|c| c.slicing = Slicing::Time(Span::ZERO), "no length");
        refused(&|c| c.label_delay = Span(-1), "negative");
        let negatives =
            Negatives { per_positive: 1, from: Candidates::Catalogue, by: Weighing::Uniform, reject: Reject::Positive };
        refused(&|c| c.negatives = Some(negatives), "no id field of role \"item\"");
        refused(&|c| c.negatives = Some(Negatives { per_positive: 0, ..negatives }), "samples nothing");
        refused(&|c| c.negatives = Some(Negatives { per_positive: 1001, ..negatives }), "at most 1000");
        refused(
            &|c| c.negatives = Some(Negatives { from: Candidates::Window(Span::ZERO), ..negatives }),
            "holds no candidates",
        );
        assert!(toml::from_str::<PrepareConfig>("slicing = \"given\"\nhistroy = 3").is_err());
    }
}
