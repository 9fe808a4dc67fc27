//! A file that appears under its name only when it is whole, filled piece by piece.

use crate::{Disk, NewFile, folder_of};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file in the making, `<name>.partial` beside its place. Dropped unfinished it vanishes, and what is at its place
/// stays.
///
/// Unlike [`Disk::replace`] it does not need all bytes at once, and it takes the name for itself: one writer at a time.
/// The draft of a writer that was killed is removed by the next.
#[derive(Debug)]
pub struct Draft {
    file: NewFile,
    place: PathBuf,
    placed: bool,
}

impl Disk {
    /// Starts a draft of `path`, whose folder must be there.
    pub fn draft(&self, path: &Path) -> io::Result<Draft> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        if partial.exists() {
            self.remove(&partial)?;
        }
        Ok(Draft { file: self.new_file(&partial)?, place: path.to_owned(), placed: false })
    }
}

impl Draft {
    /// Gives the file its name, in place of what had it; durable on return.
    pub fn finish(self) -> io::Result<()> {
        let (disk, place) = (self.file.disk().clone(), self.place.clone());
        self.place()?;
        disk.sync_folder(folder_of(&place))
    }

    /// Like [`Draft::finish`], but the name is sure to survive only after [`Disk::sync_folder`]: for many files in one
    /// folder.
    pub fn place(mut self) -> io::Result<()> {
        self.file.sync()?;
        self.file.disk().rename(self.file.path(), &self.place)?;
        self.placed = true;
        Ok(())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            self.file.disk().forget(self.file.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Faults, Survives};
    use std::fs;

    fn draft(disk: &Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut draft = disk.draft(path)?;
        draft.write_all(bytes)?;
        draft.finish()
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        draft(&Disk::default(), &path, b"old").unwrap();
        let mut unfinished = Disk::default().draft(&path).unwrap();
        unfinished.write_all(b"new").unwrap();
        drop(unfinished);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    /// Whatever is cut, the file is the old one or the new one, and a second attempt makes it the new one.
    #[test]
    fn cut_anywhere_it_is_old_or_new() {
        let faults = [Survives::Everything, Survives::Names, Survives::Nothing].map(Fault::PowerCut);
        for fault in faults.into_iter().chain([Fault::Error(io::ErrorKind::StorageFull)]) {
            for step in 0.. {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("file");
                draft(&Disk::default(), &path, b"old").unwrap();
                let cut = Faults::at(step, fault);
                let attempt = draft(&Disk::watched(cut.clone()), &path, b"newer");
                if attempt.is_ok() {
                    assert_eq!(cut.steps(), step, "{fault:?}: every step was cut");
                    break;
                }
                let found = fs::read(&path).unwrap();
                assert!(found == b"old" || found == b"newer", "{fault:?} at {step}: {found:?}");
                draft(&Disk::default(), &path, b"newer").unwrap();
                assert_eq!(fs::read(&path).unwrap(), b"newer");
                assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
            }
        }
    }
}
