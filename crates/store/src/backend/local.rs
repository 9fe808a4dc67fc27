//! A folder on a local disk.

use super::{Entry, Guard, Hold, ReadFiles, WriteFiles};
use crate::{Error, Result};
use perennial_disk::{Disk, is_temporary};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Files under `root`, written through a [`Disk`]. Claims are advisory locks, so those of a dead process are void.
#[derive(Debug)]
pub(crate) struct Local {
    root: PathBuf,
    disk: Disk,
}

impl Local {
    pub(crate) fn new(root: &Path, disk: Disk) -> Local {
        Local { root: root.to_owned(), disk }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Opens a file of `locks/`, which are never removed: a lock on a removed file excludes nobody.
    fn lock_file(&self, name: &str) -> Result<File> {
        let path = self.at("locks").join(name);
        self.disk.create_folder(&self.at("locks")).map_err(Error::io("make the folder of", &path))?;
        File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io("open", &path))
    }

    fn files(&self, folder: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        walk(&self.root, folder, &wanted, &mut entries).map_err(Error::io("list", self.at(folder)))?;
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }
}

impl ReadFiles for Local {
    fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let place = self.at(path);
        let error = Error::io("read", &place);
        match read(&place, limit) {
            Ok(Ok(bytes)) => Ok(Some(bytes)),
            Ok(Err(got)) => Err(Error::Limit { what: format!("the size of {}", place.display()), got, limit }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(error(source)),
        }
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        match fs::metadata(self.at(path)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::io("look at", self.at(path))(source)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        self.files(folder, |name| !is_temporary(name))
    }

    fn locate(&self, path: &str) -> String {
        self.at(path).display().to_string()
    }
}

impl WriteFiles for Local {
    fn put(&self, files: &[(String, &[u8])]) -> Result<()> {
        for (path, bytes) in files {
            self.disk.place(&self.at(path), bytes).map_err(Error::io("write", self.at(path)))?;
        }
        let mut folders: Vec<PathBuf> =
            files.iter().filter_map(|(path, _)| Some(self.at(path).parent()?.into())).collect();
        folders.sort_unstable();
        folders.dedup();
        folders.iter().try_for_each(|folder| self.disk.sync_folder(folder).map_err(Error::io("flush", folder)))
    }

    fn replace_if(&self, path: &str, expected: Option<&[u8]>, new: &[u8]) -> Result<bool> {
        let place = self.at(path);
        let Some(expected) = expected else {
            return self.disk.create(&place, new).map_err(Error::io("write", &place));
        };
        let lock = self.lock_file("replace")?;
        lock.lock().map_err(Error::io("lock", self.at("locks/replace")))?;
        match fs::read(&place) {
            Ok(bytes) if bytes == expected => {}
            Ok(_) => return Ok(false),
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(Error::io("read", &place)(source)),
        }
        self.disk.replace(&place, new).map_err(Error::io("write", &place))?;
        Ok(true)
    }

    fn delete(&self, paths: &[String]) -> Result<()> {
        let places: Vec<PathBuf> = paths.iter().map(|path| self.at(path)).collect();
        self.disk.delete(&places).map_err(Error::io("delete from", &self.root))
    }

    fn sweep(&self) -> Result<usize> {
        let left = self.files("", is_temporary)?;
        self.delete(&left.iter().map(|entry| entry.path.clone()).collect::<Vec<_>>())?;
        Ok(left.len())
    }

    fn hold(&self, hold: Hold<'_>) -> Result<Guard> {
        let file = self.lock_file("store")?;
        let (locked, other) = match hold {
            Hold::Adding(_) => (file.try_lock_shared(), "garbage collection or a deletion runs"),
            Hold::Alone => (file.try_lock(), "a version is being published, or garbage collection or a deletion runs"),
        };
        match locked {
            Ok(()) => Ok(Guard::new(file)),
            Err(TryLockError::WouldBlock) => {
                Err(Error::Busy { holder: format!("{other}; try again when it has ended") })
            }
            Err(TryLockError::Error(source)) => Err(Error::io("lock", self.at("locks/store"))(source)),
        }
    }

    fn void_claims(&self) -> Result<()> {
        // The system has unlocked what they had locked.
        Ok(())
    }
}

/// The bytes of a file, or its length if that is over the limit.
fn read(path: &Path, limit: u64) -> io::Result<std::result::Result<Vec<u8>, u64>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    if len > limit {
        return Ok(Err(len));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    // It may have grown since.
    file.by_ref().take(limit).read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}

/// Adds the files under `folder` (relative to `root`) whose names are wanted; a folder that is not there holds none.
fn walk(root: &Path, folder: &str, wanted: &impl Fn(&str) -> bool, entries: &mut Vec<Entry>) -> io::Result<()> {
    let listing = match fs::read_dir(root.join(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in listing {
        let entry = entry?;
        // A name that is not text cannot be one of ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if metadata.is_dir() {
            walk(root, &path, wanted, entries)?;
        } else if wanted(&name) {
            entries.push(Entry { path, bytes: metadata.len() });
        }
    }
    Ok(())
}
