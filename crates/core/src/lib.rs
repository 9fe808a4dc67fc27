//! The words every part of Perennial says: schemas, times, keys, periods of examples, digests and seeded streams.
//!
//! No I/O, no clocks, no threads, no maths lives here.

pub mod digest;
pub mod examples;
pub mod feature;
pub mod rng;
pub mod schema;
pub mod time;

pub use digest::{Digest, DigestBuilder};
pub use examples::{Column, Encoded, Examples, Spans};
pub use feature::{Feature, FeatureKind, FeatureSet, VocabId, VocabularySpec};
pub use rng::Stream;
pub use schema::{Field, FieldKind, IdType, Role, Schema, SchemaError, ScoreScale, TimeFormat, Vocabulary};
pub use time::{Span, TimeUnit, Timestamp};
