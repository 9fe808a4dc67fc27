//! The distinct rows that a batch reads, with values that are not those of the table.

use crate::gather::{Place, Rows, ids_of};
use crate::table::PAD;
use crate::touches::Touches;
use perennial_core::Column;

/// Some rows of a table, numbered in order of first use. The pad row has no number.
///
/// Finding a row's number costs one read of an array over the whole table; emptying the selection costs its own size.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    rows: Vec<u32>,
    /// Number of each row of the table, or `NONE`.
    numbers: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Selection {
    /// Empties the selection, of a table that has `rows` rows now.
    pub fn clear(&mut self, rows: u32) {
        for row in self.rows.drain(..) {
            self.numbers[row as usize] = NONE;
        }
        self.numbers.resize(rows as usize, NONE);
    }

    /// Selects what the examples `index` of `column` read.
    pub fn add(&mut self, column: &Column, index: &[u32]) {
        for &example in index {
            for &row in ids_of(column, example) {
                if row != PAD && self.numbers[row as usize] == NONE {
                    self.numbers[row as usize] = self.rows.len() as u32;
                    self.rows.push(row);
                }
            }
        }
    }

    /// The rows, by number.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Adds, for each touch, its weight times the gradient at its position to the sum of its row: `sums` is
    /// `[selected, dim]`. Sums of a row are made in order of position.
    pub fn sum(&self, touches: &Touches, grads: &[f32], place: Place, dim: usize, sums: &mut [f32]) {
        touches.each(|row, position, weight| {
            let gradient = &grads[place.start(position as usize)..][..dim];
            let sum = &mut sums[self.numbers[row as usize] as usize * dim..][..dim];
            for (sum, &g) in sum.iter_mut().zip(gradient) {
                *sum += weight * g;
            }
        });
    }
}

/// Values of selected rows, `[selected, dim]`, under the ids of the table.
#[derive(Debug, Clone, Copy)]
pub struct Selected<'a> {
    /// Which rows.
    pub selection: &'a Selection,
    /// Their values.
    pub values: &'a [f32],
    /// Width of a row.
    pub dim: usize,
}

impl Rows for Selected<'_> {
    fn dim(&self) -> usize {
        self.dim
    }

    #[inline(always)]
    fn row(&self, id: u32) -> &[f32] {
        &self.values[self.selection.numbers[id as usize] as usize * self.dim..][..self.dim]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Init, Pool, Table, TableSpec};
    use perennial_core::Spans;

    /// Gathering from a selection that holds the table's own values is gathering from the table; the sums are those of
    /// the table's shards.
    #[test]
    fn a_selection_of_the_tables_values_is_the_table() {
        let spec = TableSpec { name: "t".into(), dim: 3, seed: 1, init: Init::Normal { std: 1.0 }, zeros: 0 };
        let mut table = Table::new(spec).unwrap();
        table.grow(&(0..40).collect::<Vec<_>>());
        let spans = Spans { start: vec![0, 3, 3], len: vec![3, 0, 4] };
        let weights = vec![1.0, 2.0, 0.5, 1.0, 3.0, 1.0, 1.0];
        let column = Column::bag(spans, vec![5, 0, 7, 7, 30, 5, 5], Some(weights));
        let mut selection = Selection::default();
        for _ in 0..2 {
            selection.clear(table.rows());
            selection.add(&column, &[0, 1, 2]);
        }
        assert_eq!(selection.rows(), [5, 7, 30]);
        let values: Vec<f32> = selection.rows().iter().flat_map(|&row| table.row(row).to_vec()).collect();
        let selected = Selected { selection: &selection, values: &values, dim: 3 };
        let (mut out, mut expected) = (vec![0.0; 9], vec![0.0; 9]);
        let mut touches = Touches::default();
        selected.gather(&column, &[2, 1, 0], Pool::Mean, &mut out, Place::alone(3), Some(&mut touches));
        table.gather(&column, &[2, 1, 0], Pool::Mean, &mut expected, Place::alone(3), None);
        assert_eq!(out, expected);
        let grads: Vec<f32> = (0..9).map(|i| i as f32).collect();
        let mut sums = vec![0.0; 9];
        selection.sum(&touches, &grads, Place::alone(3), 3, &mut sums);
        for (&row, sum) in selection.rows().iter().zip(sums.chunks(3)) {
            let shard = &mut table.shards_mut()[row as usize % crate::SHARDS];
            shard.accumulate(&touches, &grads, Place::alone(3));
            let at = shard.touched_rows().iter().position(|&slot| slot == row / crate::SHARDS as u32).unwrap();
            assert_eq!(&shard.gradients()[3 * at..][..3], sum);
            shard.forget();
        }
    }
}
