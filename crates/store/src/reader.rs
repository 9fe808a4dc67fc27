//! The reading half of a store: all that a server needs.

use crate::backend::{Bucket, Local, ReadFiles};
use crate::bundle::no_object;
use crate::sealed::{self, Kind};
use crate::{AliasName, Error, Limits, Loaded, Manifest, Object, ObjectName, Result, VersionId};
use object_store::ObjectStore;
use perennial_core::Digest;
use perennial_disk::Disk;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Reads versions. Writes nothing, so it works on read-only media and beside any number of writers.
///
/// What it returns is what was published: every object is hashed as it is read.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(crate) files: Arc<dyn ReadFiles>,
    pub(crate) limits: Limits,
}

pub(crate) const ALIAS: Kind = Kind { magic: "perennial-alias", what: "alias", format: 1 };

/// Bytes of an alias: two names and a header fit with room to spare.
pub(crate) const ALIAS_BYTES: u64 = 4096;

impl Reader {
    /// Opens a folder. One that is empty or not there is a store without versions.
    pub fn open(folder: impl AsRef<Path>) -> Reader {
        Reader::new(Arc::new(Local::new(folder.as_ref(), Disk::default())))
    }

    /// Reads from any object store; see [`crate::Store::in_bucket`].
    pub fn in_bucket(bucket: Arc<dyn ObjectStore>) -> Reader {
        Reader::new(Arc::new(Bucket::new(bucket)))
    }

    pub(crate) fn new(files: Arc<dyn ReadFiles>) -> Reader {
        Reader { files, limits: Limits::default() }
    }

    /// Accepts other sizes than the default.
    pub fn with_limits(mut self, limits: Limits) -> Reader {
        self.limits = limits;
        self
    }

    /// The versions whose names begin with `prefix`, in order of their names.
    pub fn list(&self, prefix: &str) -> Result<Vec<VersionId>> {
        let entries = self.files.list("versions")?;
        let names = entries.iter().filter_map(|entry| name_in("versions/", &entry.path, ".manifest"));
        // A file whose name is none of ours is none of our files.
        let mut ids: Vec<VersionId> = names.filter_map(|name| name.parse().ok()).collect();
        ids.retain(|id| id.as_str().starts_with(prefix));
        ids.sort_unstable();
        Ok(ids)
    }

    /// What a version consists of and where it came from.
    pub fn manifest(&self, id: &VersionId) -> Result<Manifest> {
        self.find_manifest(id)?.ok_or_else(|| Error::NoVersion { id: id.clone() })
    }

    pub(crate) fn find_manifest(&self, id: &VersionId) -> Result<Option<Manifest>> {
        let path = manifest_path(id);
        let Some(bytes) = self.files.get(&path, self.limits.manifest_bytes)? else { return Ok(None) };
        Manifest::decode(id, &self.files.locate(&path), &bytes, &self.limits).map(Some)
    }

    /// A whole version, every object checked. An object that is missing, cut short or altered is named in the error.
    pub fn load(&self, id: &VersionId) -> Result<Loaded> {
        let manifest = self.manifest(id)?;
        let mut objects = BTreeMap::new();
        for (name, object) in &manifest.objects {
            objects.insert(name.clone(), self.read(id, name, object)?);
        }
        Ok(Loaded { manifest, objects })
    }

    /// One object of a version, checked: for those who do not want the rest.
    pub fn load_object(&self, manifest: &Manifest, name: &str) -> Result<Vec<u8>> {
        let (name, object) = manifest.objects.get_key_value(name).ok_or_else(|| no_object(manifest, name))?;
        self.read(&manifest.id, name, object)
    }

    fn read(&self, id: &VersionId, name: &ObjectName, object: &Object) -> Result<Vec<u8>> {
        let path = object_path(&object.digest);
        let damaged = |problem: String| Error::Damaged {
            id: id.clone(),
            object: name.clone(),
            path: self.files.locate(&path),
            problem,
        };
        match self.files.size(&path)? {
            None => return Err(damaged("the file is missing".into())),
            Some(found) if found != object.bytes => {
                return Err(damaged(format!("it has {found} bytes, expected {}", object.bytes)));
            }
            Some(_) => {}
        }
        let bytes = self.files.get(&path, object.bytes)?.ok_or_else(|| damaged("the file has just vanished".into()))?;
        match Digest::of_bytes(&bytes) {
            found if found == object.digest => Ok(bytes),
            found => Err(damaged(format!("its bytes have digest {found}, expected {}", object.digest))),
        }
    }

    /// The version an alias points to.
    pub fn alias(&self, alias: &AliasName) -> Result<VersionId> {
        self.find_alias(alias)?.map(|(id, _)| id).ok_or_else(|| Error::NoAlias { alias: alias.clone() })
    }

    /// All aliases and the versions they point to.
    pub fn aliases(&self) -> Result<BTreeMap<AliasName, VersionId>> {
        let entries = self.files.list("aliases")?;
        let names = entries.iter().filter_map(|entry| name_in("aliases/", &entry.path, "")?.parse::<AliasName>().ok());
        let mut aliases = BTreeMap::new();
        for name in names {
            if let Some((id, _)) = self.find_alias(&name)? {
                aliases.insert(name, id);
            }
        }
        Ok(aliases)
    }

    /// The version an alias points to, and the bytes of the file that says so.
    pub(crate) fn find_alias(&self, alias: &AliasName) -> Result<Option<(VersionId, Vec<u8>)>> {
        let path = alias_path(alias);
        let Some(bytes) = self.files.get(&path, ALIAS_BYTES)? else { return Ok(None) };
        let place = self.files.locate(&path);
        let body = sealed::open(&ALIAS, &place, &bytes)?;
        let id = body
            .trim_end()
            .parse()
            .map_err(|error: Error| Error::DamagedFile { path: place, problem: error.to_string() })?;
        Ok(Some((id, bytes)))
    }
}

pub(crate) fn manifest_path(id: &VersionId) -> String {
    format!("versions/{id}.manifest")
}

pub(crate) fn object_path(digest: &Digest) -> String {
    format!("objects/{digest}")
}

pub(crate) fn alias_path(alias: &AliasName) -> String {
    format!("aliases/{alias}")
}

fn name_in<'a>(folder: &str, path: &'a str, suffix: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_suffix(suffix)
}
