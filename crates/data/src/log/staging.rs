//! The directory in which a log is made, out of sight until it is whole.

use super::{BAD_ROWS_FILE, MANIFEST_FILE, PARTS_DIR, SCHEMA_FILE, STAGING_DIR};
use crate::error::{Error, Result};
use perennial_disk::Disk;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The directory in which a log is made, locked against other writers and removed when dropped.
pub(super) struct Staging {
    pub(super) path: PathBuf,
    pub(super) disk: Disk,
    /// Whether the log's own directory was made for it, and goes with it.
    made_dir: bool,
    /// Whether files are being moved out of it. If that fails it stays: it says that the directory is a writer's.
    moving: bool,
    /// Held for its lock.
    _lock: File,
}

impl Staging {
    pub(super) fn open(disk: &Disk, dir: &Path, replace: bool) -> Result<Staging> {
        let made_dir = !dir.exists();
        disk.create_folder(dir).map_err(Error::io(dir))?;
        let path = dir.join(STAGING_DIR);
        check_free(dir, &path, replace)?;
        disk.create_folder(&path).map_err(Error::io(&path))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(Error::io(&lock_path))?;
        if lock.try_lock().is_err() {
            let problem = "another import is writing here; wait for it or choose another directory".to_owned();
            return Err(Error::Occupied { dir: dir.to_owned(), problem });
        }
        let staging = Staging { path, disk: disk.clone(), made_dir, moving: false, _lock: lock };
        staging.remove_remains()?;
        let parts = staging.path.join(PARTS_DIR);
        disk.create_folder(&parts).map_err(Error::io(&parts))?;
        Ok(staging)
    }

    /// Moves the files into place. A kill during this leaves a directory without a manifest, never a mixed log.
    pub(super) fn publish(mut self, dir: &Path) -> Result<()> {
        self.sync(&self.path.join(PARTS_DIR))?;
        self.sync(&self.path)?;
        self.moving = true;
        self.remove(&dir.join(MANIFEST_FILE))?;
        self.sync(dir)?;
        for name in [PARTS_DIR, SCHEMA_FILE, BAD_ROWS_FILE, MANIFEST_FILE] {
            let (from, to) = (self.path.join(name), dir.join(name));
            self.remove(&to)?;
            if from.exists() {
                self.disk.rename(&from, &to).map_err(Error::io(&to))?;
            }
            self.sync(dir)?;
        }
        self.moving = false;
        Ok(())
    }

    /// Writes a small file that must last.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let write = || {
            let mut file = self.disk.new_file(&path)?;
            file.write_all(bytes)?;
            file.sync()
        };
        write().map_err(Error::io(&path))
    }

    /// Empties the staging directory of a writer that was killed.
    fn remove_remains(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).map_err(Error::io(&self.path))? {
            let path = entry.map_err(Error::io(&self.path))?.path();
            if !path.ends_with("lock") {
                self.remove(&path)?;
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.disk.remove_all(path).map_err(Error::io(path))
    }

    /// Makes renames in a directory last through a power cut.
    fn sync(&self, dir: &Path) -> Result<()> {
        self.disk.sync_folder(dir).map_err(Error::io(dir))
    }
}

impl Drop for Staging {
    /// What cannot be removed here is removed by the next writer.
    fn drop(&mut self) {
        if self.moving || self.disk.remove_all(&self.path).is_err() {
            return;
        }
        if let Some(dir) = self.path.parent().filter(|_| self.made_dir) {
            let _ = self.disk.remove_folder(dir); // refused if the log was moved in
        }
    }
}

fn check_free(dir: &Path, staging: &Path, replace: bool) -> Result<()> {
    let occupied = |problem: &str| Err(Error::Occupied { dir: dir.to_owned(), problem: problem.to_owned() });
    if dir.join(MANIFEST_FILE).exists() {
        return if replace {
            Ok(())
        } else {
            occupied("holds a log already; choose another directory or use --replace")
        };
    }
    let empty = fs::read_dir(dir).map_err(Error::io(dir))?.next().is_none();
    if empty || staging.exists() { Ok(()) } else { occupied("is not empty and not a log; choose another directory") }
}
