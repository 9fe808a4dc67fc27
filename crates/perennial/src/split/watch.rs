//! What training on a split tells its onlooker.

use perennial_eval::{SplitEpoch, SplitRun};
use perennial_learn::SplitStep;
use std::path::Path;

/// Something happened.
#[derive(Debug)]
pub enum SplitEvent<'a> {
    /// Files are being read.
    Reading {
        /// The first of them.
        file: &'a Path,
        /// Bytes read.
        bytes: u64,
        /// Bytes of all.
        of: u64,
    },
    /// The data are there.
    Planned {
        /// Runs that are still to be made.
        runs: usize,
    },
    /// A step was taken.
    Training {
        /// Name of the method.
        method: &'a str,
        /// Seed.
        seed: u64,
        /// Which.
        step: SplitStep,
    },
    /// An epoch is over.
    Epoch {
        /// Name of the method.
        method: &'a str,
        /// Seed.
        seed: u64,
        /// How good the model was after it.
        epoch: &'a SplitEpoch,
    },
    /// A run is over.
    Finished {
        /// Name of the method.
        method: &'a str,
        /// What it found.
        run: &'a SplitRun,
    },
}

/// An onlooker.
pub trait SplitWatch: Sync {
    /// Is told what happened.
    fn tell(&self, event: SplitEvent<'_>);

    /// Whether to stop at the next safe moment.
    fn stop(&self) -> bool;
}
