//! Rows that cannot be taken into a log, and why.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a row is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The key of the user is null.
    MissingUser,
    /// The key of the item is null.
    MissingItem,
    /// The time is null, does not read, or is outside the years 1 to 9999.
    BadTime,
    /// A label without threshold is neither 0 nor 1.
    BadLabel,
    /// A label became observable before its event happened.
    ObservedTooEarly,
    /// A number does not read, or does not fit.
    NotANumber,
    /// A number is NaN or infinite.
    NotFinite,
    /// A weight is negative.
    NegativeWeight,
    /// A score that should be a probability lies outside 0 to 1.
    NotAProbability,
    /// The declared event id is null.
    MissingEventId,
    /// The declared period is null.
    MissingPeriod,
    /// The line has fewer columns than the file.
    TooFewColumns,
    /// The line has more columns than the file.
    TooManyColumns,
    /// A text is not UTF-8.
    InvalidUtf8,
    /// The line is longer than the limit.
    LineTooLong,
    /// A quotation mark opens and never closes.
    UnclosedQuote,
    /// The line is not a JSON object.
    NotJson,
    /// A feature is not `index:value`.
    NotAFeature,
    /// A feature whose value nobody reads has another than 1.
    ValueNotOne,
}

impl Reason {
    /// The name in manifests and in `bad_rows.jsonl`.
    pub fn name(self) -> &'static str {
        match self {
            Reason::MissingUser => "missing_user",
            Reason::MissingItem => "missing_item",
            Reason::BadTime => "bad_time",
            Reason::BadLabel => "bad_label",
            Reason::ObservedTooEarly => "observed_too_early",
            Reason::NotANumber => "not_a_number",
            Reason::NotFinite => "not_finite",
            Reason::NegativeWeight => "negative_weight",
            Reason::NotAProbability => "not_a_probability",
            Reason::MissingEventId => "missing_event_id",
            Reason::MissingPeriod => "missing_period",
            Reason::TooFewColumns => "too_few_columns",
            Reason::TooManyColumns => "too_many_columns",
            Reason::InvalidUtf8 => "invalid_utf8",
            Reason::LineTooLong => "line_too_long",
            Reason::UnclosedQuote => "unclosed_quote",
            Reason::NotJson => "not_json",
            Reason::NotAFeature => "not_a_feature",
            Reason::ValueNotOne => "value_not_one",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::MissingUser => "the user is missing",
            Reason::MissingItem => "the item is missing",
            Reason::BadTime => "the time is missing or does not read",
            Reason::BadLabel => "the label is neither 0 nor 1 (set at_least to make a threshold of a rating)",
            Reason::ObservedTooEarly => "the label was observed before its event",
            Reason::NotANumber => "not a number",
            Reason::NotFinite => "NaN or infinite",
            Reason::NegativeWeight => "the weight is negative",
            Reason::NotAProbability => "the score is no probability (say scale = \"logit\" where scores are logits)",
            Reason::MissingEventId => "the event id is missing",
            Reason::MissingPeriod => "the period is missing",
            Reason::TooFewColumns => "too few columns",
            Reason::TooManyColumns => "too many columns",
            Reason::InvalidUtf8 => "not UTF-8",
            Reason::LineTooLong => "the line is too long",
            Reason::UnclosedQuote => "a quotation mark never closes",
            Reason::NotJson => "not a JSON object",
            Reason::NotAFeature => "a feature is not index:value",
            Reason::ValueNotOne => {
                "a feature has another value than 1, which nobody reads (name its column v0, v1, ...)"
            }
        })
    }
}

/// A refused row; one line of `bad_rows.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// The file, relative to what was imported.
    pub file: String,
    /// Line in a text file, from 1; in Parquet the row, from 1.
    pub line: u64,
    /// Why.
    pub reason: Reason,
    /// The column at fault, where one is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<String>,
    /// The start of what stands there.
    pub excerpt: String,
}

/// Longest excerpt in bytes.
const EXCERPT: usize = 200;

/// The start of `bytes`, readable whatever they are.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(EXCERPT)]).into_owned()
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)?;
        match &self.column {
            Some(column) => write!(f, ": {column} = {:?}", self.excerpt),
            None => write!(f, ": {:?}", self.excerpt),
        }
    }
}
