//! What a run tells its onlooker.

use perennial_eval::PeriodMetrics;
use perennial_learn::Trained;
use std::path::Path;

/// Something happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The log is being cut into periods.
    Preparing {
        /// Its folder.
        log: &'a Path,
    },
    /// Rows of the log have been prepared.
    Prepared {
        /// So many.
        rows: u64,
        /// Of so many.
        of: u64,
    },
    /// Something that a person should know.
    Noted {
        /// What.
        text: &'a str,
    },
    /// The loop begins.
    Planned {
        /// Periods to be scored over all methods and seeds that the ledger does not hold yet.
        periods: u64,
    },
    /// Steps of an update were taken.
    Training {
        /// Name of the method.
        method: &'a str,
        /// Seed.
        seed: u64,
        /// Period.
        period: u32,
        /// Steps taken.
        step: u64,
        /// Steps in all.
        of: u64,
    },
    /// A period was scored.
    Scored {
        /// Name of the method.
        method: &'a str,
        /// Seed.
        seed: u64,
        /// Period.
        period: u32,
        /// How good the scores were.
        metrics: &'a PeriodMetrics,
    },
    /// A version was published.
    Updated {
        /// Name of the method.
        method: &'a str,
        /// Seed.
        seed: u64,
        /// Period that was learned from.
        period: u32,
        /// What the update did.
        trained: &'a Trained,
        /// Seconds that it took.
        seconds: f64,
    },
}

/// An onlooker.
pub trait Watch: Sync {
    /// Is told what happened.
    fn tell(&self, event: Event<'_>);

    /// Whether the run shall stop at the next safe moment.
    fn stop(&self) -> bool;
}
