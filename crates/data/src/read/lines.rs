//! Lines of a text, of which only one is ever held, and of that one no more than a limit.

use super::ReadOptions;
use super::bytes;
use crate::error::Result;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A text file as a buffer that always starts at a line.
pub(crate) struct Lines {
    file: PathBuf,
    source: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_eof: bool,
    limit: usize,
    line: u64,
}

/// How a search for the end of a line came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnd {
    /// It ends after so many bytes, counted from the start of the record.
    At(usize),
    /// More bytes than the limit and no end.
    TooLong,
    /// There is nothing left.
    Eof,
}

const BUFFER: usize = 1 << 18;
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

impl Lines {
    pub(crate) fn open(file: &Path, options: &ReadOptions) -> Result<Lines> {
        let source = bytes::open(file, &options.progress)?;
        let mut lines = Lines {
            file: file.to_owned(),
            source,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            at_eof: false,
            limit: options.max_line,
            line: 1,
        };
        while lines.available().len() < BYTE_ORDER_MARK.len() && lines.fill()? {}
        if lines.available().starts_with(BYTE_ORDER_MARK) {
            lines.start += BYTE_ORDER_MARK.len();
        }
        Ok(lines)
    }

    /// Number of the line at the start of the buffer, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// What is in the buffer.
    pub(crate) fn available(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The first `len` bytes of the buffer, without a carriage return at their end.
    pub(crate) fn record(&self, len: usize) -> &[u8] {
        let record = &self.buffer[self.start..self.start + len];
        record.strip_suffix(b"\r").unwrap_or(record)
    }

    /// Looks for the first end of line that is at least `from` bytes into the buffer.
    pub(crate) fn find_end(&mut self, mut from: usize) -> Result<LineEnd> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.available()[from..]) {
                let at = from + at;
                return Ok(if at > self.limit { LineEnd::TooLong } else { LineEnd::At(at) });
            }
            from = self.available().len();
            if from > self.limit {
                return Ok(LineEnd::TooLong);
            }
            if !self.fill()? {
                return Ok(if from == 0 { LineEnd::Eof } else { LineEnd::At(from) });
            }
        }
    }

    /// Drops a record of `len` bytes and the end of line behind it.
    pub(crate) fn consume(&mut self, len: usize, lines: u64) {
        self.start = (self.start + len + 1).min(self.end);
        self.line += lines;
    }

    /// Drops everything to the next end of line without keeping it.
    pub(crate) fn skip_line(&mut self) -> Result<()> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', self.available()) {
                self.consume(at, 1);
                return Ok(());
            }
            self.start = self.end;
            if !self.fill()? {
                self.line += 1;
                return Ok(());
            }
        }
    }

    /// Reads more behind what is there; false at the end of the file.
    pub(crate) fn fill(&mut self) -> Result<bool> {
        if self.at_eof {
            return Ok(false);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.at_eof = true;
                    return Ok(false);
                }
                Ok(read) => {
                    self.end += read;
                    return Ok(true);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(bytes::read_error(&self.file, self.line, error)),
            }
        }
    }

    /// Whether the last record may still grow.
    pub(crate) fn over_limit(&self, len: usize) -> bool {
        len > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of `text` read with a limit; a line that is too long reads as `None`.
    fn read(text: &[u8], max_line: usize) -> Vec<Option<String>> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.txt");
        std::fs::write(&file, text).unwrap();
        let mut lines = Lines::open(&file, &ReadOptions { max_line, ..ReadOptions::default() }).unwrap();
        let mut found = Vec::new();
        loop {
            match lines.find_end(0).unwrap() {
                LineEnd::Eof => return found,
                LineEnd::TooLong => {
                    found.push(None);
                    lines.skip_line().unwrap();
                }
                LineEnd::At(len) => {
                    found.push(Some(String::from_utf8_lossy(lines.record(len)).into_owned()));
                    lines.consume(len, 1);
                }
            }
            assert!(lines.buffer.len() <= 2 * BUFFER, "the buffer grew to {}", lines.buffer.len());
        }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn ends_of_lines_are_optional_and_of_two_kinds() {
        assert_eq!(read(b"\xef\xbb\xbfa\r\nb\n\nc", 100), [some("a"), some("b"), some(""), some("c")]);
        assert_eq!(read(b"", 100), Vec::<Option<String>>::new());
        assert_eq!(read(b"a\n", 100), [some("a")]);
    }

    #[test]
    fn a_long_line_is_skipped_without_being_held() {
        let mut text = b"a\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 5 << 20));
        text.extend(b"\nb\n");
        assert_eq!(read(&text, 1000), [some("a"), None, some("b")]);
    }

    #[test]
    fn a_line_may_span_buffers() {
        let long = "y".repeat(BUFFER + BUFFER / 2);
        assert_eq!(read(format!("a\n{long}\nb").as_bytes(), BUFFER * 2), [some("a"), some(&long), some("b")]);
    }
}
