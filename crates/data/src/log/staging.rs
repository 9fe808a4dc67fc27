//! The directory in which a log is made, out of sight until it is whole.

use super::{BAD_ROWS_FILE, MANIFEST_FILE, PARTS_DIR, SCHEMA_FILE, STAGING_DIR};
use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The directory in which a log is made, locked against other writers and removed when dropped.
pub(super) struct Staging {
    pub(super) path: PathBuf,
    /// Whether the log's own directory was made for it, and goes with it.
    made_dir: bool,
    /// Held for its lock.
    _lock: File,
}

impl Staging {
    pub(super) fn open(dir: &Path, replace: bool) -> Result<Staging> {
        let made_dir = !dir.exists();
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let path = dir.join(STAGING_DIR);
        check_free(dir, &path, replace)?;
        fs::create_dir_all(&path).map_err(Error::io(&path))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(Error::io(&lock_path))?;
        if lock.try_lock().is_err() {
            let problem = "another import is writing here; wait for it or choose another directory".to_owned();
            return Err(Error::Occupied { dir: dir.to_owned(), problem });
        }
        let parts = path.join(PARTS_DIR);
        remove_remains(&path)?;
        fs::create_dir(&parts).map_err(Error::io(&parts))?;
        Ok(Staging { path, made_dir, _lock: lock })
    }

    /// Moves the files into place. A kill during this leaves a directory without a manifest, never a mixed log.
    pub(super) fn publish(self, dir: &Path) -> Result<()> {
        sync_dir(&self.path.join(PARTS_DIR))?;
        remove_if_there(&dir.join(MANIFEST_FILE))?;
        for name in [PARTS_DIR, SCHEMA_FILE, BAD_ROWS_FILE, MANIFEST_FILE] {
            let (from, to) = (self.path.join(name), dir.join(name));
            if name != MANIFEST_FILE {
                remove_if_there(&to)?;
            }
            if from.exists() {
                fs::rename(&from, &to).map_err(Error::io(&to))?;
            }
            sync_dir(dir)?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    /// What cannot be removed here is removed by the next writer.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        if let Some(dir) = self.path.parent().filter(|_| self.made_dir) {
            let _ = fs::remove_dir(dir); // refused if the log was moved in
        }
    }
}

fn check_free(dir: &Path, staging: &Path, replace: bool) -> Result<()> {
    let occupied = |problem: &str| Err(Error::Occupied { dir: dir.to_owned(), problem: problem.to_owned() });
    if dir.join(MANIFEST_FILE).exists() {
        return if replace { Ok(()) } else { occupied("holds a log already; choose another directory or use --force") };
    }
    let empty = fs::read_dir(dir).map_err(Error::io(dir))?.next().is_none();
    if empty || staging.exists() { Ok(()) } else { occupied("is not empty and not a log; choose another directory") }
}

/// Empties the staging directory of a writer that was killed.
fn remove_remains(staging: &Path) -> Result<()> {
    for entry in fs::read_dir(staging).map_err(Error::io(staging))? {
        let path = entry.map_err(Error::io(staging))?.path();
        if !path.ends_with("lock") {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

/// Writes a small file that must last.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(Error::io(path))
}

/// Makes renames in a directory last through a power cut.
fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io(dir))
}
