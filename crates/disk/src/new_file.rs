//! A new file that is filled piece by piece, for what is too large to be held in memory whole.

use crate::{Disk, Step};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is being filled. Each piece is a [`Step`] of the disk; small writes are gathered until they make one.
///
/// Nothing is sure to last before [`NewFile::sync`]; bytes that were gathered and not synced are lost when this is
/// dropped. Once a write has failed, so does every later one: the file has a gap.
#[derive(Debug)]
pub struct NewFile {
    disk: Disk,
    path: PathBuf,
    file: File,
    gathered: Vec<u8>,
    failed: bool,
}

/// Bytes to a piece, more or less.
const PIECE: usize = 1 << 20;

impl Disk {
    /// Starts a file where none is; fails with `AlreadyExists` where one is.
    pub fn new_file(&self, path: &Path) -> io::Result<NewFile> {
        self.step(Step::Write(path, &[]))?;
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(NewFile { disk: self.clone(), path: path.to_owned(), file, gathered: Vec::new(), failed: false })
    }
}

impl NewFile {
    /// Writes what was gathered and flushes the bytes. The file's name is flushed with its folder.
    pub fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.disk.step(Step::SyncFile(&self.path))?;
        self.file.sync_all()
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    fn give(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier write to this file failed"));
        }
        let given = self.disk.step(Step::Write(&self.path, piece)).and_then(|()| self.file.write_all(piece));
        self.failed = given.is_err();
        given
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gathered.len() + bytes.len() > PIECE {
            self.flush()?;
        }
        match bytes.len() < PIECE {
            true => self.gathered.extend_from_slice(bytes),
            false => self.give(bytes)?,
        }
        Ok(bytes.len())
    }

    /// Hands what was gathered to the system; [`NewFile::sync`] makes it last.
    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.gathered);
        let given = if piece.is_empty() && !self.failed { Ok(()) } else { self.give(&piece) };
        self.gathered = piece;
        self.gathered.clear();
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Faults};

    #[test]
    fn pieces_make_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..3 * PIECE).map(|at| (at % 251) as u8).collect();
        let steps = Faults::none();
        let mut file = Disk::watched(steps.clone()).new_file(&path).unwrap();
        // Small, small, more than fits, larger than a piece, small.
        let cuts = [0, 1, PIECE / 2, PIECE + 7, 3 * PIECE - 1, 3 * PIECE];
        for cut in cuts.windows(2) {
            file.write_all(&bytes[cut[0]..cut[1]]).unwrap();
        }
        file.sync().unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes);
        assert!(steps.steps() < 8, "small writes are gathered");
        assert!(Disk::default().new_file(&path).is_err(), "there is one already");
    }

    #[test]
    fn a_file_with_a_gap_is_never_whole() {
        let folder = tempfile::tempdir().unwrap();
        let full = Faults::at(1, Fault::Error(io::ErrorKind::StorageFull));
        let mut file = Disk::watched(full).new_file(&folder.path().join("file")).unwrap();
        file.write_all(b"lost").unwrap();
        assert_eq!(file.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.write_all(b"kept").unwrap();
        assert!(file.sync().unwrap_err().to_string().contains("earlier write"));
        assert!(file.sync().is_err());
    }
}
