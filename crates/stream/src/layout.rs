//! Which columns of a log are what.

use crate::error::{Result, StreamError};
use perennial_core::{Digest, DigestBuilder, Feature, FeatureKind, FeatureSet, FieldKind, Role, Schema};

/// The columns that one preparation reads, and the features it makes of them.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The inputs: `base` of them are columns of the log, the rest are histories.
    pub(crate) features: FeatureSet,
    pub(crate) base: usize,
    pub(crate) user: Option<String>,
    pub(crate) item: Option<String>,
    pub(crate) request: Option<String>,
    pub(crate) label: String,
    pub(crate) weight: Option<String>,
    pub(crate) score: Option<String>,
    pub(crate) period: Option<String>,
    /// The features that are an item's, hence kept in the catalogue.
    pub(crate) item_features: Vec<usize>,
}

impl Layout {
    /// Fails if the schema has no label of this name. Without a name the first label is taken.
    pub(crate) fn new(schema: &Schema, label: Option<&str>, history: bool) -> Result<Layout> {
        let features = FeatureSet::of(schema, history);
        let base = features.features.iter().take_while(|feature| feature.history_of.is_none()).count();
        let of_item = |&i: &usize| features.features[i].role == Role::Item;
        let item_features = (0..base).filter(of_item).collect();
        let key = |role| schema.key_of(role).map(|field| field.name.clone());
        let named = |kind: fn(&FieldKind) -> bool| {
            schema.fields.iter().find(|field| kind(&field.kind)).map(|field| field.name.clone())
        };
        Ok(Layout {
            user: key(Role::User),
            item: key(Role::Item),
            request: key(Role::Request),
            label: label_of(schema, label)?,
            weight: named(|kind| matches!(kind, FieldKind::Weight)),
            score: schema.score().map(|field| field.name.clone()),
            period: named(|kind| matches!(kind, FieldKind::Period)),
            features,
            base,
            item_features,
        })
    }

    /// Digest of what a catalogue of this log holds.
    pub(crate) fn catalogue_digest(&self) -> Digest {
        let mut digest = DigestBuilder::new("catalogue features");
        for feature in self.catalogued() {
            let kind = match feature.kind {
                FeatureKind::Id(_) => 0,
                FeatureKind::Bag(_) => 1,
                FeatureKind::Numeric => 2,
            };
            digest.str(&feature.name).u64(kind);
        }
        digest.finish()
    }

    /// The features in the catalogue, in its order.
    pub(crate) fn catalogued(&self) -> impl Iterator<Item = &Feature> {
        self.item_features.iter().map(|&i| &self.features.features[i])
    }
}

fn label_of(schema: &Schema, wanted: Option<&str>) -> Result<String> {
    let names: Vec<&str> = schema.labels().map(|field| field.name.as_str()).collect();
    match wanted {
        None => Ok(names[0].to_owned()),
        Some(name) if names.contains(&name) => Ok(name.to_owned()),
        Some(name) => {
            Err(StreamError::Config(format!("no label is named \"{name}\"; the log has: {}", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::schema;

    #[test]
    fn an_unknown_label_is_named_beside_the_known_ones() {
        let error = Layout::new(&schema(), Some("bought"), true).unwrap_err().to_string();
        assert!(error.contains("\"bought\"") && error.contains("click"), "got: {error}");
    }

    #[test]
    fn the_catalogue_holds_what_is_the_items() {
        let layout = Layout::new(&schema(), None, true).unwrap();
        let names: Vec<&str> = layout.catalogued().map(|feature| feature.name.as_str()).collect();
        assert_eq!(names, ["item", "tags", "price"]);
        assert_eq!(layout.features.features.len() - layout.base, 2, "history.item and history.tags");
    }
}
