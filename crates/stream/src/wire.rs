//! Bytes that say what they are: magic, format number, body, BLAKE3 of all before it. Little-endian throughout.

use crate::error::{Result, StreamError};
use bytemuck::Pod;
use perennial_core::Digest;
use std::io::{self, Write};

const CHECKSUM: usize = 32;

/// Writes a body, hashing it on the way.
pub(crate) struct Writer<W> {
    to: W,
    hasher: blake3::Hasher,
    written: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(to: W, magic: &[u8; 8], format: u32) -> io::Result<Writer<W>> {
        let mut writer = Writer { to, hasher: blake3::Hasher::new(), written: 0 };
        writer.raw(magic)?;
        writer.raw(&format.to_le_bytes())?;
        Ok(writer)
    }

    pub(crate) fn u64(&mut self, value: u64) -> io::Result<()> {
        self.raw(&value.to_le_bytes())
    }

    /// A count, then the values.
    pub(crate) fn slice<T: Plain>(&mut self, values: &[T]) -> io::Result<()> {
        self.u64(values.len() as u64)?;
        if cfg!(target_endian = "little") {
            return self.raw(bytemuck::cast_slice(values));
        }
        values.iter().try_for_each(|value| self.raw(value.swapped().bytes()))
    }

    /// Appends the checksum; gives back the sink, the number of bytes, and the checksum.
    pub(crate) fn finish(mut self) -> io::Result<(W, u64, Digest)> {
        let checksum = self.hasher.finalize();
        self.raw(checksum.as_bytes())?;
        Ok((self.to, self.written, digest(checksum)))
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        self.to.write_all(bytes)
    }
}

/// Reads a body back. Never panics, and never reserves more than the bytes can hold.
pub(crate) struct Reader<'a> {
    what: &'a str,
    rest: &'a [u8],
    checksum: Digest,
}

impl<'a> Reader<'a> {
    /// Checks magic, format and checksum of `bytes`, which errors call `what`.
    pub(crate) fn open(what: &'a str, bytes: &'a [u8], magic: &[u8; 8], format: u32) -> Result<Reader<'a>> {
        let damaged = |problem: String| StreamError::corrupt(what, problem);
        let least = magic.len() + 4 + CHECKSUM;
        if bytes.len() < least {
            return Err(damaged(format!("{} bytes, expected at least {least}", bytes.len())));
        }
        let (body, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
        let found = blake3::hash(body);
        if found.as_bytes() != checksum {
            return Err(damaged("its checksum does not fit its content".into()));
        }
        let mut reader = Reader { what, rest: body, checksum: digest(found) };
        if reader.raw(magic.len())? != magic {
            return Err(damaged(format!("it does not begin with {}", magic.escape_ascii())));
        }
        match u32::from_le_bytes(reader.raw(4)?.try_into().expect("four bytes")) {
            found if found == format => Ok(reader),
            found => Err(damaged(format!("format {found}, this program reads format {format}"))),
        }
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.raw(8)?.try_into().expect("eight bytes")))
    }

    pub(crate) fn slice<T: Plain>(&mut self) -> Result<Vec<T>> {
        let count = self.u64()?;
        let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(size_of::<T>()));
        let bytes = bytes.ok_or_else(|| self.damaged(format!("a list of {count} values")))?;
        let mut values = vec![T::zeroed(); bytes.min(self.rest.len()) / size_of::<T>()];
        let raw = self.raw(bytes)?;
        bytemuck::cast_slice_mut(&mut values).copy_from_slice(raw);
        if cfg!(target_endian = "big") {
            values.iter_mut().for_each(|value| *value = value.swapped());
        }
        Ok(values)
    }

    /// Fails if anything is left; gives back the checksum.
    pub(crate) fn finish(self) -> Result<Digest> {
        match self.rest.len() {
            0 => Ok(self.checksum),
            left => Err(self.damaged(format!("{left} bytes too many"))),
        }
    }

    pub(crate) fn damaged(&self, problem: impl Into<String>) -> StreamError {
        StreamError::corrupt(self.what, problem)
    }

    fn raw(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| self.damaged(format!("{} bytes left where {count} were expected", self.rest.len())))?;
        self.rest = rest;
        Ok(taken)
    }
}

fn digest(hash: blake3::Hash) -> Digest {
    Digest::parse(&hash.to_hex()).expect("64 hexadecimal digits")
}

/// Numbers of a fixed width.
pub(crate) trait Plain: Pod {
    /// With its bytes in the opposite order.
    fn swapped(self) -> Self;

    /// Its bytes as they lie in memory.
    fn bytes(&self) -> &[u8] {
        bytemuck::bytes_of(self)
    }
}

impl Plain for u8 {
    fn swapped(self) -> u8 {
        self
    }
}

impl Plain for u32 {
    fn swapped(self) -> u32 {
        self.swap_bytes()
    }
}

impl Plain for u64 {
    fn swapped(self) -> u64 {
        self.swap_bytes()
    }
}

impl Plain for i64 {
    fn swapped(self) -> i64 {
        self.swap_bytes()
    }
}

impl Plain for f32 {
    fn swapped(self) -> f32 {
        f32::from_bits(self.to_bits().swap_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), b"PRNLTEST", 1).unwrap();
        writer.u64(5).unwrap();
        writer.slice(&[1.5f32, -0.0]).unwrap();
        writer.slice::<u32>(&[]).unwrap();
        writer.finish().unwrap().0
    }

    fn read(bytes: &[u8]) -> Result<(u64, Vec<f32>, Vec<u32>)> {
        let mut reader = Reader::open("test", bytes, b"PRNLTEST", 1)?;
        let found = (reader.u64()?, reader.slice()?, reader.slice()?);
        reader.finish()?;
        Ok(found)
    }

    #[test]
    fn reads_what_was_written() {
        let (number, floats, none) = read(&written()).unwrap();
        assert_eq!(number, 5);
        assert_eq!(floats.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), [1.5f32.to_bits(), (-0.0f32).to_bits()]);
        assert!(none.is_empty());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = written();
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 4;
            assert!(read(&bad).is_err(), "byte {byte}");
            assert!(read(&good[..byte]).is_err(), "cut at {byte}");
        }
        assert!(Reader::open("test", &good, b"PRNLTEST", 2).is_err(), "another format");
    }

    /// With a true checksum, so that only the reader's own checks stand between the count and the allocation.
    #[test]
    fn an_absurd_count_is_refused() {
        let mut writer = Writer::new(Vec::new(), b"PRNLTEST", 1).unwrap();
        writer.u64(u64::MAX / 4).unwrap();
        let bytes = writer.finish().unwrap().0;
        let mut reader = Reader::open("test", &bytes, b"PRNLTEST", 1).unwrap();
        assert!(reader.slice::<u32>().is_err());
    }
}
