//! Which row each id has.

use perennial_core::rng::{hash_parts, hash_text};
use perennial_core::{IdType, Vocabulary, VocabularySpec};
use std::collections::BTreeMap;

/// The row of padding: always zero, never trained.
pub const PAD_ROW: u32 = 0;
/// The row of ids that have none of their own.
pub const UNKNOWN_ROW: u32 = 1;
/// Rows before the first id's.
pub const RESERVED_ROWS: usize = 2;

/// A mapping from keys to rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Vocab {
    /// Grows by a row for each key seen often enough.
    Open {
        /// Observations before a key is admitted.
        min_count: u32,
        /// Row of each admitted key.
        rows: hashbrown::HashMap<u64, u32>,
        /// Admitted keys in order of their rows.
        keys: Vec<u64>,
        /// Observations of keys that are not admitted yet. Ordered, so that stored bytes are reproducible.
        waiting: BTreeMap<u64, u32>,
    },
    /// Rows shared by hash; keys of its rows are the bucket numbers.
    Hashed {
        /// Bucket numbers: `0..buckets`.
        keys: Vec<u64>,
    },
    /// A fixed list.
    Fixed {
        /// Row of each listed key.
        rows: hashbrown::HashMap<u64, u32>,
        /// Listed keys in order of their rows.
        keys: Vec<u64>,
    },
}

impl Vocab {
    /// The vocabulary that a schema asks for, before any data.
    pub fn new(spec: &VocabularySpec) -> Vocab {
        match &spec.vocabulary {
            Vocabulary::Open { min_count } => Vocab::Open {
                min_count: *min_count,
                rows: hashbrown::HashMap::new(),
                keys: Vec::new(),
                waiting: BTreeMap::new(),
            },
            Vocabulary::Hashed { buckets } => Vocab::Hashed { keys: (0..u64::from(*buckets)).collect() },
            Vocabulary::Fixed { values } => Vocab::fixed(values.iter().map(|value| key_of_text(value, spec.id))),
        }
    }

    /// The vocabulary of a bucketised number: its buckets, then one for null.
    pub fn buckets(buckets: u32) -> Vocab {
        Vocab::fixed(0..=u64::from(buckets))
    }

    fn fixed(keys: impl Iterator<Item = u64>) -> Vocab {
        let mut rows = hashbrown::HashMap::new();
        let mut listed = Vec::new();
        for key in keys {
            rows.entry(key).or_insert_with(|| {
                listed.push(key);
                (RESERVED_ROWS + listed.len() - 1) as u32
            });
        }
        Vocab::Fixed { rows, keys: listed }
    }

    /// Number of rows that tables of this vocabulary have, reserved ones included.
    pub fn rows(&self) -> usize {
        RESERVED_ROWS + self.keys().len()
    }

    /// Keys of the rows from `row` on, in order.
    pub fn keys_from(&self, row: usize) -> &[u64] {
        &self.keys()[row.saturating_sub(RESERVED_ROWS)..]
    }

    fn keys(&self) -> &[u64] {
        match self {
            Vocab::Open { keys, .. } | Vocab::Hashed { keys } | Vocab::Fixed { keys, .. } => keys,
        }
    }

    /// Counts observations and admits what has enough. Only an open vocabulary changes.
    pub fn observe(&mut self, observed: &[u64], counts: &[u32]) {
        let Vocab::Open { min_count, rows, keys, waiting } = self else { return };
        for (&key, &count) in observed.iter().zip(counts) {
            if count == 0 || rows.contains_key(&key) {
                continue;
            }
            let total = waiting.get(&key).copied().unwrap_or(0).saturating_add(count);
            if total >= *min_count {
                waiting.remove(&key);
                rows.insert(key, (RESERVED_ROWS + keys.len()) as u32);
                keys.push(key);
            } else {
                waiting.insert(key, total);
            }
        }
    }

    /// Rows of `keys`; the unknown row where a key has none.
    pub fn rows_of(&self, keys: &[u64]) -> Vec<u32> {
        keys.iter().map(|key| self.row_of(*key).unwrap_or(UNKNOWN_ROW)).collect()
    }

    /// Rows of `keys`; a key of an open vocabulary that has none gets the next row beyond the tables and is added to
    /// `beyond`.
    pub fn rows_and_beyond(&self, keys: &[u64], beyond: &mut Vec<u64>) -> Vec<u32> {
        let row = |key: &u64| match (self.row_of(*key), self) {
            (Some(row), _) => row,
            (None, Vocab::Open { .. }) => {
                beyond.push(*key);
                (self.rows() + beyond.len() - 1) as u32
            }
            (None, _) => UNKNOWN_ROW,
        };
        keys.iter().map(row).collect()
    }

    fn row_of(&self, key: u64) -> Option<u32> {
        match self {
            Vocab::Open { rows, .. } | Vocab::Fixed { rows, .. } => rows.get(&key).copied(),
            Vocab::Hashed { keys } => Some(RESERVED_ROWS as u32 + (hash_parts(&[key]) % keys.len() as u64) as u32),
        }
    }

    /// Admitted keys and waiting counts, little-endian: `count, keys..., count, (key, count)...`. Only an open
    /// vocabulary has anything to store; the others follow from the schema.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Vocab::Open { keys, waiting, .. } = self else { return Vec::new() };
        let mut bytes = Vec::with_capacity(16 + 8 * keys.len() + 12 * waiting.len());
        bytes.extend((keys.len() as u64).to_le_bytes());
        bytes.extend(keys.iter().flat_map(|key| key.to_le_bytes()));
        bytes.extend((waiting.len() as u64).to_le_bytes());
        for (key, count) in waiting {
            bytes.extend(key.to_le_bytes());
            bytes.extend(count.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Vocab::to_bytes`] wrote into a fresh vocabulary of the same kind.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Vocab::Open { rows, keys, waiting, .. } = self else {
            return if bytes.is_empty() { Ok(()) } else { Err("a closed vocabulary stores nothing".into()) };
        };
        let mut reader = Reader { bytes };
        for _ in 0..reader.count(8)? {
            let key = reader.u64()?;
            if rows.insert(key, (RESERVED_ROWS + keys.len()) as u32).is_some() {
                return Err(format!("key {key:#x} occurs twice"));
            }
            keys.push(key);
        }
        for _ in 0..reader.count(12)? {
            let key = reader.u64()?;
            waiting.insert(key, reader.u32()?);
        }
        if reader.bytes.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", reader.bytes.len())) }
    }
}

/// The key of an id as a schema or a log writes it. An integer that is not one gets the key of its text.
fn key_of_text(text: &str, id: IdType) -> u64 {
    match (id, text.parse::<i64>()) {
        (IdType::Int, Ok(value)) => value as u64,
        _ => hash_text(text),
    }
}

/// Reads little-endian numbers, never past the end.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or("it ends too early")?;
        self.bytes = tail;
        Ok(*head)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.take().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.take().map(u32::from_le_bytes)
    }

    /// A number of entries of `width` bytes each, which must be there.
    fn count(&mut self, width: u64) -> Result<u64, String> {
        let count = self.u64()?;
        let needed = count.checked_mul(width).ok_or("a count overflows")?;
        if needed <= self.bytes.len() as u64 { Ok(count) } else { Err(format!("{count} entries do not fit")) }
    }
}
