//! Any object store with conditional writes.

use super::{Entry, Guard, Hold, ReadFiles, WriteFiles};
use crate::{Error, Result};
use futures::StreamExt;
use futures::executor::block_on;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use std::sync::Arc;

/// Files in an object store. Calls block; nothing of an executor leaves this file.
///
/// Claims are objects under `leases/`, written before they are looked for: of two that exclude each other, each
/// writes its own first, so at least one sees the other (the store must list what it has acknowledged, as all large
/// ones do). A claim to add is named for what is added, so that whoever repeats a publish that died takes over its
/// claim.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
}

const ALONE: &str = "leases/alone";
const ADDING: &str = "leases/adding";

impl Bucket {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Bucket {
        Bucket { store }
    }

    /// The bytes of a file and what names this state of it.
    fn read(&self, path: &str, limit: u64) -> Result<Option<(Vec<u8>, UpdateVersion)>> {
        let Some(result) = found(block_on(self.store.get(&key(path)))).map_err(failed("read", path))? else {
            return Ok(None);
        };
        if result.meta.size > limit {
            return Err(Error::Limit { what: format!("the size of {path}"), got: result.meta.size, limit });
        }
        let state = UpdateVersion { e_tag: result.meta.e_tag.clone(), version: result.meta.version.clone() };
        let bytes = block_on(result.bytes()).map_err(failed("read", path))?;
        Ok(Some((bytes.to_vec(), state)))
    }

    /// A write that may find its condition unmet.
    fn put_if(&self, path: &str, bytes: &[u8], mode: PutMode) -> Result<bool> {
        let options = PutOptions { mode, ..PutOptions::default() };
        match block_on(self.store.put_opts(&key(path), payload(bytes), options)) {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(source) => Err(failed("write", path)(source)),
        }
    }

    fn hold_adding(&self, what: &str) -> Result<Guard> {
        let lease = Lease { bucket: self.clone(), path: format!("{ADDING}/{what}") };
        self.put(&[(lease.path.clone(), b"".as_slice())])?;
        match self.size(ALONE)? {
            None => Ok(Guard::new(lease)),
            Some(_) => Err(busy(ALONE)),
        }
    }

    fn hold_alone(&self) -> Result<Guard> {
        if !self.put_if(ALONE, b"", PutMode::Create)? {
            return Err(busy(ALONE));
        }
        let lease = Lease { bucket: self.clone(), path: ALONE.into() };
        match self.list(ADDING)?.first() {
            None => Ok(Guard::new(lease)),
            Some(entry) => Err(busy(&entry.path)),
        }
    }
}

impl ReadFiles for Bucket {
    fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.read(path, limit)?.map(|(bytes, _)| bytes))
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        let meta = found(block_on(self.store.head(&key(path)))).map_err(failed("look at", path))?;
        Ok(meta.map(|meta| meta.size))
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        let found: Vec<object_store::Result<ObjectMeta>> = block_on(self.store.list(Some(&key(folder))).collect());
        let mut entries = Vec::with_capacity(found.len());
        for meta in found {
            let meta = meta.map_err(failed("list", folder))?;
            entries.push(Entry { path: meta.location.to_string(), bytes: meta.size });
        }
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    fn locate(&self, path: &str) -> String {
        format!("{path} of {}", self.store)
    }
}

impl WriteFiles for Bucket {
    fn put(&self, files: &[(String, &[u8])]) -> Result<()> {
        for (path, bytes) in files {
            block_on(self.store.put(&key(path), payload(bytes))).map_err(failed("write", path))?;
        }
        Ok(())
    }

    fn replace_if(&self, path: &str, expected: Option<&[u8]>, new: &[u8]) -> Result<bool> {
        let Some(expected) = expected else {
            return self.put_if(path, new, PutMode::Create);
        };
        match self.read(path, expected.len() as u64) {
            Ok(Some((bytes, state))) if bytes == expected => self.put_if(path, new, PutMode::Update(state)),
            Ok(_) | Err(Error::Limit { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn delete(&self, paths: &[String]) -> Result<()> {
        for path in paths {
            found(block_on(self.store.delete(&key(path)))).map_err(failed("delete", path))?;
        }
        Ok(())
    }

    fn sweep(&self) -> Result<usize> {
        // An object store shows an object when all of it has arrived.
        Ok(0)
    }

    fn hold(&self, hold: Hold<'_>) -> Result<Guard> {
        match hold {
            Hold::Adding(what) => self.hold_adding(what),
            Hold::Alone => self.hold_alone(),
        }
    }

    fn void_claims(&self) -> Result<()> {
        let paths: Vec<String> = self.list("leases")?.into_iter().map(|entry| entry.path).collect();
        self.delete(&paths)
    }
}

/// Takes a claim back when dropped. If that fails the claim stays, and whoever meets it is told of it.
struct Lease {
    bucket: Bucket,
    path: String,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = self.bucket.delete(std::slice::from_ref(&self.path));
    }
}

fn busy(path: &str) -> Error {
    let holder = format!(
        "{path} claims it. Try again when that has ended; if whoever wrote it has died, delete that object or call \
         `Store::void_claims`"
    );
    Error::Busy { holder }
}

fn key(path: &str) -> Path {
    Path::from(path)
}

fn payload(bytes: &[u8]) -> PutPayload {
    PutPayload::from(bytes.to_vec())
}

fn failed(action: &'static str, path: &str) -> impl FnOnce(object_store::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Bucket { action, path, source }
}

/// Absent is `None`.
fn found<T>(result: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
