//! From a log to periods of examples: histories, sampled negatives, slicing, and test-then-train by type.
//!
//! All of it is independent of models, methods and model seeds. [`slices::Slices`] is the pure core: batches of a log
//! in, periods out; [`prepared`] keeps them on disk.

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
pub use prepared::{Prepared, Progress, Source, prepare, prepare_batches};
pub use slices::{Slice, Slices};
