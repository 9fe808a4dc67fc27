//! The operations of the tape, one file each.
//!
//! An operation is a small `Copy` struct of its inputs and options, a method of [`Tape`] that computes it, and a
//! `backward`. To add one: write its file, add its line to [`Op`] and to [`Op::backward`].

mod bce;
mod concat;
mod linear;

use crate::{Real, Tape, Var};

/// What made a matrix on the tape.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    /// A leaf or a constant.
    Source,
    Linear(linear::Linear),
    Concat(concat::Concat),
    Bce(bce::Bce),
}

impl Op {
    /// Carries the gradient of the result `y` on to the operation's inputs.
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        match self {
            Op::Source => {}
            Op::Linear(op) => op.backward(tape, y),
            Op::Concat(op) => op.backward(tape, y),
            Op::Bce(op) => op.backward(tape, y),
        }
    }
}
