//! A schema as it stands in a TOML file, unchecked, and a checked one written back.

use super::{Field, FieldKind, IdType, Role, Schema, ScoreScale, TimeFormat, Vocabulary};
use crate::time::TimeUnit;
use serde::{Deserialize, Serialize};

/// What stands in the TOML file, unchecked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSchema {
    pub(super) name: String,
    #[serde(rename = "field")]
    pub(super) fields: Vec<RawField>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawKind {
    Id,
    Ids,
    Sequence,
    Numeric,
    Timestamp,
    Label,
    Weight,
    Score,
    EventId,
    Period,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawField {
    pub(super) name: String,
    pub(super) kind: RawKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) optional: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<IdType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vocabulary: Option<Vocabulary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) separator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<TimeUnit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at_least: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) constant: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) observed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scale: Option<ScoreScale>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
}

impl RawField {
    fn named(name: &str, kind: RawKind) -> RawField {
        RawField {
            name: name.to_owned(),
            kind,
            column: None,
            role: None,
            key: None,
            optional: None,
            id: None,
            vocabulary: None,
            domain: None,
            separator: None,
            unit: None,
            format: None,
            zone: None,
            at_least: None,
            constant: None,
            observed_at: None,
            scale: None,
            version: None,
        }
    }
}

impl From<Schema> for RawSchema {
    fn from(schema: Schema) -> RawSchema {
        RawSchema { name: schema.name, fields: schema.fields.into_iter().map(RawField::from).collect() }
    }
}

impl From<Field> for RawField {
    fn from(field: Field) -> RawField {
        let kind = match field.kind {
            FieldKind::Id { .. } => RawKind::Id,
            FieldKind::Ids { .. } => RawKind::Ids,
            FieldKind::Sequence { .. } => RawKind::Sequence,
            FieldKind::Numeric => RawKind::Numeric,
            FieldKind::Timestamp { .. } => RawKind::Timestamp,
            FieldKind::Label { .. } => RawKind::Label,
            FieldKind::Weight => RawKind::Weight,
            FieldKind::Score { .. } => RawKind::Score,
            FieldKind::EventId => RawKind::EventId,
            FieldKind::Period => RawKind::Period,
        };
        let mut raw = RawField::named(&field.name, kind);
        raw.column = (field.column != field.name).then_some(field.column);
        raw.optional = field.optional.then_some(true);
        match field.kind {
            FieldKind::Id { id, vocabulary, domain } => {
                raw.role = Some(field.role);
                raw.key = field.key.then_some(true);
                raw.id = Some(id);
                raw.vocabulary = Some(vocabulary);
                raw.domain = Some(domain);
            }
            FieldKind::Ids { id, vocabulary, domain, separator }
            | FieldKind::Sequence { id, vocabulary, domain, separator } => {
                raw.role = Some(field.role);
                raw.id = Some(id);
                raw.vocabulary = Some(vocabulary);
                raw.domain = Some(domain);
                raw.separator = Some(separator);
            }
            FieldKind::Numeric => raw.role = Some(field.role),
            FieldKind::Timestamp { format, zone } => {
                match format {
                    TimeFormat::Since1970(unit) => raw.unit = Some(unit),
                    TimeFormat::Text(format) => raw.format = Some(format),
                }
                raw.zone = Some(zone);
            }
            FieldKind::Label { at_least, constant, observed_at } => {
                raw.at_least = at_least;
                raw.constant = constant;
                raw.observed_at = observed_at;
            }
            FieldKind::Score { scale, version } => {
                raw.scale = Some(scale);
                raw.version = version;
            }
            FieldKind::Weight | FieldKind::EventId | FieldKind::Period => {}
        }
        raw
    }
}
