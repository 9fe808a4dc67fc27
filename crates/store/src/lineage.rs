//! Where a version came from.

use crate::VersionId;
use perennial_core::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a version was made. Holds no wall-clock time, host or path: the same run gives the same lineage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lineage {
    /// The version it was made from.
    pub parent: Option<VersionId>,
    /// The data that its last step learned from.
    pub data: Option<DataRange>,
    /// Name of the update strategy.
    pub strategy: String,
    /// Name of the objective.
    pub objective: String,
    /// Seed of the run.
    pub seed: u64,
    /// The kernels that computed it: digests are reproducible within one set only.
    pub kernel_set: String,
    /// The release of Perennial that made it.
    pub created_by: String,
    /// Whatever else its maker wants known.
    pub extra: BTreeMap<String, String>,
}

/// A stretch of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRange {
    /// Index of the first period.
    pub first_period: u64,
    /// Index of the last period.
    pub last_period: u64,
    /// Time of the first event.
    pub start: Timestamp,
    /// Time of the last event.
    pub end: Timestamp,
}
