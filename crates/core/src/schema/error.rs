//! Why a schema is refused.

use thiserror::Error;

/// Why a schema is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SchemaError {
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{0}")]
    Syntax(String),
    /// A field on its own is wrong.
    #[error("field \"{field}\": {problem}")]
    Field {
        /// Name of the field.
        field: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The fields do not add up.
    #[error("{0}")]
    Whole(String),
}
