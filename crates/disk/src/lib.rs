//! Durable changes to a disk, and disks that fail on cue.
//!
//! Whatever Perennial writes and means to find again goes through a [`Disk`]: prepared periods, logs, scores, versions
//! and records. A test hands in one that [`fault`] makes to fail, and so reaches every write of the whole program. This
//! crate does not know what the bytes mean.

mod disk;
mod draft;
pub mod fault;
mod new_file;

pub use disk::{Disk, Step, Watch, atomic_write, folder_of, is_temporary};
pub use draft::Draft;
pub use new_file::NewFile;
