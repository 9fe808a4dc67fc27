//! Optimisers, element by element.
//!
//! One rule serves dense tensors and table rows alike: a [`Step`] knows nothing of shapes, so updating a matrix row
//! by row, in any order, gives the bits that updating it whole gives. No kernel contracts a multiplication and an
//! addition into one rounding, which keeps those bits the same on every instruction set too.
//!
//! [`Optimiser`] is the configuration, [`Step`] one step of it, [`StepLog`] the steps that a row missed.

mod clip;
mod config;
mod log;
mod optimiser;
mod step;

pub use clip::{clip_by_norm, clip_by_value, scale, sum_of_squares};
pub use config::Override;
pub use log::StepLog;
pub use optimiser::{AdamForm, Decay, Optimiser, OptimiserError, Rule, Slot, SlotName};
pub use step::{Step, dispatch};
