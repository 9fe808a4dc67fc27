//! Values of ids that were not born yet when a version was generated.

use super::{Activity, Generator, Reading, Snapshot};
use crate::Params;
use std::sync::Arc;

/// Generates the rows of ids that are met at scoring for the first time.
///
/// Such an id has had its first value in all models of the sequence: its generated value is what the generator makes of
/// that constant, from a state of zeros. (The published code has rows for all ids from the start, whose states have
/// gone on evolving since.)
#[derive(Debug, Clone)]
pub struct Newborn {
    /// The generator, without slots.
    pub generator: Arc<Generator>,
    /// Length of the sequence.
    pub steps: usize,
    /// Whether rows that were not read in the newest period keep the base model's values: then newborn ones do too.
    pub copied: bool,
}

impl Newborn {
    /// Replaces the first values of rows from `first[table]` on.
    pub fn generate(&self, params: &mut Params, first: &[u32]) {
        if self.copied {
            return;
        }
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
