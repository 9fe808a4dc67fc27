//! What can be wrong with a table that comes from outside.

use crate::chunks::PlaneName;

/// Errors of tables: settings that cannot be, and stored pieces that do not fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TableError {
    /// A width that no table has.
    #[error("table \"{table}\": expected a width between 1 and 65536, got {got}")]
    Width {
        /// Name of the table.
        table: String,
        /// The width.
        got: usize,
    },
    /// L2 in the gradient moves every row at every step, which lazy rows cannot.
    #[error(
        "table \"{table}\": l2 in the gradient under this rule moves every row at every step; use decoupled_decay, \
         or dense_parity rows at the cost of a dense table"
    )]
    LazyL2 {
        /// Name of the table.
        table: String,
    },
    /// A header that describes no table.
    #[error("table \"{table}\": {problem}")]
    Header {
        /// Name of the table.
        table: String,
        /// What is wrong.
        problem: String,
    },
    /// A stored chunk that does not belong.
    #[error("table \"{table}\", {plane:?}, chunk {index}: {problem}")]
    Chunk {
        /// Name of the table.
        table: String,
        /// The plane.
        plane: PlaneName,
        /// Position of the chunk in its plane.
        index: u32,
        /// What is wrong.
        problem: String,
    },
}
