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

/// A recurrent generator and the length of the sequence of constants that it reads, from a state of zeros. (The
/// published code has rows for all ids from the start, whose states have gone on evolving since.)
#[derive(Debug, Clone)]
pub struct Recurrent {
    /// The generator, without slots.
    pub generator: Arc<Generator>,
    /// Length of the sequence.
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
        let (cell, lanes) = (self.generator.cell(), self.generator.parts()[part].layout.lanes);
        let mut x = vec![0.0; cell.inputs * lanes];
        self.generator.read(reading, part, row as usize, &mut x);
        let (mut before, mut after) = (vec![0.0; cell.state() * lanes], vec![0.0; cell.state() * lanes]);
        let (mut y, mut scratch) = (vec![0.0; lanes], Vec::new());
        for _ in 0..self.steps {
            let rows = super::Rows { part, first: row as usize, x: &x, before: &before };
            self.generator.forward(rows, &mut after, &mut y, &mut [], &mut scratch);
            std::mem::swap(&mut before, &mut after);
        }
        y
    }
}
