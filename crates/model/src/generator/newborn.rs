//! Values of ids that were not born yet when a version was generated.

use super::{Activity, Generator, Reading, Snapshot};
use crate::Params;
use std::sync::Arc;

/// Values of ids that are met at scoring for the first time. They have had their first value in all models that were
/// read.
#[derive(Debug, Clone)]
pub enum Newborn {
    /// The first value itself.
    AsIs,
    /// What a recurrent generator makes of that constant.
    Recurrent(Recurrent),
}

/// A recurrent generator that reads a constant.
#[derive(Debug, Clone)]
pub struct Recurrent {
    /// The generator, without slots.
    pub generator: Arc<Generator>,
    /// Those by which states were carried from period to period so far, oldest first; none where a newborn id starts
    /// from a state of zeros.
    pub past: Vec<Arc<Generator>>,
    /// Models that the generator reads after that.
    pub steps: usize,
}

impl Newborn {
    /// Replaces the first values of rows from `first[table]` on.
    pub fn generate(&self, params: &mut Params, first: &[u32]) {
        match self {
            Newborn::AsIs => {}
            Newborn::Recurrent(recurrent) => recurrent.generate(params, first),
        }
    }
}

impl Recurrent {
    fn generate(&self, params: &mut Params, first: &[u32]) {
        let snapshot = Snapshot { activity: vec![Activity::default(); params.tables.len()], params: params.clone() };
        let reading = Reading { now: &snapshot, before: Some(&snapshot) };
        let tensors = params.dense.len();
        for (table, &first) in first.iter().enumerate() {
            for row in first..params.tables[table].rows() {
                let y = self.row(&reading, tensors + table, row);
                params.tables[table].row_mut(row).copy_from_slice(&y);
            }
        }
    }

    fn row(&self, reading: &Reading<'_>, part: usize, row: u32) -> Vec<f32> {
        let lanes = self.generator.parts()[part].layout.lanes;
        let mut state = vec![0.0; self.generator.cell().state() * lanes];
        let mut y = vec![0.0; lanes];
        let sequence = self.past.iter().chain(std::iter::repeat_n(&self.generator, self.steps));
        constant(sequence, reading, part, row, &mut state, &mut y);
        y
    }
}

/// The state that a row of a table has come to which has had its present value for ever: a step by each of `past`, from
/// zeros. `state` is `[state, lanes]`.
pub fn evolved(past: &[Arc<Generator>], reading: &Reading<'_>, part: usize, row: u32, state: &mut [f32]) {
    state.fill(0.0);
    if let Some(first) = past.first() {
        let mut y = vec![0.0; first.parts()[part].layout.lanes];
        constant(past.iter(), reading, part, row, state, &mut y);
    }
}

/// Steps of several generators that read the same row again and again.
fn constant<'a>(
    generators: impl Iterator<Item = &'a Arc<Generator>>,
    reading: &Reading<'_>,
    part: usize,
    row: u32,
    state: &mut [f32],
    y: &mut [f32],
) {
    let (mut x, mut before, mut scratch) = (Vec::new(), state.to_vec(), Vec::new());
    for generator in generators {
        x.resize(generator.cell().inputs * y.len(), 0.0);
        generator.read(reading, part, row as usize, &mut x);
        before.copy_from_slice(state);
        let rows = super::Rows { part, first: row as usize, pack: 1, x: &x, before: &before };
        generator.forward(rows, state, y, &mut [], &mut scratch);
    }
}
