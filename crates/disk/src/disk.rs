//! Durable changes to a disk: what was reported done survives a power cut.
//!
//! A file is written whole beside its place under a name ending in `#` and digits, flushed, moved into place, and its
//! folder flushed. Readers see the old file or the new one, never a part. `object_store`'s own local file system uses
//! such names for the same purpose, and hides them.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A disk, possibly one that is made to fail.
#[derive(Clone, Default)]
pub struct Disk {
    watch: Option<Arc<dyn Watch>>,
}

/// One change to a disk, announced before it is made.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// A folder is made.
    CreateFolder(&'a Path),
    /// Bytes go to the end of a file, which is made where none is.
    Write(&'a Path, &'a [u8]),
    /// A file's bytes are flushed.
    SyncFile(&'a Path),
    /// The file at the first path appears at the second as well, where nothing is.
    Link(&'a Path, &'a Path),
    /// The file at the first path takes the place of the second; or a folder goes where nothing is.
    Rename(&'a Path, &'a Path),
    /// A file vanishes.
    Remove(&'a Path),
    /// An empty folder vanishes.
    RemoveFolder(&'a Path),
    /// A folder's list of names is flushed.
    SyncFolder(&'a Path),
}

impl<'a> Step<'a> {
    /// The file or folder that changes; where two do, the one that appears.
    pub fn path(&self) -> &'a Path {
        match self {
            Step::CreateFolder(path)
            | Step::Write(path, _)
            | Step::SyncFile(path)
            | Step::Link(_, path)
            | Step::Rename(_, path)
            | Step::Remove(path)
            | Step::RemoveFolder(path)
            | Step::SyncFolder(path) => path,
        }
    }
}

/// Someone who sees every step before it is made, and may refuse it: see [`crate::fault`].
pub trait Watch: Send + Sync {
    /// An error is returned to whoever wanted the step, and the step is not made.
    fn before(&self, step: Step<'_>) -> io::Result<()>;
}

/// Writes a file whole or not at all, replacing what was there; returns once it would survive a power cut.
///
/// Folders on the way are made. On an error the old file is as it was.
pub fn atomic_write(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    Disk::default().replace(path.as_ref(), bytes)
}

impl Disk {
    /// A disk whose every change `watch` sees first.
    pub fn watched(watch: Arc<dyn Watch>) -> Disk {
        Disk { watch: Some(watch) }
    }

    /// See [`atomic_write`].
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.place(path, bytes)?;
        self.sync_folder(folder_of(path))
    }

    /// Like [`Disk::replace`], but the new name is sure to survive only after [`Disk::sync_folder`]: for many files
    /// in one folder.
    pub fn place(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.write_beside(path, bytes)?;
        self.rename(&temporary, path).inspect_err(|_| self.forget(&temporary))
    }

    /// Writes a new file whole; `false`, and nothing is changed, where a file is already.
    pub fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        let temporary = self.write_beside(path, bytes)?;
        // A link, unlike a rename, refuses to replace.
        let linked = self.link(&temporary, path);
        let removed = self.remove(&temporary);
        match linked {
            Ok(()) => removed.and_then(|()| self.sync_folder(folder_of(path))).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes files; those that are not there are passed over. Durable on return.
    pub fn delete(&self, paths: &[PathBuf]) -> io::Result<()> {
        let mut folders: Vec<&Path> = Vec::new();
        for path in paths {
            match self.remove(path) {
                Ok(()) => folders.push(folder_of(path)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        folders.sort_unstable();
        folders.dedup();
        folders.into_iter().try_for_each(|folder| self.sync_folder(folder))
    }

    /// Makes a folder and those above it.
    pub fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let above = folder_of(folder);
        self.create_folder(above)?;
        self.step(Step::CreateFolder(folder))?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        self.sync_folder(above)
    }

    /// Flushes a folder's list of names. Windows flushes it by itself and offers no call for it.
    pub fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(Step::SyncFolder(folder))?;
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    /// A flushed file under a temporary name beside `path`.
    fn write_beside(&self, path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        self.create_folder(folder_of(path))?;
        let temporary = unused_name(path);
        match self.write(&temporary, bytes) {
            Ok(()) => Ok(temporary),
            // Left by a process of the same number. It may be a second name of a published file: never reuse it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.write_beside(path, bytes),
            Err(error) => {
                self.forget(&temporary);
                Err(error)
            }
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(Step::Write(path, bytes))?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        self.step(Step::SyncFile(path))?;
        file.sync_all()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Link(from, to))?;
        fs::hard_link(from, to)
    }

    /// Moves a file, over one that is there, or a folder, to where nothing is. Durable once the folders of both names
    /// are flushed.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Rename(from, to))?;
        fs::rename(from, to)
    }

    /// Removes a file. Durable once its folder is flushed.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(Step::Remove(path))?;
        fs::remove_file(path)
    }

    /// Removes a file or a folder with all that is in it; what is not there is passed over. Durable once the folder
    /// that it lay in is flushed.
    pub fn remove_all(&self, path: &Path) -> io::Result<()> {
        let metadata = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if !metadata.is_dir() {
            return self.remove(path);
        }
        let mut inside = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        // So that a fault at the n-th step is the same fault every time.
        inside.sort_unstable();
        inside.iter().try_for_each(|path| self.remove_all(path))?;
        self.remove_folder(path)
    }

    /// Removes the temporary files in a folder and beneath it: what writes that never ended have left. Nobody may be
    /// writing there; a folder that is not there is passed over.
    pub fn sweep(&self, folder: &Path) -> io::Result<()> {
        let listing = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let mut inside = listing.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        inside.sort_unstable();
        let temporary = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(is_temporary);
        let (folders, files): (Vec<_>, Vec<_>) = inside.into_iter().partition(|path| path.is_dir());
        self.delete(&files.into_iter().filter(temporary).collect::<Vec<_>>())?;
        folders.iter().try_for_each(|folder| self.sweep(folder))
    }

    /// Removes an empty folder.
    pub fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(Step::RemoveFolder(folder))?;
        fs::remove_dir(folder)
    }

    /// Removes a temporary file after a failure, if the disk lets us; garbage collection finds it otherwise.
    pub(crate) fn forget(&self, temporary: &Path) {
        let _ = self.remove(temporary);
    }

    pub(crate) fn step(&self, step: Step<'_>) -> io::Result<()> {
        self.watch.as_ref().map_or(Ok(()), |watch| watch.before(step))
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.watch.is_some() { "Disk (watched)" } else { "Disk" })
    }
}

/// The folder a path lies in; `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Whether a file is one that a write which never ended has left.
pub fn is_temporary(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, id)| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A name beside `path` that this process has not used yet.
fn unused_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!("#{}{count:09}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/deep/file");
        for bytes in [&b"first"[..], b"", b"third"] {
            atomic_write(&path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(fs::read_dir(folder_of(&path)).unwrap().count(), 1);
    }

    #[test]
    fn creates_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(Disk::default().create(&path, b"mine").unwrap());
        assert!(!Disk::default().create(&path, b"theirs").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn removes_whatever_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tree");
        for name in ["a", "deep/b", "deep/er/c"] {
            atomic_write(path.join(name), b"leaf").unwrap();
        }
        for _ in 0..2 {
            Disk::default().remove_all(&path).unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn sweeps_what_writes_have_left_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let (kept, left) = (folder.path().join("deep/file"), unused_name(&folder.path().join("deep/er/file")));
        atomic_write(&kept, b"kept").unwrap();
        disk.create_folder(folder_of(&left)).unwrap();
        fs::write(&left, b"le").unwrap();
        disk.sweep(folder.path()).unwrap();
        assert!(kept.exists() && !left.exists());
        disk.sweep(&folder.path().join("nowhere")).unwrap();
    }

    #[test]
    fn temporary_names_are_known_as_such() {
        assert!(is_temporary(unused_name(Path::new("a/b")).file_name().unwrap().to_str().unwrap()));
        assert!(!is_temporary("b#") && !is_temporary("b") && !is_temporary("b#1x"));
    }
}
