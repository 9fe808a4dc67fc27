//! `perennial tune SEARCH.toml`

use super::run::threads;
use crate::terminal::Terminal;
use crate::tune::{self, Settings, TuneConfig, TuneOptions, TuneWatch, default_folder};
use anyhow::Result;
use clap::Args;
use perennial_disk::Disk;
use perennial_eval::{TuneTrial, tune_table, wants_color};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Arguments of `tune`.
#[derive(Debug, Args)]
#[command(
    after_help = "A search file:\n\n  name = \"rates\"\n  base = \"split/frappe.toml\"        # of `train`, or of `run` with \
                  a [selection]\n  method = \"deepfm\"\n  seeds = [1, 2]\n  [space]\n  \
                  \"training.optimiser.learning_rate\" = [1e-4, 1e-3]\n  \"method.model.mlp.dropout\" = [0.0, 0.2]\n\n\
                  For a random search: search = { random = { trials = 20, seed = 1 } }, and ranges such as \
                  { log_uniform = [1e-5, 1e-2] } or { uniform = [0.0, 0.5] }. All seeds of a trial count: the rank \
                  is by the mean.\n\nFor an experiment of `run`, say which periods trials are ranked on: selection = { periods \
                  = [20, 22] } is periods 20, 21 and 22, numbered as in reports. A trial ends with the last of them; what \
                  comes later is neither scored nor trained on. A split is ranked on its validation examples after the best \
                  epoch; its test files are not opened.\n\nA key that changes which other keys there are is searched whole: \
                  \"method.strategy\" = [\"incremental\", { batch = { window = 3 } }].\n\nTrials that are finished are \
                  kept: the same command goes on, and may be given more. One whose loss is no number is ranked last.\nThe \
                  folder gets tune.json, all trials, and best.toml, which `perennial run` or `train` takes. Workers change \
                  speed only."
)]
pub(crate) struct Arguments {
    /// The file that names the experiment and what is searched
    search: PathBuf,
    /// Folder of the results [default: runs/<name of the search>]
    #[arg(long, short)]
    out: Option<PathBuf>,
    /// Threads [default: all cores]
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    let config = TuneConfig::read(&arguments.search)?;
    let options = TuneOptions {
        out: arguments.out.clone().unwrap_or_else(|| default_folder(&config)),
        workers: threads(arguments.workers),
        disk: Disk::default(),
        watch: terminal,
    };
    let results = tune::tune(&config, &options)?;
    terminal.end();
    terminal.print(&match terminal.json() {
        true => results.to_json(),
        false => {
            let color = wants_color(std::io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
            tune_table(&results, color)
        }
    });
    let best = options.out.join(tune::files::BEST);
    terminal.note(&format!("the best settings: perennial {} {}", results.command, best.display()));
    terminal.note(&format!("digest: {}", results.digest()));
    Ok(())
}

impl TuneWatch for Terminal {
    fn trial(&self, number: usize, of: usize, settings: &Settings) {
        self.end();
        match self.json() {
            true => {
                let settings: BTreeMap<&String, String> =
                    settings.iter().map(|(key, value)| (key, value.to_string())).collect();
                self.to_stderr(
                    &json!({ "event": "trial", "number": number, "of": of, "settings": settings }).to_string(),
                );
            }
            false => self.note(&format!("trial {number} of {of}: {}", tune::show(settings))),
        }
    }

    fn trial_done(&self, number: usize, of: usize, trial: &TuneTrial) {
        self.end();
        if self.json() {
            self.to_stderr(&json!({ "event": "trial done", "number": number, "of": of, "trial": trial }).to_string());
        } else if let Some(summary) = trial.summary() {
            self.note(&format!("  {:.4}", summary.mean));
        }
    }

    fn warn(&self, text: &str) {
        self.note(text);
    }
}
