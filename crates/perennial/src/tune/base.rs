//! The experiment that is searched, and what settings make of it.

use super::config::{Selection, TuneConfig};
use super::space::Settings;
use crate::experiment::Experiment;
use crate::split::SplitExperiment;
use crate::suggest::nearest;
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

impl Kind {
    /// Tables in which trials may differ.
    fn searched(self) -> &'static [&'static str] {
        match self {
            Kind::Continual => &["training", "model", "encoder", "data", "method"],
            Kind::Split => &["training", "schedule", "numeric", "method"],
        }
    }

    /// What decides within them what trials are compared by: it is the same for all.
    fn fixed(self) -> &'static [&'static str] {
        match self {
            Kind::Continual => {
                &["method.name", "data.slicing", "data.label", "data.label_delay", "data.negatives", "data.data_seed"]
            }
            Kind::Split => &["method.name", "schedule.watch"],
        }
    }
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
            false => {
                let experiment = Experiment::read(path)?;
                config.selection.map_or(Ok(()), |selection| check_scored(&experiment, selection))?;
                (Kind::Continual, experiment.to_toml())
            }
        };
        match (kind, config.selection) {
            (Kind::Continual, None) => bail!(
                "selection: say which periods trials are ranked on, before those that the experiment is judged by, e.g. \
                 selection = {{ periods = [20, 22] }}"
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
        let trial = self.build(name, settings).map_err(|error| self.blame(name, settings, error))?;
        let resolved: Table = toml::from_str(&trial.to_toml()).expect("it was just written");
        for path in self.kind.fixed() {
            if value_at(&resolved, path) != value_at(&self.table, path) {
                bail!("{path} decides what trials are compared by, so it is no key of a search");
            }
        }
        Ok(trial)
    }

    /// The error of settings, with the key that is refused by itself, if one is.
    fn blame(&self, name: &str, settings: &Settings, error: anyhow::Error) -> anyhow::Error {
        let refused = |(key, value): (&String, &Value)| {
            let alone = Settings::from([(key.clone(), value.clone())]);
            self.build(name, &alone).is_err().then(|| key.clone())
        };
        let Some(key) = settings.iter().find_map(refused) else { return error };
        let told = format!("{error:#}").contains("did you mean");
        match self.suggestion(&key).filter(|_| !told) {
            Some(near) => error.context(format!("space.\"{key}\" (did you mean \"{near}\"?)")),
            None => error.context(format!("space.\"{key}\"")),
        }
    }

    /// What is like the first part of a key that the base does not have.
    fn suggestion(&self, key: &str) -> Option<String> {
        let mut at = &self.table;
        for part in key.split('.') {
            at = match at.get(part) {
                None => return nearest(part, at.keys().map(String::as_str)).map(str::to_owned),
                Some(value) => inside(value)?,
            };
        }
        None
    }

    fn build(&self, name: &str, settings: &Settings) -> Result<Trial> {
        let mut table = self.table.clone();
        table.insert("name".into(), name.into());
        for (key, value) in settings {
            self.check_searched(key)?;
            set(&mut table, key, value.clone())?;
        }
        Ok(match self.kind {
            Kind::Continual => Trial::Continual(Box::new(Experiment::from_table(table)?)),
            Kind::Split => Trial::Split(Box::new(SplitExperiment::from_table(table)?)),
        })
    }

    fn check_searched(&self, key: &str) -> Result<()> {
        let (first, searched) = (key.split('.').next().unwrap_or_default(), self.kind.searched());
        if key == "method" {
            bail!("say which key of the method, as in \"method.objective\"");
        }
        if searched.contains(&first) {
            return Ok(());
        }
        let near = nearest(first, searched.iter().copied());
        let near = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
        bail!("trials may differ in {}, and not in \"{first}\"{near}", searched.join(", "))
    }
}

impl Trial {
    /// The same, ended where trials end: a trial cannot know what comes after.
    pub(super) fn cut(mut self, selection: Option<Selection>) -> Trial {
        if let (Trial::Continual(experiment), Some(selection)) = (&mut self, selection) {
            let end = selection.last().saturating_add(1);
            experiment.protocol.periods = Some(end - experiment.protocol.pretrain);
            experiment.protocol.average_last = Some(end - selection.first());
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

/// Refuses periods that the experiment does not score.
fn check_scored(experiment: &Experiment, selection: Selection) -> Result<()> {
    let pretrain = experiment.protocol.pretrain;
    if selection.first() < pretrain {
        bail!(
            "selection.periods: period {} is trained on before anything is scored; the first that is scored is {pretrain}",
            selection.first()
        );
    }
    match experiment.protocol.periods.map(|periods| pretrain.saturating_add(periods)) {
        Some(end) if selection.last() >= end => {
            bail!("selection.periods: the base ends with period {}, before period {}", end - 1, selection.last())
        }
        _ => Ok(()),
    }
}

/// The value at a path of keys, if there is one.
fn value_at<'t>(table: &'t Table, path: &str) -> Option<&'t Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((key, rest)) => value_at(inside(table.get(key)?)?, rest),
    }
}

/// The table that a value is; of a list of methods, that of the one that is left.
fn inside(value: &Value) -> Option<&Table> {
    match value {
        Value::Table(table) => Some(table),
        Value::Array(only) => only.first()?.as_table(),
        _ => None,
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
