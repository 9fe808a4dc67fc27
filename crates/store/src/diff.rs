//! What one version has that another has not.

use crate::{Manifest, Object, ObjectName, Reader, Result, VersionId};
use std::collections::BTreeMap;

/// The differences between two versions, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// Whether the logical content is the same.
    pub same_content: bool,
    /// Objects that are not the same in both.
    pub objects: BTreeMap<ObjectName, Change<Object>>,
    /// Number of objects that both share.
    pub shared: usize,
    /// Bytes of the objects that both share.
    pub shared_bytes: u64,
    /// What is said differently of where they came from, field by field, as JSON.
    pub lineage: BTreeMap<String, Change<String>>,
}

/// What became of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    /// Only the second has it.
    Added(T),
    /// Only the first has it.
    Removed(T),
    /// Both have it, with these values.
    Changed(T, T),
}

impl Reader {
    /// Compares two versions by their manifests; no object is read.
    pub fn diff(&self, a: &VersionId, b: &VersionId) -> Result<Diff> {
        let (a, b) = (self.manifest(a)?, self.manifest(b)?);
        let shared: Vec<&Object> =
            a.objects.iter().filter(|(name, object)| b.objects.get(*name) == Some(object)).map(|(_, o)| o).collect();
        Ok(Diff {
            same_content: a.content == b.content,
            shared: shared.len(),
            shared_bytes: shared.iter().map(|object| object.bytes).sum(),
            objects: changes(&a.objects, &b.objects),
            lineage: changes(&lineage_fields(&a), &lineage_fields(&b)),
        })
    }
}

fn changes<K: Ord + Clone, T: PartialEq + Clone>(a: &BTreeMap<K, T>, b: &BTreeMap<K, T>) -> BTreeMap<K, Change<T>> {
    let mut changes = BTreeMap::new();
    for (key, old) in a {
        match b.get(key) {
            None => drop(changes.insert(key.clone(), Change::Removed(old.clone()))),
            Some(new) if new != old => drop(changes.insert(key.clone(), Change::Changed(old.clone(), new.clone()))),
            Some(_) => {}
        }
    }
    for (key, new) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
        changes.insert(key.clone(), Change::Added(new.clone()));
    }
    changes
}

/// The lineage as flat text fields; those of `extra` and `data` stand beside the others.
fn lineage_fields(manifest: &Manifest) -> BTreeMap<String, String> {
    let value = serde_json::to_value(&manifest.lineage).expect("maps of text keys always become JSON");
    let mut fields = BTreeMap::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(inner) => {
                fields.extend(inner.iter().map(|(name, value)| (format!("{key}.{name}"), value.to_string())))
            }
            None => drop(fields.insert(key.clone(), value.to_string())),
        }
    }
    fields
}
