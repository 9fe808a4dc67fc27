//! The manifest of a log: what it holds, and the checksum of every part.

use perennial_core::{Digest, Schema, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format of logs that this program writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// What a log holds; `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Digest of `schema.toml`.
    pub schema: Digest,
    /// Number of rows in all parts.
    pub rows: u64,
    /// Time of the first row; absent if there is none.
    pub first_time: Option<Timestamp>,
    /// Time of the last row.
    pub last_time: Option<Timestamp>,
    /// The parts, in order of time.
    pub parts: Vec<Part>,
    /// How the log came to be.
    #[serde(flatten)]
    pub notes: ImportNotes,
}

/// One Parquet file of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Name of the file in `parts/`.
    pub file: String,
    /// Number of rows, at least one.
    pub rows: u64,
    /// Time of its first row.
    pub first_time: Timestamp,
    /// Time of its last row.
    pub last_time: Timestamp,
    /// Size of the file.
    pub bytes: u64,
    /// BLAKE3 of the file.
    pub blake3: Digest,
}

/// How a log came to be: what its writer cannot know. Empty for a log that was not imported.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImportNotes {
    /// Refused rows by reason; `bad_rows.jsonl` lists them.
    pub bad_rows: BTreeMap<String, u64>,
    /// Good rows left out because their user had too few events.
    pub filtered_rows: u64,
    /// The files read, in order.
    pub sources: Vec<SourceNote>,
}

/// A file that a log was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceNote {
    /// Its name, relative to the directory that was imported.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Rows read from it, bad ones included.
    pub rows: u64,
}

impl Manifest {
    /// Digest of a schema as it is written to `schema.toml`.
    pub fn digest_of(schema: &Schema) -> Digest {
        Digest::of_bytes(schema.to_toml().as_bytes())
    }
}
