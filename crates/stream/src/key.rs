//! Keys: ids of any kind as 64 bits.

use perennial_core::rng::hash_text;

/// The key of a null id: "missing" is an id of its own, also as the user or the item of an example.
///
/// The bytes of `missing!`; an integer id of this very value (7883959562216040225) would be taken for a null.
pub const MISSING: u64 = u64::from_be_bytes(*b"missing!");

/// The key of an integer id: its bits.
#[inline]
pub fn int_key(id: Option<i64>) -> u64 {
    id.map_or(MISSING, |id| id as u64)
}

/// The key of a text id: its XXH3 hash.
#[inline]
pub fn text_key(id: Option<&str>) -> u64 {
    id.map_or(MISSING, hash_text)
}

/// Whether a key names something.
pub(crate) fn is_known(key: u64) -> bool {
    key != MISSING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_is_no_ordinary_id() {
        for id in [0, 1, -1, i64::MIN, i64::MAX] {
            assert_ne!(int_key(Some(id)), int_key(None));
        }
        assert_ne!(text_key(Some("")), text_key(None));
        assert_eq!(int_key(None), text_key(None));
        assert_eq!(MISSING, 7_883_959_562_216_040_225, "the documented value");
    }
}
