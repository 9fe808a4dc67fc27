//! What must hold of a field on its own.

use super::raw::{RawField, RawKind};
use super::{Field, FieldKind, IdType, Role, SchemaError, TimeFormat, Vocabulary};

impl RawField {
    pub(super) fn check(self) -> Result<Field, SchemaError> {
        let kind = self.check_name().and_then(|()| self.check_keys()).and_then(|()| self.checked_kind());
        let kind = kind.map_err(|problem| SchemaError::Field { field: self.name.clone(), problem })?;
        Ok(Field {
            column: self.column.unwrap_or_else(|| self.name.clone()),
            name: self.name,
            role: self.role.unwrap_or(Role::Context),
            key: self.key.unwrap_or(false),
            optional: self.optional.unwrap_or(false),
            kind,
        })
    }

    fn check_name(&self) -> Result<(), String> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        match !self.name.is_empty() && self.name.bytes().all(allowed) {
            true => Ok(()),
            false => Err("a name is made of lower-case letters, digits, '_' and '-'".into()),
        }
    }

    /// A key that means nothing for the kind is a mistake, not something to pass over.
    fn check_keys(&self) -> Result<(), String> {
        let allowed: &[&str] = match self.kind {
            RawKind::Id => &["role", "key", "id", "vocabulary", "domain"],
            RawKind::Ids | RawKind::Sequence => &["role", "id", "vocabulary", "domain", "separator"],
            RawKind::Numeric => &["role"],
            RawKind::Timestamp => &["unit", "format", "zone"],
            RawKind::Label => &["at_least", "constant", "observed_at"],
            RawKind::Score => &["scale", "version"],
            RawKind::Weight | RawKind::EventId | RawKind::Period => &[],
        };
        match self.special_keys().into_iter().find(|key| !allowed.contains(key)) {
            Some(key) => Err(format!(
                "a field of this kind has no \"{key}\"; it may have {}",
                if allowed.is_empty() { "nothing but column and optional".into() } else { allowed.join(", ") }
            )),
            None => Ok(()),
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
            ("scale", self.scale.is_some()),
            ("version", self.version.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
        .collect()
    }

    fn checked_kind(&self) -> Result<FieldKind, String> {
        let id = self.id.unwrap_or(IdType::Text);
        let vocabulary = checked_vocabulary(self.vocabulary.clone().unwrap_or_default())?;
        let domain = self.domain.clone().unwrap_or_else(|| self.name.clone());
        let separator = self.checked_separator()?;
        Ok(match self.kind {
            RawKind::Id => FieldKind::Id { id, vocabulary, domain },
            RawKind::Ids => FieldKind::Ids { id, vocabulary, domain, separator },
            RawKind::Sequence => FieldKind::Sequence { id, vocabulary, domain, separator },
            RawKind::Numeric => FieldKind::Numeric,
            RawKind::Timestamp => self.checked_timestamp()?,
            RawKind::Label => self.checked_label()?,
            RawKind::Weight => FieldKind::Weight,
            RawKind::Score => FieldKind::Score { scale: self.scale.unwrap_or_default(), version: self.version.clone() },
            RawKind::EventId => FieldKind::EventId,
            RawKind::Period => FieldKind::Period,
        })
    }

    fn checked_separator(&self) -> Result<String, String> {
        match self.separator.as_deref().unwrap_or("|") {
            "" => Err("the separator is empty".into()),
            separator => Ok(separator.to_owned()),
        }
    }

    fn checked_timestamp(&self) -> Result<FieldKind, String> {
        let format = match (self.unit, self.format.clone()) {
            (Some(unit), None) => TimeFormat::Since1970(unit),
            (None, Some(format)) => TimeFormat::Text(format),
            _ => return Err("say either unit = \"s\" (ms, us, ns) or format = \"%Y-%m-%d ...\"".into()),
        };
        Ok(FieldKind::Timestamp { format, zone: self.zone.clone().unwrap_or_else(|| "UTC".to_owned()) })
    }

    fn checked_label(&self) -> Result<FieldKind, String> {
        if self.constant.is_some() && self.at_least.is_some() {
            return Err("constant and at_least exclude each other".into());
        }
        if self.constant.is_some_and(|c| c != 0.0 && c != 1.0) {
            return Err("a constant label is 0 or 1".into());
        }
        Ok(FieldKind::Label { at_least: self.at_least, constant: self.constant, observed_at: self.observed_at.clone() })
    }
}

fn checked_vocabulary(vocabulary: Vocabulary) -> Result<Vocabulary, String> {
    match vocabulary {
        Vocabulary::Open { min_count: 0 } => Err("min_count must be at least 1".into()),
        Vocabulary::Hashed { buckets: 0 } => Err("a hashed vocabulary needs at least one bucket".into()),
        Vocabulary::Fixed { values } if values.is_empty() => Err("a fixed vocabulary needs values".into()),
        vocabulary => Ok(vocabulary),
    }
}
