//! The columns of the canonical log.

use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema, SchemaRef, TimeUnit};
use perennial_core::{Field, FieldKind, IdType, Role, Schema};
use std::sync::Arc;

/// Name of the column of stable row names.
pub const EVENT_ID: &str = "event_id";
/// Name of the column of event times, whatever the schema calls its timestamp.
pub const TIME: &str = "time";

/// Name of the column that says when a label became observable.
pub fn observable_name(label: &str) -> String {
    format!("{label}.observable")
}

/// Name of the column that says which version gave a score.
pub fn version_name(score: &str) -> String {
    format!("{score}.version")
}

/// The columns of a log of this schema: `event_id`, `time`, then the other fields in order of declaration.
///
/// | field | column | null |
/// |---|---|---|
/// | timestamp | `time: Timestamp(Microsecond, "UTC")` | never |
/// | event id | `event_id: UInt64` | never |
/// | id | `Int64` or `Utf8` | missing; never for the key of a user or an item |
/// | ids, sequence | `List<Int64>` or `List<Utf8>`, no null elements | never: the empty list |
/// | numeric | `Float64`, finite | missing |
/// | label | `Float32`, 0 or 1, and `<label>.observable: Timestamp` | both, if never observed |
/// | weight | `Float32`, at least 0 | never: 1 |
/// | score | `Float32`, a finite logit; with a version `<score>.version: Utf8` | not scored; not named |
/// | period | `Int32` | never |
pub fn arrow_schema(schema: &Schema) -> SchemaRef {
    let mut columns =
        vec![ArrowField::new(EVENT_ID, DataType::UInt64, false), ArrowField::new(TIME, time_type(), false)];
    for field in &schema.fields {
        columns.extend(columns_of(field));
    }
    Arc::new(ArrowSchema::new(columns))
}

fn columns_of(field: &Field) -> Vec<ArrowField> {
    let column = |kind: DataType, nullable: bool| vec![ArrowField::new(&field.name, kind, nullable)];
    match &field.kind {
        FieldKind::Timestamp { .. } | FieldKind::EventId => Vec::new(),
        FieldKind::Id { id, .. } => column(id_type(*id), !is_required_key(field)),
        FieldKind::Ids { id, .. } | FieldKind::Sequence { id, .. } => {
            column(DataType::List(Arc::new(ArrowField::new_list_field(id_type(*id), true))), false)
        }
        FieldKind::Numeric => column(DataType::Float64, true),
        FieldKind::Weight => column(DataType::Float32, false),
        FieldKind::Score { version, .. } => {
            let score = column(DataType::Float32, true);
            let version = version.iter().map(|_| ArrowField::new(version_name(&field.name), DataType::Utf8, true));
            score.into_iter().chain(version).collect()
        }
        FieldKind::Period => column(DataType::Int32, false),
        FieldKind::Label { .. } => vec![
            ArrowField::new(&field.name, DataType::Float32, true),
            ArrowField::new(observable_name(&field.name), time_type(), true),
        ],
    }
}

/// Whether a null in the field makes the row a bad one.
pub(crate) fn is_required_key(field: &Field) -> bool {
    field.key && matches!(field.role, Role::User | Role::Item)
}

pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn id_type(id: IdType) -> DataType {
    match id {
        IdType::Int => DataType::Int64,
        IdType::Text => DataType::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_columns_in_order() {
        let schema = Schema::parse(
            r#"
            name = "x"
            field = [
              { name = "when", kind = "timestamp", unit = "s" },
              { name = "u", kind = "id", role = "user", id = "int" },
              { name = "place", kind = "id" },
              { name = "tags", kind = "ids" },
              { name = "click", kind = "label" },
              { name = "w", kind = "weight" },
              { name = "shown", kind = "score", version = "model" },
            ]"#,
        )
        .unwrap();
        let columns: Vec<String> = arrow_schema(&schema)
            .fields()
            .iter()
            .map(|f| format!("{}{}", f.name(), if f.is_nullable() { "?" } else { "" }))
            .collect();
        let expected = ["event_id", "time", "u", "place?", "tags", "click?", "click.observable?", "w"];
        assert_eq!(columns[..8], expected);
        assert_eq!(columns[8..], ["shown?", "shown.version?"]);
    }
}
