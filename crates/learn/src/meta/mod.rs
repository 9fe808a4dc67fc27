//! Training of what makes parameters out of parameters: only the rows that a batch reads are ever generated.

mod gradients;
mod mixture;
mod schedule;
mod unrolled;
mod window;

pub use mixture::Granularity;
pub(crate) use mixture::{Mixture, Weights, lanes, mix};
pub(crate) use schedule::Schedule;
pub use schedule::StepLoss;
pub use unrolled::{Sequence, Unrolled};
pub(crate) use window::Window;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]
mod tests;
