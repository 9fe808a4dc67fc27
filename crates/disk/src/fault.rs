//! Disks that fail on cue, and leave what a crash would leave.
//!
//! A [`Faults`] sees every [`Step`] of a [`Disk`](crate::Disk) before it is made. Count the steps of an undisturbed
//! run, then cut each in turn, open what is left, and run again:
//!
//! ```
//! use perennial_disk::fault::{Fault, Faults, Survives};
//! use perennial_disk::{Disk, atomic_write};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("file");
//! let undisturbed = Faults::none();
//! Disk::watched(undisturbed.clone()).replace(&path, b"old")?;
//! for step in 0..undisturbed.steps() {
//!     let cut = Faults::at(step, Fault::PowerCut(Survives::Nothing));
//!     assert!(Disk::watched(cut).replace(&path, b"new").is_err());
//!     assert_eq!(std::fs::read(&path)?, b"old");
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

use crate::{Step, Watch, folder_of};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A fault at one step of a disk.
#[derive(Debug)]
pub struct Faults {
    at: Option<(usize, Fault)>,
    state: Mutex<State>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The step fails with this error; if it fills a file, half of the bytes are there. What comes after succeeds.
    Error(io::ErrorKind),
    /// The step and all after it are refused, and of what was not flushed only this survives.
    PowerCut(Survives),
}

/// What a power cut leaves of changes that were made but not flushed. A real disk may leave any mixture; these are
/// the corners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// All of it, as when only the process was killed.
    Everything,
    /// The names, but only half of the bytes.
    Names,
    /// Neither names nor bytes.
    Nothing,
}

#[derive(Debug, Default)]
struct State {
    steps: usize,
    dark: bool,
    /// Files whose bytes were not flushed.
    unsynced: BTreeSet<PathBuf>,
    /// What was at each changed name before, in order of the changes, as long as the folder was not flushed.
    before: Vec<(PathBuf, Before)>,
}

#[derive(Debug)]
enum Before {
    Nothing,
    File(Vec<u8>),
    /// An empty folder.
    Folder,
    /// The folder that is here now was there.
    At(PathBuf),
}

impl Faults {
    /// Nothing goes wrong; steps are counted.
    pub fn none() -> Arc<Faults> {
        Arc::new(Faults { at: None, state: Mutex::default() })
    }

    /// `fault` strikes at the step of this index, from 0.
    pub fn at(step: usize, fault: Fault) -> Arc<Faults> {
        Arc::new(Faults { at: Some((step, fault)), state: Mutex::default() })
    }

    /// Number of steps seen so far, refused ones included.
    pub fn steps(&self) -> usize {
        self.state().steps
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Faults {
    fn before(&self, step: Step<'_>) -> io::Result<()> {
        let mut state = self.state();
        let index = state.steps;
        state.steps += 1;
        if state.dark {
            return Err(io::Error::other("the power is out"));
        }
        let fault = self.at.and_then(|(at, fault)| (at == index).then_some(fault));
        if fault.is_some()
            && let Step::Write(path, bytes) = step
        {
            let file = fs::File::options().create(true).append(true).open(path);
            file.and_then(|mut file| file.write_all(&bytes[..bytes.len() / 2]))?;
        }
        match fault {
            None => state.note(step),
            Some(Fault::Error(kind)) => Err(io::Error::new(kind, "a fault was asked for")),
            Some(Fault::PowerCut(survives)) => {
                state.go_dark(survives)?;
                Err(io::Error::other("the power went out"))
            }
        }
    }
}

impl State {
    /// Remembers how to undo a step that has not been flushed, and forgets what this step flushes.
    fn note(&mut self, step: Step<'_>) -> io::Result<()> {
        match step {
            Step::CreateFolder(path) => self.before.push((path.into(), Before::Nothing)),
            Step::Write(path, _) => {
                self.unsynced.insert(path.into());
                if !path.exists() {
                    self.before.push((path.into(), Before::Nothing));
                }
            }
            Step::SyncFile(path) => drop(self.unsynced.remove(path)),
            // This step will fail, and so changes nothing.
            Step::Link(_, to) if to.exists() => {}
            Step::Link(from, to) => {
                if self.unsynced.contains(from) {
                    self.unsynced.insert(to.into());
                }
                self.before.push((to.into(), Before::Nothing));
            }
            Step::Rename(from, to) if from.is_dir() => {
                let moved = |path: PathBuf| path.strip_prefix(from).map_or(path.clone(), |rest| to.join(rest));
                self.unsynced = std::mem::take(&mut self.unsynced).into_iter().map(moved).collect();
                self.before.push((to.into(), Before::At(from.into())));
            }
            Step::Rename(from, to) => {
                if self.unsynced.remove(from) {
                    self.unsynced.insert(to.into());
                }
                for path in [from, to] {
                    self.remember(path)?;
                }
            }
            Step::Remove(path) => self.remember(path)?,
            Step::RemoveFolder(path) => self.before.push((path.into(), Before::Folder)),
            Step::SyncFolder(folder) => self.settle(folder),
        }
        Ok(())
    }

    /// Forgets what is in a folder, and what was in folders that it no longer holds.
    fn settle(&mut self, folder: &Path) {
        let removed = |(path, before): &(PathBuf, Before)| {
            (matches!(before, Before::Folder) && folder_of(path) == folder).then(|| path.clone())
        };
        let removed: Vec<PathBuf> = self.before.iter().filter_map(removed).collect();
        let settled = |path: &Path| folder_of(path) == folder || removed.iter().any(|gone| path.starts_with(gone));
        self.before.retain(|(path, _)| !settled(path));
    }

    fn remember(&mut self, path: &Path) -> io::Result<()> {
        let before = match fs::read(path) {
            Ok(bytes) => Before::File(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Before::Nothing,
            Err(error) => return Err(error),
        };
        self.before.push((path.into(), before));
        Ok(())
    }

    /// Turns the disk into what is found when the power returns.
    fn go_dark(&mut self, survives: Survives) -> io::Result<()> {
        self.dark = true;
        if survives == Survives::Everything {
            return Ok(());
        }
        for path in &self.unsynced {
            if let Ok(file) = fs::File::options().write(true).open(path) {
                file.set_len(file.metadata()?.len() / 2)?;
            }
        }
        if survives == Survives::Nothing {
            for (path, before) in self.before.drain(..).rev() {
                put_back(&path, before)?;
            }
        }
        Ok(())
    }
}

fn put_back(path: &Path, before: Before) -> io::Result<()> {
    let done = match before {
        Before::File(bytes) => fs::remove_file(path).or_else(absent).and_then(|()| fs::write(path, bytes)),
        Before::Folder => fs::create_dir(path),
        Before::At(from) => fs::rename(path, from),
        Before::Nothing if path.is_dir() => fs::remove_dir_all(path),
        Before::Nothing => fs::remove_file(path),
    };
    done.or_else(absent)
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Disk, atomic_write};

    /// A folder moved and another removed, neither flushed: both are back, with what was in them.
    #[test]
    fn folders_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["new/a", "old/b"] {
            atomic_write(path(name), name.as_bytes()).unwrap();
        }
        let swap = |disk: &Disk| {
            disk.remove_all(&path("old"))?;
            disk.rename(&path("new"), &path("old"))?;
            disk.sync_folder(folder.path())
        };
        // Remove, remove the folder, rename, flush: cut the last.
        let cut = Faults::at(3, Fault::PowerCut(Survives::Nothing));
        assert!(swap(&Disk::watched(cut)).is_err());
        assert_eq!(
            (fs::read(path("new/a")).unwrap(), fs::read(path("old/b")).unwrap()),
            (b"new/a".into(), b"old/b".into())
        );
        let cut = Faults::at(4, Fault::PowerCut(Survives::Nothing));
        let disk = Disk::watched(cut);
        swap(&disk).unwrap();
        assert!(disk.remove(&path("old/a")).is_err());
        assert_eq!(fs::read(path("old/a")).unwrap(), b"new/a", "what was flushed stays");
        assert!(!path("new").exists() && !path("old/b").exists());
    }

    /// The watch itself must be able to lose things, or the tests that use it prove nothing.
    #[test]
    fn what_is_not_flushed_is_lost() {
        let careless = |survives| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            fs::write(&path, b"old").unwrap();
            // The last step of a replacement flushes the folder: cut it.
            let faults = Faults::at(3, Fault::PowerCut(survives));
            assert!(Disk::watched(faults.clone()).replace(&path, b"newer").is_err());
            assert_eq!(faults.steps(), 4);
            fs::read(&path).unwrap()
        };
        assert_eq!(careless(Survives::Everything), b"newer");
        assert_eq!(careless(Survives::Names), b"newer");
        assert_eq!(careless(Survives::Nothing), b"old");

        // Bytes that were never flushed, under a name that survived.
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let faults = Faults::at(2, Fault::PowerCut(Survives::Names));
        for step in [Step::Write(&from, b"newer"), Step::Rename(&from, &to)] {
            faults.before(step).unwrap();
            fs::write(&to, b"newer").unwrap();
        }
        assert!(faults.before(Step::SyncFolder(folder.path())).is_err());
        assert_eq!(fs::read(&to).unwrap(), b"ne");
        assert!(faults.before(Step::SyncFolder(folder.path())).is_err());
    }
}
