//! What the benchmarks share: a click log in memory, a model for it, and honest timing.

pub mod fixture;
pub mod timing;
