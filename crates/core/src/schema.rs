//! The typed description of a log: what each field is, whose it is, and how its ids become rows.

mod check;
mod check_field;
mod error;
mod field;
mod raw;
mod vocabulary;

pub use check::RESERVED_NAMES;
pub use error::SchemaError;
pub use field::{Field, FieldKind, IdType, Role, ScoreScale, TimeFormat};
pub use vocabulary::Vocabulary;

use raw::RawSchema;
use serde::{Deserialize, Serialize};

/// A checked description of a log. Written as TOML; see [`Schema::parse`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSchema", into = "RawSchema")]
pub struct Schema {
    /// A short name, used in reports.
    pub name: String,
    /// The fields in the order in which they were declared.
    pub fields: Vec<Field>,
}

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

    /// What the model in service answered, if the log says so.
    pub fn score(&self) -> Option<&Field> {
        self.fields.iter().find(|field| matches!(field.kind, FieldKind::Score { .. }))
    }

    /// The labels, in order of declaration.
    pub fn labels(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| matches!(field.kind, FieldKind::Label { .. }))
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

    #[test]
    fn scores_are_probabilities_unless_they_are_logits() {
        let with = |field: &str| format!("{EXAMPLE}\n[[field]]\nname = \"shown\"\nkind = \"score\"\n{field}");
        let schema = Schema::parse(&with("version = \"model\"")).unwrap();
        let probability = FieldKind::Score { scale: ScoreScale::Probability, version: Some("model".into()) };
        assert_eq!(schema.score().unwrap().kind, probability);
        assert_eq!(Schema::parse(&schema.to_toml()).unwrap(), schema);
        let logit = FieldKind::Score { scale: ScoreScale::Logit, version: None };
        assert_eq!(Schema::parse(&with("scale = \"logit\"")).unwrap().score().unwrap().kind, logit);
        refused(|_| with("role = \"item\""), "has no \"role\"");
        refused(|_| with("[[field]]\nname = \"again\"\nkind = \"score\""), "at most one field of kind \"score\"");
    }
}
