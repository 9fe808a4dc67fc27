//! `perennial world`

use crate::terminal::Terminal;
use anyhow::{Context, Result};
use clap::Args;
use perennial_world::{Marketplace, MarketplaceConfig};
use std::path::PathBuf;

/// Arguments of `world`.
#[derive(Debug, Args)]
#[command(
    after_help = "Settings are TOML; what they leave out is the demo's:\n\n    periods = 31\n    rows = 6000\n    \
                        drift = { items = 0.05, users = 0.02 }\n    season = { length = 3, strength = 1.5 }\n\n\
                        The log lies in OUT/log, the true logits in OUT/truth.parquet: a run on that log shows how far \
                        from the best possible score each method is."
)]
pub(crate) struct Arguments {
    /// Settings of the marketplace; the demo's if absent
    config: Option<PathBuf>,
    /// Folder of the world
    #[arg(long, short)]
    out: PathBuf,
    /// Seed of the world
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    let config = match &arguments.config {
        None => MarketplaceConfig::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            toml::from_str(&text)
                .map_err(|error| anyhow::anyhow!(crate::suggest::explain(&error.to_string())))
                .with_context(|| format!("in {}", path.display()))?
        }
    };
    let manifest = Marketplace::new(config, arguments.seed)?
        .write(&arguments.out)
        .with_context(|| format!("cannot write {}", arguments.out.display()))?;
    terminal.note(&format!("{} rows under {}", manifest.rows, arguments.out.display()));
    Ok(())
}
