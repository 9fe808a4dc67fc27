//! One field of a log: whose it is, and what its values are.

use super::Vocabulary;
use crate::time::TimeUnit;
use serde::{Deserialize, Serialize};

/// One field of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Name in Perennial: lower-case letters, digits, `_`, `-`.
    pub name: String,
    /// Name of the source's column. `@row` (ordinal of the row in the source) and `@file` (ordinal of the file) are
    /// columns that every source has.
    pub column: String,
    /// Whose property the field is.
    pub role: Role,
    /// Whether the field is the identity of its role's owner (the user id among the user's fields).
    pub key: bool,
    /// Whether a file may lack the column; every row of it then holds a null.
    pub optional: bool,
    /// What the values are.
    pub kind: FieldKind,
}

/// Whose property a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Of the person who was shown something.
    User,
    /// Of the thing that was shown.
    Item,
    /// Of the circumstances.
    Context,
    /// The session or request: groups rows, is never an input of a model.
    Request,
}

/// What the values of a field are.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldKind {
    /// One categorical id. A null is an id of its own ("missing").
    Id {
        /// How the source writes ids.
        id: IdType,
        /// How ids become rows.
        vocabulary: Vocabulary,
        /// Fields of one domain share a vocabulary and a table. Defaults to the field's name.
        domain: String,
    },
    /// A set of categorical ids; order means nothing. A null is the empty set.
    Ids {
        /// How the source writes ids.
        id: IdType,
        /// How ids become rows.
        vocabulary: Vocabulary,
        /// As for [`FieldKind::Id`].
        domain: String,
        /// What separates ids in a text column; list columns need none.
        separator: String,
    },
    /// A sequence of categorical ids, oldest first. A null is the empty sequence.
    Sequence {
        /// How the source writes ids.
        id: IdType,
        /// How ids become rows.
        vocabulary: Vocabulary,
        /// As for [`FieldKind::Id`].
        domain: String,
        /// What separates ids in a text column; list columns need none.
        separator: String,
    },
    /// A finite number, or null.
    Numeric,
    /// When the event happened. Exactly one field is the timestamp.
    Timestamp {
        /// How the source writes times.
        format: TimeFormat,
        /// IANA name of the zone of times written without an offset.
        zone: String,
    },
    /// What is to be predicted. At least one field is a label.
    Label {
        /// Values of at least this much are positive (1), smaller ones negative (0). Without it the source must hold
        /// 0 and 1 and anything else is a bad row.
        at_least: Option<f64>,
        /// Every row has this label; the log holds positives only.
        constant: Option<f64>,
        /// Column that says when the label became observable, in the format of the timestamp. Without it the label
        /// is observable at the time of the event.
        observed_at: Option<String>,
    },
    /// Weight of the row in losses and metrics: finite, not negative. At most one.
    Weight,
    /// What the model in service answered when the event happened, for losses that compare with it; never an input of a
    /// model. A null is an event that it did not score. At most one.
    Score {
        /// What the numbers are.
        scale: ScoreScale,
        /// Column that names the version that answered.
        version: Option<String>,
    },
    /// A stable unsigned integer that names the row. At most one; without it the name is a hash of the file's name
    /// and the row's ordinal in it.
    EventId,
    /// The number of the period that the row belongs to, where the source itself is cut into periods. At most one.
    Period,
}

/// What a source's scores are. Logs keep logits, in which no probability is too near to 0 or 1 to be told from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreScale {
    /// From 0 to 1.
    #[default]
    Probability,
    /// `ln(p / (1 - p))`.
    Logit,
}

/// How a source writes ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdType {
    /// Signed 64-bit integers; the key of an id is its bits.
    Int,
    /// UTF-8 text; the key of an id is its XXH3 hash.
    Text,
}

/// How a source writes times.
#[derive(Debug, Clone, PartialEq)]
pub enum TimeFormat {
    /// Integers since 1970 in a unit.
    Since1970(TimeUnit),
    /// Text in a `strptime` format, such as `%Y-%m-%d %H:%M:%S`.
    Text(String),
}

impl FieldKind {
    /// Domain, id type and vocabulary of a field that has ids.
    pub fn vocabulary(&self) -> Option<(&str, IdType, &Vocabulary)> {
        match self {
            FieldKind::Id { id, vocabulary, domain }
            | FieldKind::Ids { id, vocabulary, domain, .. }
            | FieldKind::Sequence { id, vocabulary, domain, .. } => Some((domain, *id, vocabulary)),
            _ => None,
        }
    }
}
