//! What a version consists of.

use crate::name::{ObjectName, VersionId};
use crate::sealed::{self, Kind};
use crate::{Bundle, Error, Lineage, Result};
use perennial_core::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The list of a version's objects, and where it came from. A version exists once its manifest does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version's name.
    pub id: VersionId,
    /// Digest over its logical content, computed by whoever published it.
    pub content: Digest,
    /// Its objects by name.
    pub objects: BTreeMap<ObjectName, Object>,
    /// How it was made.
    pub lineage: Lineage,
}

/// One object of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Digest of its bytes, which is also its address.
    pub digest: Digest,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What is accepted of files that others may have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one manifest.
    pub manifest_bytes: u64,
    /// Objects of one version.
    pub objects: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // An entry takes about 150 bytes, so the two limits meet at about the same size of version: a table of 10^9
        // rows in pages of 2^13.
        Limits { manifest_bytes: 64 << 20, objects: 1 << 18 }
    }
}

const KIND: Kind = Kind { magic: "perennial-manifest", what: "manifest", format: 1 };

impl Manifest {
    /// The manifest of `bundle` under the name `id`; errs on a name that cannot be used or is used twice. Costs one
    /// hash of every byte.
    pub(crate) fn of(id: &VersionId, bundle: &Bundle) -> Result<Manifest> {
        let mut objects = BTreeMap::new();
        for (name, bytes) in &bundle.objects {
            let object = Object { digest: Digest::of_bytes(bytes), bytes: bytes.len() as u64 };
            if objects.insert(name.parse()?, object).is_some() {
                return Err(Error::Bundle { problem: format!("two of its objects are named \"{name}\"") });
            }
        }
        Ok(Manifest { id: id.clone(), content: bundle.content, objects, lineage: bundle.lineage.clone() })
    }

    /// Bytes of all objects together; an object that occurs under two names counts twice.
    pub fn bytes(&self) -> u64 {
        self.objects.values().map(|object| object.bytes).sum()
    }

    /// The file that holds it. The same manifest always gives the same bytes.
    pub(crate) fn encode(&self, limits: &Limits) -> Result<Vec<u8>> {
        let body = serde_json::to_string_pretty(self).expect("maps of text keys always become JSON");
        let sealed = sealed::seal(&KIND, &(body + "\n"));
        self.check(limits)?;
        check_size(&self.id, sealed.len() as u64, limits)?;
        Ok(sealed)
    }

    /// Reads the manifest of `id` from the bytes of the file at `path`.
    pub(crate) fn decode(id: &VersionId, path: &str, bytes: &[u8], limits: &Limits) -> Result<Manifest> {
        let damaged = |problem: String| Error::DamagedFile { path: path.into(), problem };
        check_size(id, bytes.len() as u64, limits)?;
        let body = sealed::open(&KIND, path, bytes)?;
        let manifest: Manifest = serde_json::from_str(body).map_err(|error| damaged(error.to_string()))?;
        if manifest.id != *id {
            return Err(damaged(format!("it is the manifest of \"{}\", expected \"{id}\"", manifest.id)));
        }
        manifest.check(limits)?;
        Ok(manifest)
    }

    fn check(&self, limits: &Limits) -> Result<()> {
        if self.objects.len() > limits.objects {
            return Err(Error::Limit {
                what: format!("the number of objects of version \"{}\"", self.id),
                got: self.objects.len() as u64,
                limit: limits.objects as u64,
            });
        }
        Ok(())
    }
}

fn check_size(id: &VersionId, bytes: u64, limits: &Limits) -> Result<()> {
    if bytes > limits.manifest_bytes {
        return Err(Error::Limit {
            what: format!("the number of bytes of the manifest of version \"{id}\""),
            got: bytes,
            limit: limits.manifest_bytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(objects: &[&str]) -> Manifest {
        let bundle = Bundle {
            objects: objects.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec())).collect(),
            lineage: Lineage { seed: u64::MAX, ..Lineage::default() },
            content: Digest::of_bytes(b"content"),
        };
        Manifest::of(&"m/1".parse().unwrap(), &bundle).unwrap()
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let manifest = manifest(&["b/c", "a"]);
        let bytes = manifest.encode(&Limits::default()).unwrap();
        assert_eq!(Manifest::decode(&manifest.id, "f", &bytes, &Limits::default()).unwrap(), manifest);
        let other = "m/2".parse().unwrap();
        let error = Manifest::decode(&other, "f", &bytes, &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("manifest of \"m/1\", expected \"m/2\""), "{error}");
    }

    #[test]
    fn limits_hold_on_both_ways() {
        let manifest = manifest(&["a", "b"]);
        let bytes = manifest.encode(&Limits::default()).unwrap();
        for limits in [Limits { objects: 1, ..Limits::default() }, Limits { manifest_bytes: 9, ..Limits::default() }] {
            assert!(matches!(manifest.encode(&limits), Err(Error::Limit { .. })));
            assert!(matches!(Manifest::decode(&manifest.id, "f", &bytes, &limits), Err(Error::Limit { .. })));
        }
    }

    #[test]
    fn a_sealed_file_that_is_no_manifest_names_itself() {
        for body in ["", "{}", "[1", r#"{"id":"../x"}"#, r#"{"id":"m/1","surprise":1}"#] {
            let bytes = sealed::seal(&KIND, body);
            let error = Manifest::decode(&"m/1".parse().unwrap(), "the/file", &bytes, &Limits::default()).unwrap_err();
            assert!(error.to_string().contains("the/file is damaged"), "{error}");
        }
    }
}
