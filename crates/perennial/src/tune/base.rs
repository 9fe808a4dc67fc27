//! The experiment that is searched, and what settings make of it.

use super::config::{Selection, TuneConfig};
use super::space::Settings;
use crate::experiment::Experiment;
use crate::split::SplitExperiment;
use anyhow::{Context, Result, bail};
use toml::{Table, Value};

/// An experiment of either command, as text with every default spelled out, and one method.
pub(super) struct Base {
    kind: Kind,
    table: Table,
}

/// Which command an experiment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `run`
    Continual,
    /// `train`
    Split,
}

/// An experiment that can be run.
pub(super) enum Trial {
    /// By `run`.
    Continual(Box<Experiment>),
    /// By `train`.
    Split(Box<SplitExperiment>),
}

impl Base {
    /// Reads the experiment and leaves one method in it.
    pub(super) fn read(config: &TuneConfig) -> Result<Base> {
        let path = &config.base;
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let keys: Table = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        let (kind, text) = match keys.contains_key("train") {
            true => (Kind::Split, SplitExperiment::read(path)?.to_toml()),
            false => (Kind::Continual, Experiment::read(path)?.to_toml()),
        };
        match (kind, config.selection) {
            (Kind::Continual, None) => bail!(
                "selection: say which periods trials are ranked on, before those that the experiment is judged by, e.g. \
                 selection = {{ periods = 13, average_last = 3 }}"
            ),
            (Kind::Split, Some(_)) => bail!("selection: a split is ranked on its validation examples"),
            _ => {}
        }
        let mut base = Base { kind, table: toml::from_str(&text).expect("it was just written") };
        base.leave_one(config.method.as_deref())?;
        if let Some(seeds) = &config.seeds {
            let seeds = seeds.iter().map(|&seed| Value::Integer(seed as i64)).collect();
            base.table.insert("seeds".into(), Value::Array(seeds));
        }
        Ok(base)
    }

    fn leave_one(&mut self, wanted: Option<&str>) -> Result<()> {
        let Some(Value::Array(methods)) = self.table.get_mut("method") else { bail!("the base has no method") };
        let name = |method: &Value| method.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let names: Vec<String> = methods.iter().map(name).collect();
        let at = match wanted {
            None if names.len() == 1 => Some(0),
            None => bail!("method: the base has {}; choose one: {}", names.len(), names.join(", ")),
            Some(wanted) => names.iter().position(|name| name == wanted),
        };
        match at {
            Some(at) => *methods = vec![methods.swap_remove(at)],
            None => bail!("method: the base has no \"{}\"; it has: {}", wanted.unwrap_or_default(), names.join(", ")),
        }
        if let Some(Value::Table(protocol)) = self.table.get_mut("protocol") {
            protocol.remove("baseline");
        }
        Ok(())
    }

    /// The experiment with these settings, whole.
    pub(super) fn with(&self, name: &str, settings: &Settings) -> Result<Trial> {
        let mut table = self.table.clone();
        table.insert("name".into(), name.into());
        for (key, value) in settings {
            set(&mut table, key, value.clone()).with_context(|| format!("space.\"{key}\""))?;
        }
        let text = toml::to_string(&table).expect("a table of TOML can be written");
        Ok(match self.kind {
            Kind::Continual => Trial::Continual(Box::new(Experiment::parse(&text)?)),
            Kind::Split => Trial::Split(Box::new(SplitExperiment::parse(&text)?)),
        })
    }
}

impl Trial {
    /// The same, ended where trials end: a trial cannot know what comes after.
    pub(super) fn cut(mut self, selection: Option<Selection>) -> Trial {
        if let (Trial::Continual(experiment), Some(selection)) = (&mut self, selection) {
            experiment.protocol.periods = Some(selection.periods);
            experiment.protocol.average_last = Some(selection.average_last);
        }
        self
    }

    /// As TOML with every default spelled out.
    pub(super) fn to_toml(&self) -> String {
        match self {
            Trial::Continual(experiment) => experiment.to_toml(),
            Trial::Split(experiment) => experiment.to_toml(),
        }
    }

    /// The command that runs it.
    pub(super) fn command(&self) -> &'static str {
        match self {
            Trial::Continual(_) => "run",
            Trial::Split(_) => "train",
        }
    }
}

/// Sets the value at a path of keys; tables on the way are made.
fn set(table: &mut Table, path: &str, value: Value) -> Result<()> {
    let mut keys: Vec<&str> = path.split('.').collect();
    let last = keys.pop().expect("a split text has a part");
    let mut at = table;
    for key in keys {
        let next = at.entry(key).or_insert_with(|| Value::Table(Table::new()));
        at = match next {
            Value::Table(table) => table,
            // The one method that is left.
            Value::Array(only) => match only.first_mut() {
                Some(Value::Table(table)) if key == "method" => table,
                _ => bail!("\"{key}\" is a list, and holds no key"),
            },
            // A name stands for a table of defaults: `strategy = "asmg_gru"`.
            Value::String(name) => {
                let name = name.clone();
                *next = Value::Table(Table::from_iter([(name, Value::Table(Table::new()))]));
                next.as_table_mut().expect("it was just made")
            }
            _ => bail!("\"{key}\" is a value, and holds no key"),
        };
    }
    at.insert(last.to_owned(), value);
    Ok(())
}
