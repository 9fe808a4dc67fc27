//! Content digests.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A 256-bit BLAKE3 digest, printed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of `bytes` as they are, with no framing: what an object's address is made of.
    pub fn of_bytes(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Digest> {
        Some(Digest(*blake3::Hash::from_hex(text).ok()?.as_bytes()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("not a digest: \"{text}\"")))
    }
}

/// Builds a digest of logical content: every part is framed by its length, so that no two different sequences of
/// parts give the same bytes. Numbers are hashed in little-endian order.
#[derive(Debug, Default, Clone)]
pub struct DigestBuilder {
    hasher: blake3::Hasher,
}

impl DigestBuilder {
    /// Starts a digest of a thing of the named kind; the kind separates domains.
    pub fn new(kind: &str) -> Self {
        let mut builder = DigestBuilder { hasher: blake3::Hasher::new() };
        builder.str(kind);
        builder
    }

    /// Adds a byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
        self
    }

    /// Adds a text.
    pub fn str(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Adds an integer.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.hasher.update(&value.to_le_bytes());
        self
    }

    /// Adds a slice of floats, bit for bit.
    pub fn f32s(&mut self, values: &[f32]) -> &mut Self {
        self.hasher.update(&(values.len() as u64).to_le_bytes());
        let mut buffer = [0u8; 4096];
        for chunk in values.chunks(1024) {
            for (bytes, value) in buffer.chunks_exact_mut(4).zip(chunk) {
                bytes.copy_from_slice(&value.to_le_bytes());
            }
            self.hasher.update(&buffer[..chunk.len() * 4]);
        }
        self
    }

    /// Adds another digest.
    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.hasher.update(&digest.0);
        self
    }

    /// The digest of all that was added.
    pub fn finish(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_framed() {
        let joined = DigestBuilder::new("t").str("ab").str("c").finish();
        let split = DigestBuilder::new("t").str("a").str("bc").finish();
        assert_ne!(joined, split);
    }

    #[test]
    fn prints_and_reads_back() {
        let digest = Digest::of_bytes(b"x");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("xyz"), None);
    }

    #[test]
    fn sign_of_zero_matters() {
        let plus = DigestBuilder::new("t").f32s(&[0.0]).finish();
        let minus = DigestBuilder::new("t").f32s(&[-0.0]).finish();
        assert_ne!(plus, minus);
    }
}
