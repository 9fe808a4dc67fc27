//! The writing half: versions are published whole, aliases move, versions go.

use crate::backend::{Bucket, Guard, Hold, Local, WriteFiles};
use crate::reader::{ALIAS, alias_path, manifest_path, object_path};
use crate::{AliasName, Bundle, Error, Limits, Manifest, Reader, Result, VersionId, sealed};
use object_store::ObjectStore;
use perennial_core::Digest;
use perennial_disk::Disk;
use std::collections::HashSet;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Publishes versions, and does all that a [`Reader`] does.
///
/// Every change is atomic and durable: after a crash at any moment each version is either listed and whole, or not
/// there, and each alias points where it did or where it was told to. Any number of processes may use one store.
#[derive(Debug, Clone)]
pub struct Store {
    reader: Reader,
    pub(crate) files: Arc<dyn WriteFiles>,
    /// Objects that this store has written, or read and found whole: one that was there before is read once.
    whole: Arc<Mutex<HashSet<Digest>>>,
}

/// What became of a bundle that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is there now.
    New,
    /// A version of this name and content had been published before.
    Same,
}

impl Store {
    /// Opens a folder, making it if it is not there.
    pub fn open(folder: impl AsRef<Path>) -> Result<Store> {
        Store::on_disk(folder, Disk::default())
    }

    /// Opens a folder on a disk that may be one made to fail.
    pub fn on_disk(folder: impl AsRef<Path>, disk: Disk) -> Result<Store> {
        let folder = folder.as_ref();
        disk.create_folder(folder).map_err(Error::io("make the folder", folder))?;
        Ok(Store::new(Arc::new(Local::new(folder, disk))))
    }

    /// Opens a store in a bucket, which must offer conditional writes ([`object_store::PutMode::Update`]).
    ///
    /// Calls block the thread they are made on. The clients of clouds do their I/O on a Tokio runtime: build them with
    /// [`object_store::client::SpawnedReqwestConnector`](https://docs.rs/object_store/latest/object_store/client/)
    /// on the handle of one. Tested on an in-process store only.
    pub fn in_bucket(bucket: Arc<dyn ObjectStore>) -> Store {
        Store::new(Arc::new(Bucket::new(bucket)))
    }

    pub(crate) fn new<F: WriteFiles + 'static>(files: Arc<F>) -> Store {
        Store { reader: Reader::new(files.clone()), files, whole: Arc::default() }
    }

    /// Accepts other sizes than the default.
    pub fn with_limits(mut self, limits: Limits) -> Store {
        self.reader.limits = limits;
        self
    }

    /// The half that only reads.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Makes a version of a bundle: its objects first, except those that are there, its manifest last.
    ///
    /// Repeating it after a crash is the way to recover; a version of the same name and content is left as it is.
    /// Costs one hash of every byte, and a write of every object that no other version shares.
    pub fn publish(&self, id: &VersionId, bundle: &Bundle) -> Result<Published> {
        let manifest = Manifest::of(id, bundle)?;
        let encoded = manifest.encode(&self.limits)?;
        let _guard = self.hold(Hold::Adding(&format!("version/{id}")))?;
        if self.is_published(&manifest)? {
            return Ok(Published::Same);
        }
        self.put_missing(&manifest, bundle)?;
        if self.files.replace_if(&manifest_path(id), None, &encoded)? {
            return Ok(Published::New);
        }
        // Somebody was faster. That is an error unless they published the same.
        self.is_published(&manifest).map(|_| Published::Same)
    }

    /// Whether a version of this name and content exists; another content under the name is an error.
    fn is_published(&self, offered: &Manifest) -> Result<bool> {
        match self.find_manifest(&offered.id)? {
            None => Ok(false),
            Some(stored) if stored.content == offered.content => Ok(true),
            Some(stored) => Err(Error::Conflict { id: stored.id, stored: stored.content, offered: offered.content }),
        }
    }

    fn put_missing(&self, manifest: &Manifest, bundle: &Bundle) -> Result<()> {
        let mut missing = Vec::new();
        for (name, bytes) in &bundle.objects {
            let digest = manifest.objects[name.as_str()].digest;
            let path = object_path(&digest);
            if !self.is_whole(&path, &digest, bytes)? {
                missing.push((path, bytes.as_slice()));
            }
        }
        missing.sort_unstable();
        missing.dedup();
        self.files.put(&missing)?;
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        whole.extend(bundle.objects.iter().map(|(name, _)| manifest.objects[name.as_str()].digest));
        Ok(())
    }

    /// Whether an object is there as it should be. A damaged one counts as missing: it is written again.
    fn is_whole(&self, path: &str, digest: &Digest, bytes: &[u8]) -> Result<bool> {
        let known = self.whole.lock().unwrap_or_else(PoisonError::into_inner).contains(digest);
        if self.files.size(path)? != Some(bytes.len() as u64) {
            return Ok(false);
        }
        Ok(known || self.files.get(path, bytes.len() as u64)?.as_deref() == Some(bytes))
    }

    /// Points an alias at a version if it now points where the caller believes (`None`: nowhere).
    pub fn set_alias(&self, alias: &AliasName, expected: Option<&VersionId>, new: &VersionId) -> Result<()> {
        let _guard = self.hold(Hold::Adding(&format!("alias/{alias}")))?;
        self.manifest(new)?;
        let found = self.find_alias(alias)?;
        let (found, bytes) = found.map_or((None, None), |(id, bytes)| (Some(id), Some(bytes)));
        let sealed = sealed::seal(&ALIAS, &format!("{new}\n"));
        if found.as_ref() == expected && self.files.replace_if(&alias_path(alias), bytes.as_deref(), &sealed)? {
            return Ok(());
        }
        let found = self.find_alias(alias)?.map(|(id, _)| id);
        Err(Error::AliasMoved { alias: alias.clone(), expected: expected.cloned(), found })
    }

    /// Removes an alias, even one that cannot be read; its version stays.
    pub fn remove_alias(&self, alias: &AliasName) -> Result<()> {
        let _guard = self.hold(Hold::Alone)?;
        if self.files.size(&alias_path(alias))?.is_none() {
            return Err(Error::NoAlias { alias: alias.clone() });
        }
        self.files.delete(&[alias_path(alias)])
    }

    /// Removes a version, even one whose manifest cannot be read; its objects go with the next garbage collection.
    pub fn delete(&self, id: &VersionId) -> Result<()> {
        let _guard = self.hold(Hold::Alone)?;
        if let Some((alias, id)) = self.aliases()?.into_iter().find(|(_, version)| version == id) {
            return Err(Error::InUse { id, alias });
        }
        if self.files.size(&manifest_path(id))?.is_none() {
            return Err(Error::NoVersion { id: id.clone() });
        }
        self.files.delete(&[manifest_path(id)])
    }

    /// Ends the claims that dead processes have left in a bucket; call it only when nobody else writes there. In a folder
    /// there is nothing to do: the system ends the claims of the dead.
    pub fn void_claims(&self) -> Result<()> {
        self.files.void_claims()
    }

    /// Claims the store, waiting a little: what others do there is short.
    pub(crate) fn hold(&self, hold: Hold<'_>) -> Result<Guard> {
        for _ in 0..200 {
            match self.files.hold(hold) {
                Err(Error::Busy { .. }) => std::thread::sleep(Duration::from_millis(10)),
                other => return other,
            }
        }
        self.files.hold(hold)
    }
}

/// A store can do all that its reader can.
impl Deref for Store {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}
