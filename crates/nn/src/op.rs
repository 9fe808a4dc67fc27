//! The operations of the tape, one file each.
//!
//! An operation is a small `Copy` struct of its inputs and options, a method of [`Tape`] that computes it, and a
//! `backward`. To add one: write its file, add its line to [`Op`] and to [`Op::backward`].

mod activate;
mod attend;
mod attention_input;
mod batch_norm;
mod bce;
mod bi_interaction;
mod cin;
mod co_action;
mod concat;
mod cross;
mod dropout;
mod hinge;
mod inner_products;
mod linear;
mod log_magnitude;
mod multiply_add;
mod pair_matrix;
mod pairs;
mod prelu;
mod reshape;
mod row_sum;
mod scaled_vectors;
mod sum_groups;
mod transpose_vectors;

pub use batch_norm::Normalised;
pub use co_action::{CO_ACTION_LAYERS, CoActionShape};
pub use hinge::Hinge;
pub use pairs::PairLoss;

use crate::{Real, Tape, Var};

/// What made a matrix on the tape.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    /// A leaf or a constant.
    Source,
    Linear(linear::Linear),
    Concat(concat::Concat),
    Bce(bce::Bce),
    RegressionHinge(hinge::RegressionHinge),
    Pairs(pairs::Pairs),
    RowSum(row_sum::RowSum),
    BiInteraction(bi_interaction::BiInteraction),
    InnerProducts(inner_products::InnerProducts),
    ScaledVectors(scaled_vectors::ScaledVectors),
    Cross(cross::Cross),
    MultiplyAdd(multiply_add::MultiplyAdd),
    PairMatrix(pair_matrix::PairMatrix),
    Activate(activate::Activate),
    BatchNorm(batch_norm::BatchNorm),
    Prelu(prelu::Prelu),
    TransposeVectors(transpose_vectors::TransposeVectors),
    Reshape(reshape::Reshape),
    SumGroups(sum_groups::SumGroups),
    Cin(cin::Cin),
    LogMagnitude(log_magnitude::LogMagnitude),
    AttentionInput(attention_input::AttentionInput),
    Attend(attend::Attend),
    CoAction(co_action::CoAction),
}

impl Op {
    /// Carries the gradient of the result `y` on to the operation's inputs.
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        match self {
            Op::Source => {}
            Op::Linear(op) => op.backward(tape, y),
            Op::Concat(op) => op.backward(tape, y),
            Op::Bce(op) => op.backward(tape, y),
            Op::RegressionHinge(op) => op.backward(tape, y),
            Op::Pairs(op) => op.backward(tape, y),
            Op::RowSum(op) => op.backward(tape, y),
            Op::BiInteraction(op) => op.backward(tape, y),
            Op::InnerProducts(op) => op.backward(tape, y),
            Op::ScaledVectors(op) => op.backward(tape, y),
            Op::Cross(op) => op.backward(tape, y),
            Op::MultiplyAdd(op) => op.backward(tape, y),
            Op::PairMatrix(op) => op.backward(tape, y),
            Op::Activate(op) => op.backward(tape, y),
            Op::BatchNorm(op) => op.backward(tape, y),
            Op::Prelu(op) => op.backward(tape, y),
            Op::TransposeVectors(op) => op.backward(tape, y),
            Op::Reshape(op) => op.backward(tape, y),
            Op::SumGroups(op) => op.backward(tape, y),
            Op::Cin(op) => op.backward(tape, y),
            Op::LogMagnitude(op) => op.backward(tape, y),
            Op::AttentionInput(op) => op.backward(tape, y),
            Op::Attend(op) => op.backward(tape, y),
            Op::CoAction(op) => op.backward(tape, y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Act, check_gradient};
    use perennial_core::Stream;

    pub(crate) fn normal(len: usize, seed: u64) -> Vec<f64> {
        let mut stream = Stream::new(&[seed]);
        (0..len).map(|_| stream.normal()).collect()
    }

    /// Checks the gradient by leaves of the given shapes, filled at random, of a function built on the tape.
    #[track_caller]
    pub(crate) fn check(shapes: &[(usize, usize)], build: impl Fn(&mut Tape<f64>, &[Var]) -> Var) {
        let start: Vec<_> = shapes.iter().zip(1..).map(|(&(rows, cols), seed)| normal(rows * cols, seed)).collect();
        let mut tape = Tape::new();
        let worst = check_gradient(&start, |values| {
            tape.reset();
            let leaves: Vec<Var> = std::iter::zip(shapes, values)
                .map(|(&(rows, cols), values)| tape.leaf(rows, cols, |leaf| leaf.copy_from_slice(values)))
                .collect();
            let loss = build(&mut tape, &leaves);
            tape.backward(loss);
            (tape.value(loss)[0], leaves.iter().map(|&leaf| tape.grad(leaf).to_vec()).collect())
        });
        worst.assert_below(1e-8);
    }

    /// Some smooth scalar of `y` that weighs every element differently.
    pub(crate) fn scalar<T: Real>(tape: &mut Tape<T>, y: Var) -> Var {
        let (n, cols) = tape.shape(y);
        let column = normal(cols, 99);
        let column = tape.constant(cols, 1, |c| c.iter_mut().zip(column).for_each(|(c, x)| *c = T::from_f64(x)));
        let logits = tape.linear(y, column, None, Act::Identity);
        let weights: Vec<f32> = (0..n).map(|i| 1.0 + i as f32 / 8.0).collect();
        tape.bce_with_logits(logits, &vec![0.25; n], &weights, 2.0)
    }
}
