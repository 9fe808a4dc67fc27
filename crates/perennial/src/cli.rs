//! The command line: arguments, exit codes and the way errors are shown.

use crate::command;
use crate::terminal::{Mode, Terminal};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Recommenders that never go stale: train on a log, update period by period, evaluate honestly, keep every version.
#[derive(Debug, Parser)]
#[command(name = "perennial", version, max_term_width = 100)]
#[command(after_help = "Start with `perennial demo`. Exit codes: 0 done, 1 failed, 2 wrong arguments, 130 stopped \
                        (run the same command again to go on).")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Output {
    /// Print results only, no progress
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Print machine-readable JSON: progress as one object per line on standard error, results on standard output
    #[arg(long, global = true, conflicts_with = "quiet")]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run several update strategies on a synthetic marketplace and write a report
    Demo(command::demo::Arguments),
    /// Write a synthetic marketplace, whose true click probabilities are known, as a log
    World(command::world::Arguments),
    /// Turn log files of any supported format into a canonical log
    Import(command::import::Arguments),
    /// Show the built-in schemas, or propose one for a file
    Schema(command::schema::Arguments),
    /// Run an experiment file: pre-train, then score and update period by period; resumes by itself
    Run(command::run::Arguments),
    /// Train models on one static split (train, valid and test files) and compare them
    Train(command::train::Arguments),
    /// Search settings of an experiment, ranked on validation examples or selection periods
    Tune(command::tune::Arguments),
    /// Print a finished run's table and write its report again
    Report(command::report::Arguments),
    /// Test two runs, or two methods of one, against each other
    Compare(command::compare::Arguments),
    /// Score a file of rows with a stored version
    Score(command::score::Arguments),
    /// Show what is in a log or a version
    Inspect(command::inspect::Arguments),
    /// List, compare, verify, alias and collect the versions of a run
    Versions(command::versions::Arguments),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where a run's folder is, for commands that look at one.
#[derive(Debug, Args)]
pub struct RunFolder {
    /// Folder of the run
    pub run: PathBuf,
}

/// Exit code of a run that was asked to stop: 128 + SIGINT, as shells have it.
const STOPPED: u8 = 130;

/// Runs the command and says how it ended.
pub fn main(cli: Cli) -> ExitCode {
    let mode = match (cli.output.quiet, cli.output.json) {
        (true, _) => Mode::Quiet,
        (_, true) => Mode::Json,
        _ => Mode::Pretty,
    };
    let terminal = Terminal::new(mode);
    let outcome = match &cli.command {
        Command::Demo(arguments) => command::demo::run(arguments, &terminal),
        Command::World(arguments) => command::world::run(arguments, &terminal),
        Command::Import(arguments) => command::import::run(arguments, &terminal),
        Command::Schema(arguments) => command::schema::run(arguments, &terminal),
        Command::Run(arguments) => command::run::run(arguments, &terminal),
        Command::Train(arguments) => command::train::run(arguments, &terminal),
        Command::Tune(arguments) => command::tune::run(arguments, &terminal),
        Command::Report(arguments) => command::report::run(arguments, &terminal),
        Command::Compare(arguments) => command::compare::run(arguments, &terminal),
        Command::Score(arguments) => command::score::run(arguments, &terminal),
        Command::Inspect(arguments) => command::inspect::run(arguments, &terminal),
        Command::Versions(arguments) => command::versions::run(arguments, &terminal),
        Command::Completions { shell } => command::completions::run(*shell),
    };
    match outcome {
        Ok(()) => match terminal.unprinted() {
            None => ExitCode::SUCCESS,
            Some(error) => {
                terminal.fail(&anyhow::Error::new(error).context("cannot write to standard output"));
                ExitCode::FAILURE
            }
        },
        Err(error) if is_stop(&error) => {
            terminal.note("stopped; run the same command again to go on from here");
            ExitCode::from(STOPPED)
        }
        Err(error) => {
            terminal.fail(&error);
            ExitCode::FAILURE
        }
    }
}

fn is_stop(error: &anyhow::Error) -> bool {
    let stopped = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(perennial_learn::LearnError::Stopped))
            || matches!(cause.downcast_ref(), Some(perennial_stream::StreamError::Stopped))
    };
    error.chain().any(stopped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
