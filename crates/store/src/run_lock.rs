//! One run per folder.

use crate::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

/// Exclusive use of a folder, until it is dropped or the process dies, however it dies.
///
/// The lock is the operating system's; the file `run.lock` stays and holds the process number of the last holder, for
/// messages only.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Locks `folder`, making it if it is not there. `Error::Locked` names who holds it.
    pub fn acquire(folder: impl AsRef<Path>) -> Result<RunLock> {
        let folder = folder.as_ref();
        let path = folder.join("run.lock");
        fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
        let options = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = options.map_err(Error::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked(folder, &path)),
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
        }
        sign(&mut file).map_err(Error::io("write", &path))?;
        Ok(RunLock { _file: file })
    }
}

/// Leaves our process number in the file.
fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn locked(folder: &Path, path: &PathBuf) -> Error {
    // Where locks are mandatory the file cannot be read, and just after locking it is still empty.
    let text = fs::read_to_string(path).unwrap_or_default();
    let holder = match text.trim().parse::<u32>() {
        Ok(pid) => format!("process {pid}"),
        Err(_) => "another process".into(),
    };
    Error::Locked { folder: folder.display().to_string(), holder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = RunLock::acquire(folder.path().join("out")).unwrap();
        let error = RunLock::acquire(folder.path().join("out")).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        RunLock::acquire(folder.path().join("out")).unwrap();
    }
}
