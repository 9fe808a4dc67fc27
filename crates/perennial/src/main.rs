//! The `perennial` command.

use clap::Parser;
use perennial::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    perennial::cli::main(Cli::parse())
}
