//! The promises of the store, for every place it can keep files in.

mod collection;
mod conformance;
mod crash;
mod damage;
mod formats;
mod full_disk;
mod support;
mod unreliable;
