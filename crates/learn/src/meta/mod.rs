//! Training of what makes parameters out of parameters: only the rows that a batch reads are ever generated.

mod gradients;
mod mixture;
mod schedule;
mod transferring;
mod unrolled;
mod window;

pub use mixture::Granularity;
pub(crate) use mixture::{Mixture, Weights, lanes, mix};
pub(crate) use schedule::Schedule;
pub use schedule::StepLoss;
pub(crate) use transferring::{Through, Transferring};
pub use unrolled::{Sequence, Unrolled};
pub(crate) use window::Window;

use perennial_model::Dense;
use perennial_nn::Workers;
use perennial_nn::optim::Step;

/// Moves the weights of a generator by one step of its optimiser; whether all are still finite.
pub(crate) fn move_all(weights: &mut [Dense], gradients: &[Vec<f32>], step: &Step, workers: &Workers) -> bool {
    let mut pairs: Vec<_> = weights.iter_mut().zip(gradients).map(|pair| (pair, true)).collect();
    workers.for_each(&mut pairs, |_, ((dense, grads), finite)| {
        dense.update(grads, step);
        *finite = dense.values.iter().all(|x| x.is_finite());
    });
    pairs.iter().all(|(_, finite)| *finite)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]
mod tests;
