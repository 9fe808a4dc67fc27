//! The whole program on small logs: results, resume after faults and kills, bad input, the command line.

mod bad_input;
mod command_line;
mod kill;
mod real_data;
mod resume;
mod world;
