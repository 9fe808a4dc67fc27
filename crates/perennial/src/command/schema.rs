//! `perennial schema`

use super::dataset::{self, DatasetArguments};
use crate::terminal::Terminal;
use anyhow::Result;
use clap::{Args, Subcommand};
use perennial_core::Schema;
use perennial_data::dataset::DATASETS;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Propose a schema for a file, with the reasons as comments
    Infer {
        /// The file
        file: PathBuf,
    },
    /// The data sets that can be imported by name
    List,
    /// The built-in schema of a data set
    Show {
        /// Its name
        dataset: String,
        /// Its folder: some schemas depend on which files are there
        folder: PathBuf,
        #[command(flatten)]
        open: DatasetArguments,
    },
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    match &arguments.action {
        Action::Infer { file } => {
            let inferred = perennial_data::infer(file, None)?;
            show(&inferred.schema, &inferred.toml, terminal)?;
        }
        Action::List => list(terminal),
        Action::Show { dataset, folder, open } => {
            let (set, options) = (dataset::named(dataset)?, open.options(Some(dataset))?);
            let schema = set.recipe(folder, &options)?.schema;
            show(&schema, &schema.to_toml(), terminal)?;
        }
    }
    Ok(())
}

/// For machines the schema itself; for people as TOML, which an inferred one explains in comments.
fn show(schema: &Schema, toml: &str, terminal: &Terminal) -> Result<()> {
    terminal.print(&if terminal.json() { serde_json::to_string_pretty(schema)? } else { toml.to_owned() });
    Ok(())
}

fn list(terminal: &Terminal) {
    if terminal.json() {
        let all: Vec<_> = DATASETS.iter().map(|set| json!({ "name": set.name, "about": set.about })).collect();
        terminal.print(&json!(all).to_string());
        return;
    }
    for dataset in DATASETS {
        terminal.print(&format!("{:<12} {}", dataset.name, dataset.about));
    }
}
