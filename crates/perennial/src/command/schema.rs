//! `perennial schema`

use crate::terminal::Terminal;
use anyhow::Result;
use clap::{Args, Subcommand};
use perennial_data::dataset::{DATASETS, Dataset, DatasetOptions};
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
        /// Features to a line (libfm)
        #[arg(long)]
        fields: Option<usize>,
    },
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    match &arguments.action {
        Action::Infer { file } => terminal.print(&perennial_data::infer::infer(file, None)?.toml),
        Action::List => list(terminal),
        Action::Show { dataset, folder, fields } => {
            let options = DatasetOptions { fields: *fields, ..DatasetOptions::default() };
            terminal.print(&Dataset::named(dataset)?.recipe(folder, &options)?.schema.to_toml());
        }
    }
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
