//! The file of `perennial tune`: which experiment, which of its keys, and how they are searched.

use super::space::Values;
use crate::experiment::check_name;
use anyhow::{Context, Result, bail};
use perennial_eval::Criterion;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A checked search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuneConfig {
    /// Name: letters, digits, `-`, `_`, `.`; that of the file after `tune-` if absent.
    #[serde(default)]
    pub name: String,
    /// The experiment whose keys are searched, of `run` or of `train`, relative to this file.
    pub base: PathBuf,
    /// Which of its methods; may be left out if there is only one.
    #[serde(default)]
    pub method: Option<String>,
    /// Seeds of every trial; those of the experiment if absent. What is best of noise is luck: take several.
    #[serde(default)]
    pub seeds: Option<Vec<u64>>,
    /// How values are chosen.
    #[serde(default)]
    pub search: Search,
    /// By what trials are ranked: a continual experiment's scored periods, or a split's validation examples.
    #[serde(default)]
    pub metric: Criterion,
    /// Which periods of a continual experiment trials are ranked on. Needed there, and nowhere else.
    #[serde(default)]
    pub selection: Option<Selection>,
    /// The keys, as in `"training.optimiser.learning_rate"`; what begins with `method.` is within the method.
    pub space: BTreeMap<String, Values>,
}

/// How values are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Search {
    /// Every combination.
    #[default]
    Grid,
    /// So many combinations, each drawn for itself; those drawn twice are tried once.
    Random {
        /// How many.
        trials: u32,
        /// What draws depend on.
        seed: u64,
    },
}

/// The periods of a continual experiment that trials are ranked on. A trial ends with them: what comes later is neither
/// scored nor trained on, so that nothing can be chosen by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The first and the last of them, both included, numbered as in reports: periods of pre-training count, from 0.
    pub periods: [u32; 2],
}

impl Selection {
    /// Number of the first period.
    pub fn first(&self) -> u32 {
        self.periods[0]
    }

    /// Number of the last period: a trial ends with it.
    pub fn last(&self) -> u32 {
        self.periods[1]
    }
}

/// Most trials of a search.
const MOST_TRIALS: u32 = 10_000;

impl TuneConfig {
    /// Reads and checks the file. The path of the base is made absolute.
    pub fn read(path: &Path) -> Result<TuneConfig> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut config = TuneConfig::parse_unnamed(&text).with_context(|| format!("in {}", path.display()))?;
        if config.name.is_empty() {
            config.name = format!("tune-{}", path.file_stem().unwrap_or_default().to_string_lossy());
        }
        config.check().with_context(|| format!("in {}", path.display()))?;
        let base = path.parent().unwrap_or(Path::new(".")).join(&config.base);
        config.base = std::path::absolute(&base).with_context(|| format!("base: no path is {}", base.display()))?;
        Ok(config)
    }

    /// Reads and checks the text of such a file.
    pub fn parse(text: &str) -> Result<TuneConfig> {
        let config = TuneConfig::parse_unnamed(text)?;
        config.check()?;
        Ok(config)
    }

    fn parse_unnamed(text: &str) -> Result<TuneConfig> {
        toml::from_str(text)
            .map_err(|error| anyhow::anyhow!(crate::suggest::explain_file(&error.to_string(), text, "tune")))
    }

    fn check(&self) -> Result<()> {
        check_name("name", &self.name)?;
        if self.space.is_empty() {
            bail!("space: at least one key is needed, e.g. \"training.optimiser.learning_rate\" = [1e-4, 1e-3]");
        }
        if self.seeds.as_ref().is_some_and(Vec::is_empty) {
            bail!("seeds: at least one seed is needed");
        }
        for (key, values) in &self.space {
            values.check(self.search == Search::Grid).with_context(|| format!("space.\"{key}\""))?;
        }
        match self.search {
            Search::Random { trials, .. } if !(1..=MOST_TRIALS).contains(&trials) => {
                bail!("search.random.trials: from 1 to {MOST_TRIALS} trials are possible")
            }
            Search::Grid
                if self.space.values().map(|values| values.count() as u64).product::<u64>() > MOST_TRIALS.into() =>
            {
                bail!(
                    "space: a grid may have {MOST_TRIALS} trials; try search = {{ random = {{ trials = 50, seed = 1 }} }}"
                )
            }
            _ => {}
        }
        match self.selection {
            Some(selection) if selection.first() > selection.last() => {
                bail!("selection.periods: name the first and the last period, got {:?}", selection.periods)
            }
            _ => Ok(()),
        }
    }
}
