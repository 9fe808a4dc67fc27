//! What a key may be, and which settings a search tries.

use super::config::{Search, TuneConfig};
use anyhow::{Result, bail};
use perennial_core::rng::{Stream, hash_text};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::collections::BTreeMap;

/// What one key may be: a list, or a range for a random search.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Values {
    /// One of these, each as likely as another.
    List(Vec<toml::Value>),
    /// A number from a range.
    Range(Range),
}

/// A table in a space.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Named {
    Uniform(f64, f64),
    LogUniform(f64, f64),
    Choice(Vec<toml::Value>),
}

impl<'de> Deserialize<'de> for Values {
    /// By hand, since an untagged enum cannot say which name it does not know.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Values, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Array(list) => Ok(Values::List(list)),
            table @ toml::Value::Table(_) => match table.try_into::<Named>() {
                Ok(Named::Uniform(from, to)) => Ok(Values::Range(Range::Uniform(from, to))),
                Ok(Named::LogUniform(from, to)) => Ok(Values::Range(Range::LogUniform(from, to))),
                Ok(Named::Choice(list)) => Ok(Values::List(list)),
                Err(error) => Err(de::Error::custom(format!(
                    "{}. A key with dots is put in quotes: \"training.batch_size\" = [512, 1024]",
                    error.message().trim_end()
                ))),
            },
            _ => Err(de::Error::custom("expected a list of values, or a range such as { uniform = [0.0, 0.5] }")),
        }
    }
}

/// Numbers from the first to the second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Range {
    /// All alike.
    Uniform(f64, f64),
    /// All powers of ten alike: for learning rates and decay.
    LogUniform(f64, f64),
}

/// The value of every key of a trial.
pub type Settings = BTreeMap<String, toml::Value>;

impl Values {
    pub(super) fn check(&self, grid: bool) -> Result<()> {
        match *self {
            Values::List(ref list) if list.is_empty() => bail!("a list holds at least one value"),
            Values::Range(_) if grid => {
                bail!(
                    "a grid needs a list of values; ranges are for search = {{ random = {{ trials = 20, seed = 1 }} }}"
                )
            }
            Values::Range(Range::Uniform(from, to)) if !(from < to && (to - from).is_finite()) => {
                bail!("a range goes from a smaller number to a larger one")
            }
            Values::Range(Range::LogUniform(from, to)) if !(0.0 < from && from < to && to.is_finite()) => {
                bail!("a logarithmic range goes from a positive number to a larger one")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Values::List(list) => list.len(),
            Values::Range(_) => 1,
        }
    }

    fn draw(&self, stream: &mut Stream) -> toml::Value {
        let at = stream.unit_f64();
        match *self {
            Values::List(ref list) => list[((at * list.len() as f64) as usize).min(list.len() - 1)].clone(),
            Values::Range(Range::Uniform(from, to)) => rounded(from + at * (to - from)).into(),
            Values::Range(Range::LogUniform(from, to)) => {
                rounded((from.ln() + at * (to.ln() - from.ln())).exp()).into()
            }
        }
    }
}

/// Three digits are all that a search can tell apart, and all that a reader wants.
fn rounded(x: f64) -> f64 {
    format!("{x:.2e}").parse().expect("it was a number")
}

/// All settings that are tried, each once, in order.
pub(super) fn trials(config: &TuneConfig) -> Vec<Settings> {
    let mut all: Vec<Settings> = match config.search {
        Search::Grid => grid(&config.space),
        Search::Random { trials, seed } => (0..trials).map(|trial| drawn(&config.space, seed, trial)).collect(),
    };
    let mut seen = Vec::new();
    all.retain(|settings| {
        let new = !seen.contains(settings);
        seen.push(settings.clone());
        new
    });
    all
}

fn grid(space: &BTreeMap<String, Values>) -> Vec<Settings> {
    let mut all = vec![Settings::new()];
    for (key, values) in space {
        let Values::List(list) = values else { unreachable!("a checked grid has lists") };
        let with = |settings: &Settings, value: &toml::Value| {
            let mut settings = settings.clone();
            settings.insert(key.clone(), value.clone());
            settings
        };
        all = all.iter().flat_map(|settings| list.iter().map(move |value| with(settings, value))).collect();
    }
    all
}

/// Draws are keyed by trial and key: a search that is given more trials, or another key, keeps the others.
fn drawn(space: &BTreeMap<String, Values>, seed: u64, trial: u32) -> Settings {
    let value = |(key, values): (&String, &Values)| {
        let mut stream = Stream::new(&[hash_text("tune"), seed, u64::from(trial), hash_text(key)]);
        (key.clone(), values.draw(&mut stream))
    };
    space.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(search: &str, space: &str) -> TuneConfig {
        TuneConfig::parse(&format!("name = \"t\"\nbase = \"b.toml\"\nsearch = {search}\n[space]\n{space}")).unwrap()
    }

    #[test]
    fn a_grid_has_every_combination() {
        let all = trials(&config("\"grid\"", "\"a.b\" = [1, 2]\nc = [\"x\", \"y\", \"x\"]"));
        let text: Vec<String> = all.iter().map(|settings| format!("{}{}", settings["a.b"], settings["c"])).collect();
        assert_eq!(text, ["1\"x\"", "1\"y\"", "2\"x\"", "2\"y\""]);
    }

    #[test]
    fn a_choice_is_a_list() {
        let choice = config("\"grid\"", "a = { choice = [1, \"x\"] }\nb = { choice = [2] }");
        assert_eq!(choice.space["a"], Values::List(vec![1.into(), "x".into()]));
        assert_eq!(trials(&choice), trials(&config("\"grid\"", "a = [1, \"x\"]\nb = [2]")));
    }

    #[test]
    fn draws_lie_in_their_ranges_and_stay_when_more_are_asked_for() {
        let space = "rate = { log_uniform = [1e-4, 1e-2] }\ndrop = { uniform = [0.0, 0.5] }\nkind = [1, 2]";
        let few = trials(&config("{ random = { trials = 20, seed = 3 } }", space));
        let many = trials(&config("{ random = { trials = 200, seed = 3 } }", space));
        assert_eq!(few, many[..20]);
        let of = |key: &str| many.iter().map(|settings| settings[key].as_float().unwrap()).collect::<Vec<_>>();
        assert!(of("rate").iter().all(|x| (1e-4..=1e-2).contains(x)));
        let small = of("rate").iter().filter(|x| **x < 1e-3).count();
        assert!((70..130).contains(&small), "half of the draws are below the middle power: {small} of 200");
        assert!(of("drop").iter().all(|x| (0.0..=0.5).contains(x)));
    }

    #[test]
    fn impossible_searches_are_named() {
        let refused = |text: &str, part: &str| {
            let error = TuneConfig::parse(&format!("name = \"t\"\nbase = \"b.toml\"\n{text}")).unwrap_err();
            assert!(format!("{error:#}").contains(part), "{error:#}");
        };
        refused("[space]", "at least one key");
        refused("[space]\na = []", "at least one value");
        refused("[space]\na = { uniform = [0, 1] }", "a grid needs a list");
        refused("search = { random = { trials = 0, seed = 1 } }\n[space]\na = [1]", "from 1 to");
        refused("search = { random = { trials = 2, seed = 1 } }\n[space]\na = { log_uniform = [0, 1] }", "positive");
        refused("selection = { periods = [3, 2] }\n[space]\na = [1]", "the first and the last");
        refused("[space]\na = { log_unifrom = [1, 2] }", "did you mean \"log_uniform\"");
        refused("[space]\na.b = [1]", "put in quotes");
        refused("[space]\na = 1", "expected a list");
        refused("metod = \"x\"\n[space]\na = [1]", "did you mean \"method\"");
    }
}
