//! How good were the scores: metrics, results, paired statistics and what people look at.
//!
//! Nothing here knows how scores were made. All functions are pure: they return values, texts and bytes, and the
//! caller writes the files.

mod columns;
mod compare;
mod duel;
mod error;
mod evaluate;
mod findings;
mod gate;
mod metric;
mod paired;
mod promise;
mod report;
mod results;
mod rows;
mod show;
mod split;
mod split_table;
mod student;
mod summary;
mod table;
mod tune;

pub use columns::to_parquet;
pub use compare::{ComparedMetric, Comparison, compare};
pub use duel::{Criterion, Duel};
pub use error::Error;
pub use evaluate::{Accumulator, PeriodMetrics, evaluate};
pub use findings::findings;
pub use gate::{GateDecision, Served};
pub use metric::{Better, METRICS, Metric};
pub use paired::{Paired, Test};
pub use report::to_html;
pub use results::{
    MethodKind, MethodResults, PeriodFacts, PeriodRecord, PeriodScore, RESULTS_FORMAT, Results, SeedResults,
};
pub use rows::{Row, Rows};
pub use split::{SPLIT_FORMAT, SplitEpoch, SplitMethodResults, SplitMoment, SplitResults, SplitRows, SplitRun};
pub use split_table::{split_seeds_table, split_table};
pub use summary::Summary;
pub use table::{comparison_table, results_table, wants_color};
pub use tune::{TUNE_FORMAT, TuneResults, TuneTrial, tune_table};

#[cfg(test)]
mod sample;
