//! Whole models made by transfer networks.

use super::{Transfer, Wanted};
use crate::Params;
use perennial_nn::{Tape, Workers};
use perennial_table::PAD;
use std::ops::Range;

/// Numbers of one task: small enough for a near cache, large enough to be worth a thread's while.
const CHUNK: usize = 4096;
/// Tasks per worker between two writes of results.
const TASKS: usize = 4;

/// Some rows of a part on their way through its network.
#[derive(Default)]
struct Task {
    tape: Tape<f32>,
    rows: Range<usize>,
    previous: Vec<f32>,
    updated: Vec<f32>,
    made: Vec<f32>,
}

impl Transfer {
    /// What the networks make of all rows: values without slots. `previous` has the rows of `updated`; running statistics
    /// are those of `updated`. Costs one pass of every row through its network.
    pub fn make(&self, previous: &Params, updated: &Params, workers: &Workers) -> Params {
        let mut made = updated.values_only();
        let mut tasks: Vec<Task> = (0..TASKS * workers.count()).map(|_| Task::default()).collect();
        for (part, of) in self.parts().iter().enumerate() {
            let table = part.checked_sub(updated.dense.len());
            let rows = of.rows.unwrap_or_else(|| updated.tables[table.unwrap_or_default()].rows() as usize);
            let per_task = (CHUNK / of.network.width).max(1);
            let starts: Vec<usize> = (0..rows).step_by(per_task).collect();
            for wave in starts.chunks(tasks.len()) {
                let tasks = &mut tasks[..wave.len()];
                tasks.iter_mut().zip(wave).for_each(|(task, &first)| task.rows = first..rows.min(first + per_task));
                workers.for_each(tasks, |_, task| task.run(self, previous, updated, part));
                tasks.iter().for_each(|task| self.place(&mut made, part, task));
            }
        }
        made
    }

    /// Replaces rows of tables from `first[table]` on, which have had their present values in both versions.
    pub(crate) fn make_newborn(&self, params: &mut Params, first: &[u32]) {
        let tensors = params.dense.len();
        let mut task = Task::default();
        for (table, &first) in first.iter().enumerate() {
            let per_task = (CHUNK / params.tables[table].dim()).max(1);
            let rows = params.tables[table].rows() as usize;
            for start in (first as usize..rows).step_by(per_task) {
                task.rows = start..rows.min(start + per_task);
                task.run(self, params, params, tensors + table);
                self.place(params, tensors + table, &task);
            }
        }
    }

    /// Writes rows where they belong. Those that are what they were keep their pages.
    fn place(&self, params: &mut Params, part: usize, task: &Task) {
        let width = self.parts()[part].network.width;
        let Some(number) = part.checked_sub(params.dense.len()) else {
            return params.dense[part].values[task.rows.start * width..][..task.made.len()].copy_from_slice(&task.made);
        };
        let table = &mut params.tables[number];
        for (row, made) in task.rows.clone().zip(task.made.chunks_exact(width)) {
            let row = row as u32;
            if row != PAD && table.row(row) != made {
                table.row_mut(row).copy_from_slice(made);
            }
        }
    }
}

impl Task {
    fn run(&mut self, transfer: &Transfer, previous: &Params, updated: &Params, part: usize) {
        self.previous.clear();
        self.updated.clear();
        for row in self.rows.clone() {
            transfer.read(previous, part, row, &mut self.previous);
            transfer.read(updated, part, row, &mut self.updated);
        }
        self.tape.reset();
        let made = transfer.forward(&mut self.tape, part, (&self.previous, &self.updated), Wanted::Nothing);
        self.made.clear();
        self.made.extend_from_slice(self.tape.value(made.y));
    }
}
