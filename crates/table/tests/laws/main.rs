//! What holds for every table, whatever is done with it.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod decay;
mod dense_parity;
mod snapshots;
mod storage;
mod twin;
mod workbench;
