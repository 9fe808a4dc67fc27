//! What a model can see of an event.

use crate::schema::{Field, FieldKind, IdType, Role, Schema, Vocabulary};
use serde::{Deserialize, Serialize};

/// Index of a vocabulary in [`FeatureSet::vocabularies`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VocabId(pub u32);

/// The shape of a feature's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeatureKind {
    /// One id per example.
    Id(VocabId),
    /// A weighted bag or sequence of ids per example.
    Bag(VocabId),
    /// One number per example.
    Numeric,
}

/// One input of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// Name of the field, or `history.<field>` for a property of the user's past items.
    pub name: String,
    /// Shape.
    pub kind: FeatureKind,
    /// Whose property it is; a history is the user's.
    pub role: Role,
    /// For a property of past items: the feature that holds the same property of the item at hand.
    pub history_of: Option<u32>,
}

/// A vocabulary shared by the fields of one domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VocabularySpec {
    /// Name: the domain of the fields that share it.
    pub domain: String,
    /// How the source writes ids.
    pub id: IdType,
    /// How ids become rows.
    pub vocabulary: Vocabulary,
}

/// All inputs, in a fixed order: fields as declared, then histories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureSet {
    /// The inputs.
    pub features: Vec<Feature>,
    /// The vocabularies they use, in order of first use.
    pub vocabularies: Vec<VocabularySpec>,
}

impl FeatureSet {
    /// The inputs of a log. With `history`, each id of an item's key and attributes also appears as a bag over the
    /// user's past items, if the log knows both users and items.
    pub fn of(schema: &Schema, history: bool) -> FeatureSet {
        let mut set = FeatureSet { features: Vec::new(), vocabularies: Vec::new() };
        for field in schema.fields.iter().filter(|field| field.role != Role::Request) {
            if let Some(kind) = set.kind_of(field) {
                set.features.push(Feature { name: field.name.clone(), kind, role: field.role, history_of: None });
            }
        }
        let knows_both = schema.key_of(Role::User).is_some() && schema.key_of(Role::Item).is_some();
        if history && knows_both {
            set.add_histories();
        }
        set
    }

    /// Position of the feature of this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.features.iter().position(|feature| feature.name == name)
    }

    fn kind_of(&mut self, field: &Field) -> Option<FeatureKind> {
        Some(match &field.kind {
            FieldKind::Id { .. } => FeatureKind::Id(self.vocabulary_of(field)),
            FieldKind::Ids { .. } | FieldKind::Sequence { .. } => FeatureKind::Bag(self.vocabulary_of(field)),
            FieldKind::Numeric => FeatureKind::Numeric,
            _ => return None,
        })
    }

    fn vocabulary_of(&mut self, field: &Field) -> VocabId {
        let (domain, id, vocabulary) = field.kind.vocabulary().expect("called for fields with ids");
        let known = self.vocabularies.iter().position(|spec| spec.domain == domain);
        let index = known.unwrap_or_else(|| {
            let spec = VocabularySpec { domain: domain.to_owned(), id, vocabulary: vocabulary.clone() };
            self.vocabularies.push(spec);
            self.vocabularies.len() - 1
        });
        VocabId(index as u32)
    }

    fn add_histories(&mut self) {
        for index in 0..self.features.len() {
            let feature = &self.features[index];
            let (Role::Item, FeatureKind::Id(vocab) | FeatureKind::Bag(vocab)) = (feature.role, feature.kind) else {
                continue;
            };
            self.features.push(Feature {
                name: format!("history.{}", feature.name),
                kind: FeatureKind::Bag(vocab),
                role: Role::User,
                history_of: Some(index as u32),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_mirror_the_items_ids() {
        let schema = Schema::parse(
            r#"
            name = "x"
            field = [
              { name = "u", kind = "id", role = "user" },
              { name = "i", kind = "id", role = "item" },
              { name = "tags", kind = "ids", role = "item" },
              { name = "price", kind = "numeric", role = "item" },
              { name = "t", kind = "timestamp", unit = "s" },
              { name = "y", kind = "label" },
            ]"#,
        )
        .unwrap();
        let names = |set: &FeatureSet| set.features.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
        let with = FeatureSet::of(&schema, true);
        assert_eq!(names(&with), ["u", "i", "tags", "price", "history.i", "history.tags"]);
        assert_eq!(with.features[4].kind, FeatureKind::Bag(VocabId(1)), "a history shares the item's vocabulary");
        assert_eq!(names(&FeatureSet::of(&schema, false)), ["u", "i", "tags", "price"]);
    }
}
