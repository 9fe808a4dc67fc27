//! How ids become rows of a table.

use serde::{Deserialize, Serialize};

/// How ids become rows of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Vocabulary {
    /// Grows by a row for each id that was seen in training at least `min_count` times.
    Open {
        /// Observations in training data before an id gets a row of its own.
        #[serde(default = "one")]
        min_count: u32,
    },
    /// A fixed number of rows shared by hash.
    Hashed {
        /// Number of rows.
        buckets: u32,
    },
    /// The listed values; all others are the unknown row.
    Fixed {
        /// The values, as the source writes them.
        values: Vec<String>,
    },
}

fn one() -> u32 {
    1
}

impl Default for Vocabulary {
    fn default() -> Self {
        Vocabulary::Open { min_count: 1 }
    }
}
