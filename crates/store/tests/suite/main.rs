//! The promises of the store, for every place it can keep files in.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails the test that called it")]

mod collection;
mod conformance;
mod crash;
mod damage;
mod formats;
mod full_disk;
mod races;
mod support;
mod unreliable;
