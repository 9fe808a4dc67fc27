//! A version in memory: on its way in, and on its way out.

use crate::{Error, Lineage, Manifest, ObjectName, Result};
use perennial_core::Digest;
use std::collections::BTreeMap;

/// All that a version consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Named byte strings, such as `dense.safetensors` or `table/item/values/0003`.
    pub objects: Vec<(String, Vec<u8>)>,
    /// How it was made.
    pub lineage: Lineage,
    /// Digest over the logical content: two bundles of one digest are the same version, however they are encoded.
    pub content: Digest,
}

/// A version whose every object has been read and found to be what was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its manifest.
    pub manifest: Manifest,
    pub(crate) objects: BTreeMap<ObjectName, Vec<u8>>,
}

impl Loaded {
    /// The bytes of an object.
    pub fn object(&self, name: &str) -> Result<&[u8]> {
        self.objects.get(name).map(Vec::as_slice).ok_or_else(|| no_object(&self.manifest, name))
    }

    /// The objects whose names begin with `prefix`, in order of their names.
    pub fn objects<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.objects
            .iter()
            .filter(move |(name, _)| name.as_str().starts_with(prefix))
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// Takes the bytes of an object out, so that a large one is not held twice.
    pub fn take(&mut self, name: &str) -> Result<Vec<u8>> {
        self.objects.remove(name).ok_or_else(|| no_object(&self.manifest, name))
    }
}

pub(crate) fn no_object(manifest: &Manifest, name: &str) -> Error {
    let mut holds: Vec<&str> = manifest.objects.keys().take(9).map(ObjectName::as_str).collect();
    if manifest.objects.len() > holds.len() {
        holds.push("...");
    }
    Error::NoObject { id: manifest.id.clone(), object: name.into(), holds: holds.join(", ") }
}
