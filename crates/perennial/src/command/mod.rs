//! The subcommands, one file each: arguments on top, what they do below.

pub(crate) mod compare;
pub(crate) mod completions;
mod dataset;
pub(crate) mod demo;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod score;
pub(crate) mod train;
pub(crate) mod tune;
pub(crate) mod versions;
pub(crate) mod world;
