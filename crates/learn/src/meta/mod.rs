//! Training of what makes parameters out of parameters: only the rows that a batch reads are ever generated.

mod gradients;
mod schedule;
mod unrolled;
mod window;

pub(crate) use schedule::{Schedule, StepLoss};
pub(crate) use unrolled::{Sequence, Unrolled};
pub(crate) use window::Window;
