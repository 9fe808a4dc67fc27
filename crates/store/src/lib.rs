//! Immutable versions on a disk or in a bucket: content-addressed objects, checked manifests, aliases that move
//! atomically, garbage collection.
//!
//! This crate does not know what the bytes mean. A version is a [`Bundle`] of named byte strings with a [`Lineage`];
//! nothing here reads a weight, a schema or a clock. The layout is described to the byte in `FORMAT.md`.
//!
//! ```
//! use perennial_core::Digest;
//! use perennial_store::{Bundle, Lineage, Published, Store, VersionId};
//!
//! let folder = tempfile::tempdir()?;
//! let store = Store::open(folder.path())?;
//! let id: VersionId = "incremental/0/0001".parse()?;
//! let bundle = Bundle {
//!     objects: vec![("config.toml".into(), b"seed = 0".to_vec())],
//!     lineage: Lineage::default(),
//!     content: Digest::of_bytes(b"what the caller hashed"),
//! };
//! assert_eq!(store.publish(&id, &bundle)?, Published::New);
//! assert_eq!(store.publish(&id, &bundle)?, Published::Same);
//! store.set_alias(&"live".parse()?, None, &id)?;
//! assert_eq!(store.load(&id)?.object("config.toml")?, b"seed = 0");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backend;
mod bundle;
mod dense;
mod diff;
mod error;
mod lineage;
mod manifest;
mod name;
mod reader;
mod retention;
mod run_lock;
mod sealed;
mod store;
mod verify;

pub use bundle::{Bundle, Loaded};
pub use dense::{DenseTensor, dense_from_safetensors, dense_to_safetensors};
pub use diff::{Change, Diff};
pub use error::Error;
pub use lineage::{DataRange, Lineage};
pub use manifest::{Limits, Manifest, Object};
pub use name::{AliasName, ObjectName, VersionId};
pub use reader::Reader;
pub use retention::{Retention, Swept};
pub use run_lock::RunLock;
pub use store::{Published, Store};
pub use verify::{Report, Trouble};

/// What every function here returns.
pub type Result<T> = std::result::Result<T, Error>;
