//! What must hold of learning, on a toy world with a known answer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

mod asmg_gru;
mod asmg_linear;
mod backbones;
mod gate;
mod groups;
mod incctr;
mod mixture;
mod sml;
mod spmf;
mod static_split;
mod strategies;
mod world;
