//! Small text files with a kind, a format number, the writer's release and a checksum in their first line.

use crate::{Error, Result};
use perennial_core::Digest;

/// A kind of file and the newest format of it that this build writes. Formats 1 to that one are read.
pub(crate) struct Kind {
    /// First word of the file.
    pub(crate) magic: &'static str,
    /// For messages.
    pub(crate) what: &'static str,
    /// Newest format.
    pub(crate) format: u32,
}

/// `body` with its first line: `<magic> <format> <release> <BLAKE3 of the body>`.
pub(crate) fn seal(kind: &Kind, body: &str) -> Vec<u8> {
    let Kind { magic, format, .. } = kind;
    format!("{magic} {format} {} {}\n{body}", env!("CARGO_PKG_VERSION"), Digest::of_bytes(body.as_bytes())).into_bytes()
}

/// The body of the sealed file at `path`; an error names the file and what it expected.
pub(crate) fn open<'a>(kind: &Kind, path: &str, bytes: &'a [u8]) -> Result<&'a str> {
    let damaged = |problem: String| Error::DamagedFile { path: path.into(), problem };
    let text = std::str::from_utf8(bytes).map_err(|error| damaged(format!("it is not text: {error}")))?;
    let (header, body) = text.split_once('\n').ok_or_else(|| damaged("its first line does not end".into()))?;
    let words: Vec<&str> = header.split(' ').collect();
    let &[magic, format, writer, digest] = words.as_slice() else {
        return Err(damaged(format!("its first line has {} words, expected 4", words.len())));
    };
    if magic != kind.magic {
        return Err(damaged(format!("it begins with {magic:?}, expected {:?}", kind.magic)));
    }
    let found: u32 = format.parse().map_err(|_| damaged(format!("its format number is {format:?}")))?;
    if !(1..=kind.format).contains(&found) {
        let reads = if kind.format == 1 { "1".into() } else { format!("1 to {}", kind.format) };
        return Err(Error::Format { path: path.into(), what: kind.what, found, writer: writer.into(), reads });
    }
    let actual = Digest::of_bytes(body.as_bytes()).to_string();
    if actual != digest {
        return Err(damaged(format!("its checksum is {actual}, its first line says {digest}")));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { magic: "test-file", what: "test", format: 1 };

    #[test]
    fn every_flipped_bit_is_seen() {
        let sealed = seal(&KIND, "body\n");
        assert_eq!(open(&KIND, "f", &sealed).unwrap(), "body\n");
        let release = "test-file 1 ".len().."test-file 1 ".len() + env!("CARGO_PKG_VERSION").len();
        for i in (0..sealed.len()).filter(|i| !release.contains(i)) {
            for bit in 0..8 {
                let mut flipped = sealed.clone();
                flipped[i] ^= 1 << bit;
                assert!(open(&KIND, "f", &flipped).is_err(), "bit {bit} of byte {i}");
            }
        }
        for len in 0..sealed.len() {
            assert!(open(&KIND, "f", &sealed[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_later_format_says_who_wrote_it() {
        let later = Kind { format: 7, ..KIND };
        let text = open(&KIND, "versions/a.manifest", &seal(&later, "?")).unwrap_err().to_string();
        assert!(text.contains("test format 7") && text.contains("reads format 1"), "{text}");
        assert!(text.contains("versions/a.manifest") && text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    }
}
