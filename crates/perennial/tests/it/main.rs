//! The whole program on small logs: results, resume after faults and kills, bad input, the command line.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod bad_input;
mod command_line;
mod desk;
mod gate;
mod groups;
mod kill;
mod leak;
mod outside;
mod real_data;
mod resume;
mod thinning;
mod train;
mod tune;
mod world;
mod write_point;
