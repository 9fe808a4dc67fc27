//! How version t comes from what was before: strategies, references that learn nothing, and the one training loop.
//!
//! A strategy is a function `(Learned, SeenPeriod, Env) -> Learned`. Nothing here touches disk, clock, network or a
//! global: what a step needs is in its arguments, so that resume, replay and comparison are just calls.

mod descent;
mod env;
mod error;
mod gate;
mod generated;
mod learned;
mod memory;
mod meta;
mod mixed;
mod order;
mod pass;
mod previous;
pub mod reference;
mod remembered;
mod reservoir;
mod scoring;
mod static_split;
pub mod strategy;
mod thinning;
mod trainer;
mod whole;

pub use env::{Archive, Env};
pub use error::LearnError;
pub use gate::{Gate, GateConfig, Threshold, Unit};
pub use generated::{generated_pieces, restore_generated};
pub use learned::Learned;
pub use memory::{Memory, Piece, Pieces};
pub use meta::{Granularity, Sequence, StepLoss, Unrolled};
pub use mixed::{mixed_pieces, restore_mixed};
pub use previous::PreviousScores;
pub use remembered::Remembered;
pub use static_split::{EarlierScores, Fitted, Plateau, Schedule, SplitEnv, SplitStep, StaticSplit, fit_split};
pub use strategy::StrategyConfig;
pub use thinning::Thinning;
pub use trainer::{Trained, Trainer, TrainingConfig, pretrain};
