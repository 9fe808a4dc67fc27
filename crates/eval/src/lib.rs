//! How good were the scores: metrics, results, paired statistics and what people look at.
//!
//! Nothing here knows how scores were made. All functions are pure: they return values, texts and bytes, and the
//! caller writes the files.

mod error;
mod evaluate;
mod metric;
mod results;
mod rows;

pub use error::Error;
pub use evaluate::{Accumulator, PeriodMetrics, evaluate};
pub use metric::{Better, METRICS, Metric};
pub use results::{
    MethodKind, MethodResults, PeriodFacts, PeriodRecord, PeriodScore, RESULTS_FORMAT, Results, SeedResults,
};
pub use rows::{Row, Rows};

#[cfg(test)]
mod sample;
