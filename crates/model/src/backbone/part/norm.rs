//! Batch normalisation with its running statistics.

use super::Recipe;
use crate::{DenseId, DenseInit, ParamView, StatisticId};
use perennial_nn::{Real, Tape, Var};

/// Batch normalisation of columns (Ioffe and Szegedy, ICML 2015).
///
/// In training it goes by mean and variance of its *shard* of the batch, and running statistics move by the mean over
/// shards of what they saw: ghost batch normalisation (Hoffer et al., NeurIPS 2017) with `training.shards` ghosts. So
/// results depend on that setting and never on the number of workers; with one shard this is the published layer.
/// Weights of examples do not count. A shard of a single row has no variance and is normalised by running statistics,
/// as everything is in scoring.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::backbone) struct BatchNorm {
    /// Scale and shift, `[1, cols]` each.
    affine: Option<(DenseId, DenseId)>,
    mean: StatisticId,
    variance: StatisticId,
}

/// Added to variances; PyTorch's.
const EPSILON: f64 = 1e-5;
/// Share of a batch in running statistics; PyTorch's, and one less AFN's decay of 0.9.
const MOMENTUM: f32 = 0.1;

impl BatchNorm {
    /// Declares the statistics `<prefix>.mean` and `<prefix>.variance` and, if `affine`, the tensors `<prefix>.scale`,
    /// ones at first, and `<prefix>.shift`, zeros.
    pub(in crate::backbone) fn build(prefix: &str, cols: usize, affine: bool, recipe: &mut Recipe) -> BatchNorm {
        let affine = affine.then(|| {
            let scale = recipe.dense(format!("{prefix}.scale"), [1, cols], DenseInit::Constant(1.0));
            (scale, recipe.dense(format!("{prefix}.shift"), [1, cols], DenseInit::Zero))
        });
        let mean = recipe.statistic(format!("{prefix}.mean"), cols, 0.0, MOMENTUM);
        BatchNorm { affine, mean, variance: recipe.statistic(format!("{prefix}.variance"), cols, 1.0, MOMENTUM) }
    }

    /// The normalised `x`, whose rows may be more than the batch's.
    pub(in crate::backbone) fn forward<T: Real>(
        &self,
        x: Var,
        view: &mut impl ParamView<T>,
        tape: &mut Tape<T>,
    ) -> Var {
        let affine = self.affine.map(|(scale, shift)| (view.dense(tape, scale), view.dense(tape, shift)));
        let rows = tape.shape(x).0;
        if rows > 1 && view.noise().is_some() {
            let normalised = tape.batch_norm(x, affine, EPSILON);
            view.observe(self.mean, normalised.mean, rows);
            view.observe(self.variance, normalised.variance, rows);
            return normalised.y;
        }
        let (mean, variance) = (view.statistic(tape, self.mean), view.statistic(tape, self.variance));
        tape.normalise_by(x, mean, variance, affine, EPSILON)
    }
}
