//! From a log to periods of examples: histories, sampled negatives, slicing, and test-then-train by type.

pub mod config;
pub mod error;
pub mod key;
pub mod period;

pub use config::{Candidates, Negatives, PrepareConfig, Reject, Slicing, Weighing};
pub use error::{Result, StreamError};
pub use period::{AwaitingPeriod, FreshPeriod, Inputs, Outcome, Receipt, Scorer, Scoring, SeenPeriod, Timeline};
