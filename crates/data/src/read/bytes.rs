//! The bytes of a file, decompressed on the way.

use crate::error::{Error, Result};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Opens a file; gzip and zstd are known by their first bytes. `progress` counts the bytes taken from the file.
pub(crate) fn open(file: &Path, progress: &Arc<AtomicU64>) -> Result<Box<dyn Read + Send>> {
    let source = File::open(file).map_err(Error::io(file))?;
    let counted = Counted { source, progress: progress.clone() };
    let mut buffered = BufReader::with_capacity(1 << 18, counted);
    let start = buffered.fill_buf().map_err(Error::io(file))?;
    Ok(if start.starts_with(GZIP) {
        Box::new(MultiGzDecoder::new(buffered))
    } else if start.starts_with(ZSTD) {
        Box::new(zstd::stream::read::Decoder::with_buffer(buffered).map_err(Error::io(file))?)
    } else {
        Box::new(buffered)
    })
}

/// Names the file in an error of reading it; a stream that ends too early is a truncated file.
pub(crate) fn read_error(file: &Path, line: u64, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated { file: file.to_owned(), line },
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            Error::Corrupt { file: file.to_owned(), line, source }
        }
        _ => Error::Io { file: file.to_owned(), source },
    }
}

struct Counted {
    source: File,
    progress: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.progress.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
