//! From a log to periods of examples: histories, sampled negatives, slicing, and test-then-train by type.
//!
//! All of it is independent of models, methods and model seeds. [`slices::Slices`] is the pure core: batches of a log
//! in, periods out; [`prepared`] keeps them on disk. A log is prepared once and then walked through:
//!
//! ```no_run
//! use perennial_core::{Digest, Span};
//! use perennial_data::Log;
//! use perennial_stream::{Cache, PrepareConfig, Slicing, StreamError, prepare};
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = Log::open(Path::new("clicks"))?;
//! let config = PrepareConfig::new(Slicing::Time(Span::parse("1d")?));
//! let prepared = prepare(&log, &config, &Cache::at("cache"), &mut |_| true)?;
//!
//! let (seen, mut timeline) = prepared.pretraining(10)?;
//! // ... train on `seen` ...
//! for period in 10..prepared.periods() {
//!     let mut scoring = prepared.fresh(period)?.scoring();
//!     let logits = scoring.score("zero", Digest::of_bytes(b"zero"), |inputs| {
//!         Ok::<_, StreamError>(vec![0.0; inputs.examples().len()])
//!     })?;
//!     let (awaiting, receipt) = scoring.finish()?;
//!     // ... write `receipt` down, compare `logits` with `awaiting.outcome()` ...
//!     let seen = timeline.close(awaiting)?;
//!     // ... train on `seen` ...
//! }
//! # Ok(())
//! # }
//! ```

mod catalogue;
pub mod config;
mod cutter;
pub mod error;
mod example_builder;
pub mod facts;
mod fenwick;
mod histories;
pub mod history_state;
pub mod key;
mod layout;
mod past;
pub mod period;
mod period_file;
mod pool;
pub mod prepared;
mod rows;
pub mod slices;
#[cfg(test)]
mod testing;
mod wire;

pub use config::{Candidates, Negatives, PrepareConfig, Reject, Slicing, Weighing};
pub use error::{Result, StreamError};
pub use facts::PeriodFacts;
pub use history_state::HistoryState;
pub use key::MISSING;
pub use period::{AwaitingPeriod, FreshPeriod, Inputs, Outcome, Receipt, Scorer, Scoring, SeenPeriod, Timeline};
pub use period_file::{examples_from_bytes, examples_to_bytes};
pub use prepared::{Cache, Prepared, Progress, Source, prepare, prepare_batches};
pub use slices::{Slice, Slices};
