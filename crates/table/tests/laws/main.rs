//! What holds for every table, whatever is done with it.

mod decay;
mod dense_parity;
mod snapshots;
mod storage;
mod twin;
mod workbench;
