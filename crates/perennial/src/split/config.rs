//! The file of `perennial train`: one split, and what is trained on it, typed and checked before anything starts.

use crate::experiment::check_name;
use anyhow::{Context, Result, bail};
use perennial_core::{Digest, DigestBuilder};
use perennial_learn::{EarlierScores, Schedule, TrainingConfig};
use perennial_model::encoder::NumericEncoding;
use perennial_model::{BackboneConfig, EncoderConfig, Group, Objective};
use perennial_nn::optim::Override;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A checked experiment on one static split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitExperiment {
    /// Name: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// The schema of all files, relative to this file.
    pub schema: PathBuf,
    /// Which label is to be predicted; the first one of the schema if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// One run of every method per seed: initialisation and order of examples.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// How numeric fields become inputs. Ids that no training example has share one row of their own.
    #[serde(default)]
    pub numeric: NumericEncoding,
    /// Epochs, from 1, that tables show beside the best and the last one.
    #[serde(default)]
    pub report_epochs: Vec<u32>,
    /// What is trained on.
    pub train: SplitPart,
    /// What epochs are chosen by.
    pub valid: SplitPart,
    /// What nothing is chosen by.
    pub test: SplitPart,
    /// The training loop; `epochs` is the most there can be.
    #[serde(default)]
    pub training: TrainingConfig,
    /// What happens between epochs.
    #[serde(default)]
    pub schedule: Schedule,
    /// What is compared, all under the same protocol.
    pub method: Vec<SplitMethod>,
}

/// Where the examples of a part are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitPart {
    /// Files, folders or patterns of any format that `import` reads, relative to the experiment file.
    pub files: Vec<PathBuf>,
    /// Which rows of all that the files hold, in order of time and, where times are equal, of the files; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Stretch>,
}

/// A stretch of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stretch {
    /// This many from the beginning.
    First(u64),
    /// This many up to the end.
    Last(u64),
}

/// One contestant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitMethod {
    /// Name in results: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Its own loss; that of `training` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// Where the earlier scores come from that its loss compares with. Needed where it does, and nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<EarlierScores>,
    /// What its groups of parameters do otherwise than the shared optimiser, in the place of `training.groups`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeMap<Group, Override>>,
    /// The backbone.
    pub model: BackboneConfig,
}

fn one_seed() -> Vec<u64> {
    vec![1]
}

impl SplitMethod {
    /// Its loss.
    pub fn objective(&self, shared: &TrainingConfig) -> Objective {
        self.objective.unwrap_or(shared.objective)
    }

    /// The settings of its training.
    pub fn training(&self, shared: &TrainingConfig) -> TrainingConfig {
        let groups = self.groups.as_ref().unwrap_or(&shared.groups).clone();
        TrainingConfig { objective: self.objective(shared), groups, ..shared.clone() }
    }

    /// Where its earlier scores come from; `None` if its loss has no use for any.
    pub fn earlier(&self, shared: &TrainingConfig) -> Option<EarlierScores> {
        self.previous.filter(|_| self.objective(shared).needs_previous())
    }

    fn check(&self, shared: &TrainingConfig) -> Result<()> {
        let objective = self.objective(shared);
        match (objective.needs_previous(), self.previous) {
            (true, None) => bail!(
                "its loss compares with an earlier score: say previous = \"recomputed\", \
                 previous = {{ out_of_fold = {{ folds = 5 }} }}, or \"logged\" where the files have a field of kind score"
            ),
            (false, Some(_)) => bail!("previous: its loss \"{}\" compares with no earlier score", objective.name()),
            _ => {
                self.training(shared).check()?;
                Ok(self.previous.map_or(Ok(()), |previous| previous.check())?)
            }
        }
    }
}

impl SplitExperiment {
    /// Reads and checks the file. Paths are made absolute.
    pub fn read(path: &Path) -> Result<SplitExperiment> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut experiment = SplitExperiment::parse(&text).with_context(|| format!("in {}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let absolute = |path: &mut PathBuf| -> Result<()> {
            let from = folder.join(&*path);
            *path = std::path::absolute(&from).with_context(|| format!("no path is {}", from.display()))?;
            Ok(())
        };
        absolute(&mut experiment.schema)?;
        let parts = [&mut experiment.train, &mut experiment.valid, &mut experiment.test];
        parts.into_iter().flat_map(|part| &mut part.files).try_for_each(absolute)?;
        Ok(experiment)
    }

    /// Reads and checks the text of such a file.
    pub fn parse(text: &str) -> Result<SplitExperiment> {
        let experiment: SplitExperiment = toml::from_str(text)
            .map_err(|error| anyhow::anyhow!(crate::suggest::explain_file(&error.to_string(), text, "train")))?;
        experiment.check()?;
        Ok(experiment)
    }

    /// Checks an experiment that was read as a table.
    pub(crate) fn from_table(table: toml::Table) -> Result<SplitExperiment> {
        let experiment: SplitExperiment =
            table.try_into().map_err(|error| anyhow::anyhow!(crate::suggest::explain(&error.to_string())))?;
        experiment.check()?;
        Ok(experiment)
    }

    /// The experiment as TOML with every default spelled out.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a checked experiment is plain data")
    }

    /// Digest of all that a run depends on: settings, seed and data. What is reported, and which methods and seeds stand
    /// beside it, is not in it.
    pub fn key(&self, method: &SplitMethod, seed: u64, data: Digest) -> Digest {
        // The objective stands for itself, wherever it was written.
        let (training, numeric) = (method.training(&self.training), &self.numeric);
        let previous = method.earlier(&self.training);
        let settings = serde_json::to_string(&(&method.model, training, previous, &self.schedule, numeric));
        let settings = settings.expect("a checked experiment is plain data");
        DigestBuilder::new("split run").str(&settings).u64(seed).digest(&data).finish()
    }

    fn check(&self) -> Result<()> {
        check_name("name", &self.name)?;
        if self.seeds.is_empty() || self.seeds.iter().collect::<BTreeSet<_>>().len() != self.seeds.len() {
            bail!("seeds: at least one seed is needed and each may be named once, got {:?}", self.seeds);
        }
        self.training.check()?;
        self.check_training()?;
        self.schedule.check()?;
        let encoder = EncoderConfig { numeric: self.numeric, ..EncoderConfig::default() };
        encoder.check()?;
        if self.report_epochs.iter().any(|&epoch| epoch == 0 || epoch > self.training.epochs) {
            bail!("report_epochs: epochs are numbered 1 to {}, got {:?}", self.training.epochs, self.report_epochs);
        }
        for (key, part) in [("train", &self.train), ("valid", &self.valid), ("test", &self.test)] {
            if part.files.is_empty() || matches!(part.rows, Some(Stretch::First(0) | Stretch::Last(0))) {
                bail!("{key}: name at least one file, and at least one of its rows");
            }
        }
        self.check_methods()
    }

    /// What the loop over periods has, and a static split has not.
    fn check_training(&self) -> Result<()> {
        let TrainingConfig { pretrain_epochs, previous, .. } = TrainingConfig::default();
        if self.training.pretrain_epochs != pretrain_epochs {
            bail!("training.pretrain_epochs: a static split has no pre-training; say training.epochs");
        }
        if self.training.previous != previous {
            bail!("training.previous: a static split has no versions; say previous with a method");
        }
        Ok(())
    }

    fn check_methods(&self) -> Result<()> {
        if self.method.is_empty() {
            bail!("method: at least one [[method]] is needed");
        }
        let mut names = BTreeSet::new();
        for method in &self.method {
            check_name("method.name", &method.name)?;
            if !names.insert(method.name.as_str()) {
                bail!("method \"{}\" is there twice", method.name);
            }
            method.check(&self.training).with_context(|| format!("method \"{}\"", method.name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        name = "x"
        schema = "x.toml"
        report_epochs = [3]
        [train]
        files = ["a.csv"]
        rows = { first = 90 }
        [valid]
        files = ["a.csv"]
        rows = { last = 10 }
        [test]
        files = ["b.csv"]
        [training]
        epochs = 10
        [schedule]
        stop_after = 2
        plateau = { patience = 1, factor = 0.1 }
        [[method]]
        name = "lr"
        model = { kind = "lr" }
        [[method]]
        name = "reloop"
        objective = { bce = 0.8, self_correction = 0.2 }
        previous = { out_of_fold = { folds = 4 } }
        [method.model]
        kind = "fm"
        fields = { dim = 4, linear_init = { normal = { std = 0.0001 } } }
    "#;

    #[test]
    fn reads_and_writes_back_the_same() {
        let experiment = SplitExperiment::parse(EXAMPLE).unwrap();
        assert_eq!(SplitExperiment::parse(&experiment.to_toml()).unwrap(), experiment);
        let [lr, reloop] = experiment.method.as_slice() else { panic!("two methods") };
        assert_eq!(lr.earlier(&experiment.training), None);
        assert_eq!(reloop.earlier(&experiment.training), Some(EarlierScores::OutOfFold { folds: 4 }));
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |from: &str, to: &str, expected: &str| {
            assert!(EXAMPLE.contains(from), "{from}");
            let error = format!("{:#}", SplitExperiment::parse(&EXAMPLE.replacen(from, to, 1)).unwrap_err());
            assert!(error.contains(expected), "got: {error}");
        };
        refused("report_epochs", "report_epoch", "did you mean \"report_epochs\"");
        refused("stop_after", "stop_aftr", "did you mean \"stop_after\"");
        refused("patience = 1", "patince = 1", "did you mean \"patience\"");
        refused("folds = 4", "fold = 4", "available keys: folds");
        refused("first = 90", "frist = 90", "did you mean \"first\"");
        refused("{ kind = \"lr\" }", "{ kind = \"lr\", dim = 3 }", "unknown field `dim`");
        refused("dim = 4", "dimm = 4", "did you mean \"dim\"");
        refused("stop_after = 2", "stop_after = 0", "schedule.stop_after");
        refused("folds = 4", "folds = 1", "at least two folds");
        refused("previous = { out_of_fold = { folds = 4 } }", "", "say previous = \"recomputed\"");
        refused("name = \"lr\"", "name = \"lr\"\nprevious = \"recomputed\"", "compares with no earlier score");
        refused("name = \"lr\"", "name = \"reloop\"", "is there twice");
        refused("epochs = [3]", "epochs = [11]", "numbered 1 to 10");
        refused("epochs = 10", "epochs = 10\npretrain_epochs = 2", "no pre-training");
        refused("epochs = 10", "epochs = 10\nprevious = \"recomputed\"", "say previous with a method");
        refused("first = 90", "first = 0", "at least one of its rows");
        refused("files = [\"b.csv\"]", "files = []", "test: name at least one file");
    }

    #[test]
    fn a_run_depends_on_what_changes_it_and_on_nothing_else() {
        let key = |text: &str| {
            let experiment = SplitExperiment::parse(text).unwrap();
            experiment.key(&experiment.method[0], 1, Digest::of_bytes(b"data"))
        };
        let same = |from: &str, to: &str| {
            assert!(EXAMPLE.contains(from), "{from}");
            key(&EXAMPLE.replacen(from, to, 1)) == key(EXAMPLE)
        };
        assert!(same("[3]", "[1, 5]") && same("name = \"x\"", "name = \"y\"\nseeds = [1, 2]"));
        assert!(same("folds = 4", "folds = 3"), "it is another method's");
        assert!(!same("epochs = 10", "epochs = 9") && !same("stop_after = 2", "stop_after = 3"));
        assert!(!same("epochs = 10", "epochs = 10\nbatch_size = 7") && !same("kind = \"lr\"", "kind = \"fm\""));
    }
}
