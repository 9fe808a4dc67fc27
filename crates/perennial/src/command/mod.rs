//! The subcommands, one file each: arguments on top, what they do below.

pub mod compare;
pub mod completions;
pub mod demo;
pub mod inspect;
pub mod report;
pub mod run;
pub mod versions;
