//! Perennial: recommenders that never go stale.
//!
//! This is the facade: the typed [`experiment`] file, the [`run`] that joins log, model, strategy, evaluation and
//! store, training on one static [`split`], the search
//! for settings ([`tune`]), and the command line. The parts are crates of their own, re-exported here under their names.

pub mod cli;
mod command;
pub mod experiment;
mod report;
pub mod run;
pub mod split;
mod suggest;
mod terminal;
pub mod tune;

pub use perennial_core as core;
pub use perennial_data as data;
pub use perennial_disk as disk;
pub use perennial_eval as eval;
pub use perennial_learn as learn;
pub use perennial_model as model;
pub use perennial_nn as nn;
pub use perennial_store as store;
pub use perennial_stream as stream;
pub use perennial_table as table;
pub use perennial_world as world;
