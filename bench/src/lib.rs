//! What the benchmarks share: logs in memory, models for them, and honest timing.

pub mod fixture;
pub mod timing;
pub mod wide;
