//! One step of a generator over all coordinates.

use super::{Generator, Reading, Rows, States};
use crate::Params;
use perennial_nn::Workers;

/// Coordinates of one task: small enough for a near cache, large enough to be worth a thread's while.
const CHUNK: usize = 4096;
/// Tasks per worker between two writes of results.
const TASKS: usize = 4;

/// Some rows of a part on their way through the cell.
#[derive(Default)]
struct Task {
    first: usize,
    rows: usize,
    x: Vec<f32>,
    before: Vec<f32>,
    after: Vec<f32>,
    y: Vec<f32>,
    scratch: Vec<f32>,
}

impl Generator {
    /// Reads one more model: moves `states` on by a step, and returns the parameters that the generator then makes if
    /// `generate` is set. `copied` says which rows of tables keep the model's own values, by (table, row).
    ///
    /// Costs `O(n d^2)` for `n` parameters and `d` floats of state, whatever was read before. The states must have been
    /// grown to the model's rows.
    pub fn step(
        &self,
        reading: &Reading<'_>,
        states: &mut [States],
        generate: bool,
        copied: impl Fn(usize, u32) -> bool,
        workers: &Workers,
    ) -> Option<Params> {
        let mut made = generate.then(|| reading.now.params.clone());
        let mut tasks: Vec<Task> = (0..TASKS * workers.count()).map(|_| Task::default()).collect();
        for (part, states) in states.iter_mut().enumerate() {
            let rows = states.rows();
            let per_task = (CHUNK / self.parts()[part].layout.lanes).max(1);
            let mut next = 0;
            while next < rows {
                let wave = tasks.iter_mut().zip((next..rows).step_by(per_task));
                let count =
                    wave.map(|(task, first)| (task.first, task.rows) = (first, per_task.min(rows - first))).count();
                let wave = &mut tasks[..count];
                workers.for_each(wave, |_, task| task.run(self, reading, part, states));
                for task in wave.iter() {
                    states.write(task.first, &task.after);
                    if let Some(made) = &mut made {
                        self.place(made, part, task, &copied);
                    }
                }
                next += per_task * count;
            }
        }
        made
    }

    /// Writes generated rows where they belong.
    fn place(&self, made: &mut Params, part: usize, task: &Task, copied: &impl Fn(usize, u32) -> bool) {
        let lanes = self.parts()[part].layout.lanes;
        match self.parts()[part].len {
            Some(len) => {
                let start = task.first * lanes;
                let end = len.min(start + task.y.len());
                made.dense[part].values[start..end].copy_from_slice(&task.y[..end - start]);
            }
            None => {
                let number = part - made.dense.len();
                let table = &mut made.tables[number];
                for (row, values) in (task.first as u32..).zip(task.y.chunks_exact(lanes)) {
                    if row != perennial_table::PAD && !copied(number, row) {
                        table.row_mut(row).copy_from_slice(values);
                    }
                }
            }
        }
    }
}

impl Task {
    fn run(&mut self, generator: &Generator, reading: &Reading<'_>, part: usize, states: &States) {
        let (cell, lanes) = (generator.cell(), generator.parts()[part].layout.lanes);
        let Task { first, rows, x, before, after, y, scratch } = self;
        x.resize(*rows * cell.inputs * lanes, 0.0);
        before.resize(*rows * cell.state() * lanes, 0.0);
        after.resize(before.len(), 0.0);
        y.resize(*rows * lanes, 0.0);
        let inputs = x.chunks_exact_mut(cell.inputs * lanes).zip(before.chunks_exact_mut(cell.state() * lanes));
        for (row, (x, before)) in (*first..).zip(inputs) {
            generator.read(reading, part, row, x);
            states.read(row, before);
        }
        generator.forward(Rows { part, first: *first, pack: 1, x, before }, after, y, &mut [], scratch);
    }
}
