//! What must hold of the fields together.

use super::raw::{RawField, RawSchema};
use super::{FieldKind, Role, Schema, SchemaError};

/// Columns of the canonical log that no field may be named after.
pub const RESERVED_NAMES: [&str; 2] = ["event_id", "time"];

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

impl Schema {
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
            ("score", count(|kind| matches!(kind, FieldKind::Score { .. }))),
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
