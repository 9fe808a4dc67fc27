//! The typed description of a log: what each field is, whose it is, and how its ids become rows.

use crate::time::TimeUnit;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A checked description of a log. Written as TOML; see [`Schema::parse`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSchema", into = "RawSchema")]
pub struct Schema {
    /// A short name, used in reports.
    pub name: String,
    /// The fields in the order in which they were declared.
    pub fields: Vec<Field>,
}

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
    /// A stable unsigned integer that names the row. At most one; without it the name is a hash of the file's name
    /// and the row's ordinal in it.
    EventId,
    /// The number of the period that the row belongs to, where the source itself is cut into periods. At most one.
    Period,
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

/// What stands in the TOML file, unchecked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSchema {
    name: String,
    #[serde(rename = "field")]
    fields: Vec<RawField>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    Id,
    Ids,
    Sequence,
    Numeric,
    Timestamp,
    Label,
    Weight,
    EventId,
    Period,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    name: String,
    kind: RawKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    optional: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<IdType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vocabulary: Option<Vocabulary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    separator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<TimeUnit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    constant: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_at: Option<String>,
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
        }
    }

    /// Keys that are present, beside those that every kind may have.
    fn special_keys(&self) -> Vec<&'static str> {
        [
            ("role", self.role.is_some()),
            ("key", self.key.is_some()),
            ("id", self.id.is_some()),
            ("vocabulary", self.vocabulary.is_some()),
            ("domain", self.domain.is_some()),
            ("separator", self.separator.is_some()),
            ("unit", self.unit.is_some()),
            ("format", self.format.is_some()),
            ("zone", self.zone.is_some()),
            ("at_least", self.at_least.is_some()),
            ("constant", self.constant.is_some()),
            ("observed_at", self.observed_at.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
        .collect()
    }

    fn check(self) -> Result<Field, SchemaError> {
        let fail = |problem: String| SchemaError::Field { field: self.name.clone(), problem };
        let well_named = !self.name.is_empty()
            && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !well_named {
            return Err(fail("a name is made of lower-case letters, digits, '_' and '-'".into()));
        }
        let allowed: &[&str] = match self.kind {
            RawKind::Id => &["role", "key", "id", "vocabulary", "domain"],
            RawKind::Ids | RawKind::Sequence => &["role", "id", "vocabulary", "domain", "separator"],
            RawKind::Numeric => &["role"],
            RawKind::Timestamp => &["unit", "format", "zone"],
            RawKind::Label => &["at_least", "constant", "observed_at"],
            RawKind::Weight | RawKind::EventId | RawKind::Period => &[],
        };
        if let Some(key) = self.special_keys().into_iter().find(|key| !allowed.contains(key)) {
            return Err(fail(format!(
                "a field of this kind has no \"{key}\"; it may have {}",
                if allowed.is_empty() { "nothing but column and optional".into() } else { allowed.join(", ") }
            )));
        }
        let vocabulary = self.vocabulary.clone().unwrap_or_default();
        check_vocabulary(&vocabulary).map_err(&fail)?;
        let id = self.id.unwrap_or(IdType::Text);
        let domain = self.domain.clone().unwrap_or_else(|| self.name.clone());
        let separator = self.separator.clone().unwrap_or_else(|| "|".to_owned());
        if separator.is_empty() {
            return Err(fail("the separator is empty".into()));
        }
        let kind = match self.kind {
            RawKind::Id => FieldKind::Id { id, vocabulary, domain },
            RawKind::Ids => FieldKind::Ids { id, vocabulary, domain, separator },
            RawKind::Sequence => FieldKind::Sequence { id, vocabulary, domain, separator },
            RawKind::Numeric => FieldKind::Numeric,
            RawKind::Timestamp => FieldKind::Timestamp {
                format: match (self.unit, self.format.clone()) {
                    (Some(unit), None) => TimeFormat::Since1970(unit),
                    (None, Some(format)) => TimeFormat::Text(format),
                    _ => return Err(fail("say either unit = \"s\" (ms, us, ns) or format = \"%Y-%m-%d ...\"".into())),
                },
                zone: self.zone.clone().unwrap_or_else(|| "UTC".to_owned()),
            },
            RawKind::Label => {
                if self.constant.is_some() && self.at_least.is_some() {
                    return Err(fail("constant and at_least exclude each other".into()));
                }
                if self.constant.is_some_and(|c| c != 0.0 && c != 1.0) {
                    return Err(fail("a constant label is 0 or 1".into()));
                }
                FieldKind::Label {
                    at_least: self.at_least,
                    constant: self.constant,
                    observed_at: self.observed_at.clone(),
                }
            }
            RawKind::Weight => FieldKind::Weight,
            RawKind::EventId => FieldKind::EventId,
            RawKind::Period => FieldKind::Period,
        };
        Ok(Field {
            column: self.column.unwrap_or_else(|| self.name.clone()),
            name: self.name,
            role: self.role.unwrap_or(Role::Context),
            key: self.key.unwrap_or(false),
            optional: self.optional.unwrap_or(false),
            kind,
        })
    }
}

fn check_vocabulary(vocabulary: &Vocabulary) -> Result<(), String> {
    match vocabulary {
        Vocabulary::Open { min_count: 0 } => Err("min_count must be at least 1".into()),
        Vocabulary::Hashed { buckets: 0 } => Err("a hashed vocabulary needs at least one bucket".into()),
        Vocabulary::Fixed { values } if values.is_empty() => Err("a fixed vocabulary needs values".into()),
        _ => Ok(()),
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
            FieldKind::Weight | FieldKind::EventId | FieldKind::Period => {}
        }
        raw
    }
}

impl From<Schema> for RawSchema {
    fn from(schema: Schema) -> RawSchema {
        RawSchema { name: schema.name, fields: schema.fields.into_iter().map(RawField::from).collect() }
    }
}

impl TryFrom<RawSchema> for Schema {
    type Error = SchemaError;

    fn try_from(raw: RawSchema) -> Result<Schema, SchemaError> {
        let fields = raw.fields.into_iter().map(RawField::check).collect::<Result<Vec<_>, _>>()?;
        let mut schema = Schema { name: raw.name, fields };
        schema.check_names()?;
        schema.check_counts()?;
        schema.choose_keys()?;
        schema.check_domains()?;
        Ok(schema)
    }
}

/// Columns of the canonical log that no field may be named after.
pub const RESERVED_NAMES: [&str; 2] = ["event_id", "time"];

impl Schema {
    /// Reads a schema from TOML text. Unknown keys are refused.
    pub fn parse(text: &str) -> Result<Schema, SchemaError> {
        toml::from_str(text).map_err(|error| SchemaError::Syntax(error.to_string()))
    }

    /// Writes the schema as TOML, with every default spelled out.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a checked schema is plain data")
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The identity field of a role, if the log has one.
    pub fn key_of(&self, role: Role) -> Option<&Field> {
        self.fields.iter().find(|field| field.key && field.role == role)
    }

    /// The timestamp field.
    pub fn timestamp(&self) -> &Field {
        let found = self.fields.iter().find(|field| matches!(field.kind, FieldKind::Timestamp { .. }));
        found.expect("a checked schema has exactly one timestamp")
    }

    /// The labels, in order of declaration.
    pub fn labels(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| matches!(field.kind, FieldKind::Label { .. }))
    }

    fn check_names(&self) -> Result<(), SchemaError> {
        for (i, field) in self.fields.iter().enumerate() {
            if self.fields[..i].iter().any(|earlier| earlier.name == field.name) {
                return Err(SchemaError::Whole(format!("two fields are named \"{}\"", field.name)));
            }
            let own = matches!(field.kind, FieldKind::EventId | FieldKind::Timestamp { .. });
            if !own && RESERVED_NAMES.contains(&field.name.as_str()) {
                return Err(SchemaError::Field {
                    field: field.name.clone(),
                    problem: "this name is reserved; rename the field and say column = \"...\"".into(),
                });
            }
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), SchemaError> {
        let count = |test: fn(&FieldKind) -> bool| self.fields.iter().filter(|field| test(&field.kind)).count();
        if count(|kind| matches!(kind, FieldKind::Timestamp { .. })) != 1 {
            return Err(SchemaError::Whole(
                "a schema has exactly one field of kind \"timestamp\"; a log without times uses column = \"@row\""
                    .into(),
            ));
        }
        if count(|kind| matches!(kind, FieldKind::Label { .. })) == 0 {
            return Err(SchemaError::Whole(
                "a schema has at least one field of kind \"label\"; a log of positives only uses constant = 1".into(),
            ));
        }
        let counts = [
            ("weight", count(|kind| matches!(kind, FieldKind::Weight))),
            ("event_id", count(|kind| matches!(kind, FieldKind::EventId))),
            ("period", count(|kind| matches!(kind, FieldKind::Period))),
        ];
        match counts.iter().find(|(_, count)| *count > 1) {
            Some((name, _)) => Err(SchemaError::Whole(format!("a schema has at most one field of kind \"{name}\""))),
            None => Ok(()),
        }
    }

    /// Of the id fields of a role one is the key: the one that says so, or the only one.
    fn choose_keys(&mut self) -> Result<(), SchemaError> {
        for role in [Role::User, Role::Item, Role::Request] {
            let ids: Vec<usize> = (0..self.fields.len())
                .filter(|&i| self.fields[i].role == role && matches!(self.fields[i].kind, FieldKind::Id { .. }))
                .collect();
            let marked: Vec<usize> = ids.iter().copied().filter(|&i| self.fields[i].key).collect();
            match (ids.as_slice(), marked.as_slice()) {
                (_, [_]) | ([], _) => {}
                ([only], []) => self.fields[*only].key = true,
                _ => {
                    return Err(SchemaError::Whole(format!(
                        "several id fields have the role {role:?}; mark the one that identifies it with key = true"
                    )));
                }
            }
        }
        match self.fields.iter().find(|field| field.key && field.role == Role::Context) {
            Some(field) => Err(SchemaError::Field {
                field: field.name.clone(),
                problem: "only a user, an item or a request has a key".into(),
            }),
            None => Ok(()),
        }
    }

    /// Fields that share a vocabulary must agree on what it is.
    fn check_domains(&self) -> Result<(), SchemaError> {
        for (i, field) in self.fields.iter().enumerate() {
            let Some((domain, id, vocabulary)) = field.kind.vocabulary() else { continue };
            for other in &self.fields[..i] {
                if let Some((other_domain, other_id, other_vocabulary)) = other.kind.vocabulary()
                    && domain == other_domain
                    && (id != other_id || vocabulary != other_vocabulary)
                {
                    return Err(SchemaError::Field {
                        field: field.name.clone(),
                        problem: format!(
                            "shares domain \"{domain}\" with \"{}\" but differs in id type or vocabulary",
                            other.name
                        ),
                    });
                }
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        name = "clicks"
        [[field]]
        name = "user"
        kind = "id"
        role = "user"
        [[field]]
        name = "item"
        kind = "id"
        role = "item"
        id = "int"
        vocabulary = { open = { min_count = 2 } }
        [[field]]
        name = "genres"
        kind = "ids"
        role = "item"
        [[field]]
        name = "when"
        kind = "timestamp"
        unit = "s"
        [[field]]
        name = "liked"
        kind = "label"
        column = "rating"
        at_least = 4
    "#;

    #[test]
    fn reads_and_writes_back_the_same() {
        let schema = Schema::parse(EXAMPLE).unwrap();
        assert_eq!(Schema::parse(&schema.to_toml()).unwrap(), schema);
        assert_eq!(schema.key_of(Role::User).unwrap().name, "user");
        assert_eq!(schema.field("liked").unwrap().column, "rating");
    }

    fn refused(edit: impl Fn(&str) -> String, expected: &str) {
        let error = Schema::parse(&edit(EXAMPLE)).unwrap_err().to_string();
        assert!(error.contains(expected), "got: {error}");
    }

    #[test]
    fn mistakes_are_named() {
        refused(|text| text.replace("role = \"user\"", "rol = \"user\""), "unknown field `rol`");
        refused(|text| text.replace("unit = \"s\"", ""), "say either unit");
        refused(|text| text.replace("name = \"genres\"", "name = \"item\""), "two fields are named");
        refused(|text| text.replace("kind = \"label\"", "kind = \"numeric\""), "has no \"at_least\"");
        refused(|text| text.replace("min_count = 2", "min_count = 0"), "min_count must be at least 1");
        refused(
            |text| text.replace("name = \"genres\"\n        kind = \"ids\"", "name = \"g\"\n kind = \"id\""),
            "key = true",
        );
        refused(|text| text.replace("name = \"liked\"", "name = \"time\""), "reserved");
    }
}
