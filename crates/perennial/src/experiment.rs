//! The experiment file: what is run on which log, typed and checked before anything starts.

use anyhow::{Context, Result, bail};
use perennial_learn::{Env, GateConfig, LearnError, Learned, PreviousScores, StrategyConfig, Trained, TrainingConfig};
use perennial_model::{BackboneConfig, EncoderConfig, Objective};
use perennial_stream::{PrepareConfig, SeenPeriod};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A checked experiment. What a TOML file leaves out has the defaults below; the resolved file is stored with every
/// version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Name: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Folder of the canonical log, relative to the experiment file.
    pub log: PathBuf,
    /// One run of every method per seed: initialisation and order of examples.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// How the log becomes periods of examples.
    pub data: PrepareConfig,
    /// What is trained when, and what is averaged.
    pub protocol: Protocol,
    /// How ids and numbers are encoded.
    #[serde(default)]
    pub encoder: EncoderConfig,
    /// The backbone.
    #[serde(default)]
    pub model: BackboneConfig,
    /// A file of scores that another system served, relative to the experiment file: what "logged" earlier scores are, in the
    /// place of what each method's own versions served. A log that has a field of scores needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_scores: Option<PathBuf>,
    /// The training loop.
    #[serde(default)]
    pub training: TrainingConfig,
    /// The update strategies that are compared. The references `constant` and `popularity` always take part.
    pub method: Vec<Method>,
    /// What a run leaves behind.
    #[serde(default)]
    pub keep: Keep,
}

/// One contestant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Name in reports and of its versions: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// How it makes a version from the one before.
    pub strategy: StrategyConfig,
    /// Its own loss in updates; that of `training` if absent. Pre-training, which all methods share, has the latter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// Where the earlier scores come from that its loss compares with; as `training` says if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousScores>,
    /// Serve what it makes only while that beats the plain incremental update; always if absent.
    #[serde(default)]
    pub gate: Option<GateConfig>,
}

impl Method {
    /// The settings of its updates.
    pub fn training(&self, shared: &TrainingConfig) -> TrainingConfig {
        TrainingConfig {
            objective: self.objective.unwrap_or(shared.objective),
            previous: self.previous.unwrap_or(shared.previous),
            ..shared.clone()
        }
    }

    /// Whether its updates compare with what its versions served.
    pub fn compares_with_served(&self, shared: &TrainingConfig) -> bool {
        let TrainingConfig { objective, previous, .. } = self.training(shared);
        objective.needs_previous() && previous == PreviousScores::Logged
    }

    /// The next version, made of the previous one and a period whose labels are known.
    pub(crate) fn update(
        &self,
        learned: Learned,
        seen: &SeenPeriod,
        env: &Env<'_>,
    ) -> Result<(Learned, Trained), LearnError> {
        match &self.gate {
            None => self.strategy.update(learned, seen, env),
            Some(gate) => gate.update(&self.strategy, learned, seen, env),
        }
    }

    /// One line for reports.
    pub(crate) fn describe(&self) -> String {
        match &self.gate {
            None => self.strategy.describe(),
            Some(gate) => format!("{}; {}", self.strategy.describe(), gate.describe()),
        }
    }
}

/// What is trained when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// Number of first periods that are trained on together before anything is scored.
    pub pretrain: u32,
    /// Averages and tests are over this many last periods; over all scored ones if absent.
    #[serde(default)]
    pub average_last: Option<u32>,
    /// Stop after scoring this many periods; all if absent.
    #[serde(default)]
    pub periods: Option<u32>,
    /// Method that the others are tested against; the first if absent.
    #[serde(default)]
    pub baseline: Option<String>,
}

/// What a run leaves behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Which versions outlive the run.
    pub versions: KeepVersions,
    /// Write the scores of every method, seed and period as Parquet side files, joined to the log by event id.
    pub scores: bool,
}

/// Which versions outlive the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepVersions {
    /// The last of each method and seed, those with an alias, and the pre-trained ones.
    #[default]
    Last,
    /// All.
    All,
}

/// Names of the references, which no method may take.
pub const REFERENCES: [&str; 2] = ["constant", "popularity"];

fn one_seed() -> Vec<u64> {
    vec![1]
}

impl Experiment {
    /// Reads and checks an experiment file. The path of the log is made absolute.
    pub fn read(path: &Path) -> Result<Experiment> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the experiment file {}", path.display()))?;
        let mut experiment =
            Experiment::parse(&text).with_context(|| format!("in the experiment file {}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let log = folder.join(&experiment.log);
        experiment.log = std::path::absolute(&log).with_context(|| format!("log: no path is {}", log.display()))?;
        if let Some(scores) = &mut experiment.served_scores {
            let from = folder.join(&*scores);
            *scores =
                std::path::absolute(&from).with_context(|| format!("served_scores: no path is {}", from.display()))?;
        }
        Ok(experiment)
    }

    /// Reads and checks the text of an experiment file.
    pub fn parse(text: &str) -> Result<Experiment> {
        let experiment: Experiment =
            toml::from_str(text).map_err(|error| anyhow::anyhow!(crate::suggest::explain(&error.to_string())))?;
        experiment.check()?;
        Ok(experiment)
    }

    /// Checks an experiment that was read as a table.
    pub(crate) fn from_table(table: toml::Table) -> Result<Experiment> {
        let experiment: Experiment =
            table.try_into().map_err(|error| anyhow::anyhow!(crate::suggest::explain(&error.to_string())))?;
        experiment.check()?;
        Ok(experiment)
    }

    /// The experiment as TOML with every default spelled out.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a checked experiment is plain data")
    }

    /// Name of the method that the others are tested against.
    pub fn baseline(&self) -> &str {
        self.protocol.baseline.as_deref().unwrap_or(&self.method[0].name)
    }

    /// The first key in which this experiment contradicts one that a folder holds the run of. Methods and seeds may be
    /// added or left out; what is averaged, which versions are kept and where the log lies may change.
    pub fn conflict(&self, other: &Experiment) -> Option<String> {
        let same = [
            ("name", self.name == other.name),
            ("data", self.data == other.data),
            ("protocol.pretrain", self.protocol.pretrain == other.protocol.pretrain),
            ("encoder", self.encoder == other.encoder),
            ("model", self.model == other.model),
            ("training", self.training == other.training),
            // Scores of periods that are done are not made again.
            ("keep.scores", !self.keep.scores || other.keep.scores),
            ("served_scores", self.served_scores.is_some() == other.served_scores.is_some()),
        ];
        let changed =
            |method: &&Method| other.method.iter().any(|theirs| theirs.name == method.name && theirs != *method);
        match same.iter().find(|(_, same)| !same) {
            Some((key, _)) => Some((*key).to_owned()),
            None => self.method.iter().find(changed).map(|method| format!("method {}", method.name)),
        }
    }

    fn check(&self) -> Result<()> {
        check_name("name", &self.name)?;
        if self.seeds.is_empty() {
            bail!("seeds: at least one seed is needed, e.g. seeds = [1, 2, 3]");
        }
        if self.seeds.iter().collect::<BTreeSet<_>>().len() != self.seeds.len() {
            bail!("seeds: every seed may be named once, got {:?}", self.seeds);
        }
        if self.protocol.pretrain == 0 {
            bail!("protocol.pretrain: at least one period is needed before anything can be scored");
        }
        if self.protocol.average_last == Some(0) || self.protocol.periods == Some(0) {
            bail!("protocol: average_last and periods must be at least 1");
        }
        self.encoder.check()?;
        self.training.check()?;
        self.check_methods()
    }

    fn check_methods(&self) -> Result<()> {
        if self.method.is_empty() {
            bail!("method: at least one [[method]] is needed");
        }
        let mut names = BTreeSet::new();
        for method in &self.method {
            check_name("method.name", &method.name)?;
            if REFERENCES.contains(&method.name.as_str()) || method.name == PRETRAINED {
                bail!("method \"{}\": this name is taken; choose another", method.name);
            }
            if !names.insert(method.name.as_str()) {
                bail!("method \"{}\" is there twice", method.name);
            }
            let gate = || method.gate.as_ref().map_or(Ok(()), GateConfig::check);
            method.strategy.check().and_then(|()| gate()).with_context(|| format!("method \"{}\"", method.name))?;
        }
        let baseline = self.baseline();
        if !names.contains(baseline) && !REFERENCES.contains(&baseline) {
            bail!("protocol.baseline: there is no method \"{baseline}\"; there are: {names:?}");
        }
        Ok(())
    }
}

/// Group of the versions that every method starts from.
pub const PRETRAINED: &str = "pretrained";

pub(crate) fn check_name(key: &str, name: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(fine) {
        bail!("{key}: \"{name}\" is not a name; use letters, digits, '-', '_' and '.'");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        name = "x"
        log = "logs/x"
        [data]
        slicing = { count = 31 }
        [protocol]
        pretrain = 10
        [[method]]
        name = "incremental"
        strategy = "incremental"
        [[method]]
        name = "batch-3"
        strategy = { batch = { window = 3 } }
    "#;

    #[test]
    fn reads_and_writes_back_the_same() {
        let experiment = Experiment::parse(EXAMPLE).unwrap();
        assert_eq!(Experiment::parse(&experiment.to_toml()).unwrap(), experiment);
        assert_eq!(experiment.baseline(), "incremental");
    }

    /// Every kind of model with its defaults, and one with all of its parts.
    #[test]
    fn every_model_is_read_and_written_back_the_same() {
        let kinds = [
            "embedding_mlp",
            "lr",
            "fm",
            "fmfm",
            "nfm",
            "ipnn",
            "dnn",
            "wide_deep",
            "deepfm",
            "xdeepfm",
            "afn",
            "dcn",
            "din",
            "can",
        ];
        let all = r#"kind = "can"
            fields = { dim = 4, inputs = ["item", "history.item"], init_of = { item = { glorot_normal = { rows = 9 } } } }
            attention = { hidden = [8], activation = "sigmoid", norm = "softmax_scaled", most_recent = 20 }
            search = { by = "category", most_recent = 50, attention = { hidden = [4] } }
            co_action = { of = ["item"], layers = [4], orders = 2, independent = true }
            mlp = { hidden = [20], activation = "dice", batch_norm = true, dropout = 0.1 }"#;
        for model in kinds.map(|kind| format!("kind = \"{kind}\"")).into_iter().chain([all.to_owned()]) {
            let text = EXAMPLE.replace(
                "[[method]]\n        name = \"incremental\"",
                &format!("[model]\n{model}\n[[method]]\nname = \"incremental\""),
            );
            let experiment = Experiment::parse(&text).unwrap();
            assert_ne!(text, EXAMPLE);
            assert_eq!(Experiment::parse(&experiment.to_toml()).unwrap(), experiment, "{model}");
            let unknown = text.replace(&model, &format!("{model}\ndimm = 3"));
            assert!(Experiment::parse(&unknown).is_err(), "{model}");
        }
    }

    #[test]
    fn a_strategy_without_options_is_a_name() {
        let text = EXAMPLE.replace("strategy = \"incremental\"", "strategy = \"retrain\"");
        let experiment = Experiment::parse(&text).unwrap();
        assert_eq!(experiment.method[0].strategy, StrategyConfig::Retrain(Default::default()));
        assert_eq!(Experiment::parse(&experiment.to_toml()).unwrap(), experiment);
    }

    #[test]
    fn a_method_may_have_a_gate() {
        let plain = Experiment::parse(EXAMPLE).unwrap();
        assert!(!plain.to_toml().contains("gate"), "what is off is not written");
        let gate =
            "window = 3 } }\n[method.gate]\ncriterion = \"log_loss\"\npromote = { margin = 0.001, confidence = 0.9 }";
        let experiment = Experiment::parse(&EXAMPLE.replace("window = 3 } }", gate)).unwrap();
        let found = experiment.method[1].gate.as_ref().unwrap();
        assert_eq!((found.promote.margin, found.window), (0.001, GateConfig::default().window));
        assert_eq!(Experiment::parse(&experiment.to_toml()).unwrap(), experiment);
        assert_eq!(experiment.conflict(&plain), Some("method batch-3".into()));
    }

    #[test]
    fn a_run_may_grow_but_not_change() {
        let experiment = Experiment::parse(EXAMPLE).unwrap();
        let conflict = |from: &str, to: &str| {
            assert!(EXAMPLE.contains(from), "{from}");
            Experiment::parse(&EXAMPLE.replace(from, to)).unwrap().conflict(&experiment)
        };
        assert_eq!(conflict("log = \"logs/x\"", "log = \"elsewhere\"\nseeds = [1, 2]"), None);
        assert_eq!(conflict("name = \"batch-3\"", "name = \"batch-three\""), None);
        assert_eq!(conflict("window = 3", "window = 4"), Some("method batch-3".into()));
        assert_eq!(conflict("count = 31", "count = 30"), Some("data".into()));
        assert_eq!(conflict("pretrain = 10", "pretrain = 9"), Some("protocol.pretrain".into()));
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |from: &str, to: &str, expected: &str| {
            assert!(EXAMPLE.contains(from), "{from}");
            let error = format!("{:#}", Experiment::parse(&EXAMPLE.replace(from, to)).unwrap_err());
            assert!(error.contains(expected), "got: {error}");
        };
        refused("pretrain = 10", "pretrian = 10", "did you mean \"pretrain\"");
        refused("pretrain = 10", "pretrain = 0", "at least one period");
        refused("window = 3", "window = 0", "at least one period");
        refused(
            "window = 3 } }",
            "window = 3 } }\nobjective = { self_corection = 0.2 }",
            "did you mean \"self_correction\"",
        );
        refused("window = 3", "windw = 3", "did you mean \"window\"");
        refused("strategy = \"incremental\"", "strategy = \"batch\"", "{ batch = { window = 3 } }");
        refused("strategy = \"incremental\"", "strategy = \"incrementl\"", "did you mean \"incremental\"");
        refused("name = \"batch-3\"", "name = \"incremental\"", "is there twice");
        refused("name = \"batch-3\"", "name = \"popularity\"", "taken");
        refused("name = \"batch-3\"", "name = \"../x\"", "is not a name");
        refused("pretrain = 10", "pretrain = 10\nbaseline = \"none\"", "no method \"none\"");
        refused("window = 3 } }", "window = 3 } }\n[method.gate]\nwindw = 3", "did you mean \"window\"");
        refused("window = 3 } }", "window = 3 } }\n[method.gate]\nmin_periods = 9", "method \"batch-3\"");
        refused("log = \"logs/x\"", "log = \"logs/x\"\nseeds = [1, 1]", "named once");
        refused("log = \"logs/x\"", "log = \"logs/x\"\ntraining = { batch_size = 0 }", "at least one example");
    }
}
