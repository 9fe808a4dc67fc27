//! `perennial completions SHELL`

use crate::cli::Cli;
use anyhow::Result;
use clap::CommandFactory;

pub(crate) fn run(shell: clap_complete::Shell) -> Result<()> {
    clap_complete::generate(shell, &mut Cli::command(), "perennial", &mut std::io::stdout());
    Ok(())
}
