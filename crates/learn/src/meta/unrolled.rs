//! A recurrent generator over a sequence of models, for the rows that one batch reads.

use super::gradients::{BatchGradients, select};
use crate::pass::Pass;
use perennial_core::Encoded;
use perennial_model::generator::{Generator, Reading, Rows, States};
use perennial_model::{Backbone, BatchValues, Objective};
use perennial_nn::Workers;
use perennial_table::{Selected, Selection};

/// The sequence that is read and where it starts: constants of the training.
#[derive(Clone, Copy)]
pub(crate) struct Sequence<'a> {
    pub(crate) readings: &'a [Reading<'a>],
    /// The state before the first step, one per part. No gradient reaches it.
    pub(crate) start: &'a [States],
    /// Whether rows that a period did not read keep its model's values.
    pub(crate) copies: bool,
}

/// Buffers of a pass, reused from batch to batch.
pub(crate) struct Unrolled {
    pass: Pass,
    selections: Vec<Selection>,
    chunks: Vec<Chunk>,
    steps: Vec<StepBuffers>,
    /// Gradients by the generator's weights.
    pub(crate) gradients: Vec<Vec<f32>>,
}

/// Generated values of one step, and the gradients by them.
#[derive(Default)]
struct StepBuffers {
    dense: Vec<Vec<f32>>,
    rows: Vec<Vec<f32>>,
    gradients: BatchGradients,
}

/// Some rows of a part over the whole sequence.
#[derive(Default)]
struct Chunk {
    part: usize,
    /// Number of the table, for a part that is one.
    table: Option<usize>,
    /// Position of the first row: in the part, or for a table among the selected rows.
    first: usize,
    /// Rows of the part.
    rows: Vec<usize>,
    /// How many of `rows`, from the first on, are still needed in each step.
    needed: Vec<usize>,
    steps: Vec<ChunkStep>,
    /// State before each step, and after the last.
    states: Vec<Vec<f32>>,
    d_state: [Vec<f32>; 2],
    d_weights: Vec<f32>,
    scratch: Vec<f32>,
}

#[derive(Default)]
struct ChunkStep {
    x: Vec<f32>,
    y: Vec<f32>,
    kept: Vec<f32>,
    dy: Vec<f32>,
    /// Rows that keep the base model's values.
    copied: Vec<bool>,
}

/// Coordinates of a chunk: a worker's share, and the grain in which gradients are summed.
const CHUNK: usize = 4096;

impl Unrolled {
    pub(crate) fn new(shards: usize, tables: usize) -> Unrolled {
        Unrolled {
            pass: Pass::new(shards),
            selections: vec![Selection::default(); tables],
            chunks: Vec::new(),
            steps: Vec::new(),
            gradients: Vec::new(),
        }
    }

    /// The loss `sum_j share_j * mean BCE(model generated in step j, batch_j)`; [`Unrolled::gradients`] then holds its
    /// gradients by the generator's weights.
    #[expect(clippy::too_many_arguments, reason = "a generator, a backbone, a sequence and its data")]
    pub(crate) fn differentiate(
        &mut self,
        generator: &Generator,
        backbone: &Backbone,
        sequence: Sequence<'_>,
        sets: &[Option<&Encoded>],
        batches: &[&[u32]],
        shares: &[f64],
        objective: Objective,
        workers: &Workers,
    ) -> f64 {
        self.cut(generator, backbone, sequence, sets, batches);
        workers.for_each(&mut self.chunks, |_, chunk| chunk.forward(generator, sequence));
        self.collect(generator, backbone);
        let mut loss = 0.0;
        for (step, (&set, &batch)) in sets.iter().zip(batches).enumerate() {
            let Some(set) = set else { continue };
            let StepBuffers { dense, rows, gradients } = &mut self.steps[step];
            let spec = backbone.spec();
            let dense =
                spec.dense.iter().zip(dense.iter()).map(|(spec, dense)| ([spec.rows, spec.cols], dense.as_slice()));
            let tables = self.selections.iter().zip(rows.iter()).zip(&spec.tables);
            let tables = tables.map(|((selection, values), spec)| Selected { selection, values, dim: spec.dim });
            let statistics = &sequence.readings[step].now.params.statistics;
            let values = BatchValues { dense: dense.collect(), tables: tables.collect(), statistics };
            loss += gradients.differentiate(
                &mut self.pass,
                backbone,
                &values,
                (set, batch),
                objective,
                shares[step],
                workers,
            );
        }
        self.backward(generator, workers);
        loss
    }

    /// Cuts all coordinates that the batches read into chunks. Rows are selected by the last step first, so that those
    /// needed in a step are always the first ones.
    fn cut(
        &mut self,
        generator: &Generator,
        backbone: &Backbone,
        sequence: Sequence<'_>,
        sets: &[Option<&Encoded>],
        batches: &[&[u32]],
    ) {
        let (steps, tables) = (sequence.readings.len(), self.selections.len());
        for (selection, table) in self.selections.iter_mut().zip(&sequence.readings[0].now.params.tables) {
            selection.clear(table.rows());
        }
        let mut needed = vec![vec![0; tables]; steps];
        for step in (0..steps).rev() {
            if let Some(set) = sets[step] {
                select(&mut self.selections, backbone.lookups(), set, batches[step]);
            }
            needed[step] = self.selections.iter().map(|selection| selection.rows().len()).collect();
        }
        self.steps.resize_with(steps, StepBuffers::default);
        for (buffers, needed) in self.steps.iter_mut().zip(&needed) {
            buffers.gradients.reset(backbone.spec(), needed.iter().copied());
        }
        let mut used = 0;
        let tensors = backbone.spec().dense.len();
        for (part, of) in generator.parts().iter().enumerate() {
            let table = part.checked_sub(tensors);
            let rows = match (table, of.len) {
                (Some(table), _) => self.selections[table].rows().len(),
                (None, len) => of.layout.rows(len.unwrap_or_default()),
            };
            let per_chunk = (CHUNK / of.layout.lanes).max(1);
            for first in (0..rows).step_by(per_chunk) {
                if self.chunks.len() == used {
                    self.chunks.push(Chunk::default());
                }
                let chunk = &mut self.chunks[used];
                used += 1;
                let range = first..rows.min(first + per_chunk);
                chunk.rows.clear();
                chunk.needed.clear();
                match table {
                    Some(table) => {
                        chunk.rows.extend(self.selections[table].rows()[range.clone()].iter().map(|&row| row as usize));
                        let in_chunk = |needed: usize| needed.saturating_sub(first).min(range.len());
                        chunk.needed.extend(needed.iter().map(|needed| in_chunk(needed[table])));
                    }
                    None => {
                        chunk.rows.extend(range.clone());
                        chunk.needed.resize(steps, range.len());
                    }
                }
                (chunk.part, chunk.table, chunk.first) = (part, table, first);
            }
        }
        self.chunks.truncate(used);
    }

    /// Puts what the chunks made side by side.
    fn collect(&mut self, generator: &Generator, backbone: &Backbone) {
        let spec = backbone.spec();
        for (step, buffers) in self.steps.iter_mut().enumerate() {
            buffers.dense.resize_with(spec.dense.len(), Vec::new);
            buffers.rows.resize_with(spec.tables.len(), Vec::new);
            buffers.dense.iter_mut().chain(&mut buffers.rows).for_each(Vec::clear);
            for chunk in &self.chunks {
                let lanes = generator.parts()[chunk.part].layout.lanes;
                let values = &chunk.steps[step].y[..chunk.needed[step] * lanes];
                match chunk.table {
                    Some(table) => buffers.rows[table].extend_from_slice(values),
                    None => buffers.dense[chunk.part].extend_from_slice(values),
                }
            }
            for (values, spec) in buffers.dense.iter_mut().zip(&spec.dense) {
                values.truncate(spec.rows * spec.cols);
            }
        }
    }

    /// The way back of every chunk; gradients by shared weights are summed in the order of chunks.
    fn backward(&mut self, generator: &Generator, workers: &Workers) {
        self.gradients.resize_with(generator.weights.len(), Vec::new);
        for (grads, dense) in self.gradients.iter_mut().zip(&generator.weights) {
            grads.clear();
            grads.resize(dense.values.len(), 0.0);
        }
        let steps = &self.steps;
        workers.for_each(&mut self.chunks, |_, chunk| chunk.backward(generator, steps));
        for chunk in &self.chunks {
            let layout = generator.parts()[chunk.part].layout;
            let block = generator.cell().params() * layout.lanes;
            for (row, d_lanes) in (chunk.first..).zip(chunk.d_weights.chunks_exact(block)) {
                generator.add_gradient(chunk.part, row, d_lanes, &mut self.gradients);
            }
        }
    }
}

impl Chunk {
    fn forward(&mut self, generator: &Generator, sequence: Sequence<'_>) {
        let (cell, layout) = (generator.cell(), generator.parts()[self.part].layout);
        let lanes = layout.lanes;
        let width = cell.state() * lanes;
        let steps = sequence.readings.len();
        self.steps.resize_with(steps, ChunkStep::default);
        self.states.resize_with(steps + 1, Vec::new);
        self.states.iter_mut().for_each(|state| state.resize(self.rows.len() * width, 0.0));
        for (&row, state) in self.rows.iter().zip(self.states[0].chunks_exact_mut(width)) {
            sequence.start[self.part].read(row, state);
        }
        for (step, reading) in sequence.readings.iter().enumerate() {
            let needed = self.needed[step];
            let (before, after) = self.states.split_at_mut(step + 1);
            let buffers = &mut self.steps[step];
            buffers.x.resize(needed * cell.inputs * lanes, 0.0);
            for (&row, x) in self.rows.iter().zip(buffers.x.chunks_exact_mut(cell.inputs * lanes)) {
                generator.read(reading, self.part, row, x);
            }
            buffers.y.resize(needed * lanes, 0.0);
            buffers.kept.resize(needed * cell.kept() * lanes, 0.0);
            let rows =
                Rows { part: self.part, first: self.first, x: &buffers.x, before: &before[step][..needed * width] };
            let after = &mut after[0][..needed * width];
            generator.forward(rows, after, &mut buffers.y, &mut buffers.kept, &mut self.scratch);
            buffers.copied.clear();
            if let (true, Some(table)) = (sequence.copies, self.table) {
                let activity = &reading.now.activity[table];
                buffers.copied.extend(self.rows[..needed].iter().map(|&row| !activity.is_active(row)));
                buffers.copy(cell.inputs, lanes);
            }
        }
    }

    fn backward(&mut self, generator: &Generator, steps: &[StepBuffers]) {
        let (cell, layout) = (generator.cell(), generator.parts()[self.part].layout);
        let (lanes, width) = (layout.lanes, cell.state() * layout.lanes);
        let blocks = if layout.blocks == 1 { 1 } else { self.rows.len() };
        self.d_weights.clear();
        self.d_weights.resize(blocks * cell.params() * lanes, 0.0);
        for d_state in &mut self.d_state {
            d_state.clear();
            d_state.resize(self.rows.len() * width, 0.0);
        }
        for (step, buffers) in self.steps.iter_mut().enumerate().rev() {
            let needed = self.needed[step];
            let gradients = &steps[step].gradients;
            let from = match self.table {
                Some(table) => &gradients.rows[table],
                None => &gradients.dense[self.part],
            };
            let from = &from[(self.first * lanes).min(from.len())..];
            buffers.dy.clear();
            buffers.dy.extend_from_slice(&from[..(needed * lanes).min(from.len())]);
            buffers.dy.resize(needed * lanes, 0.0);
            buffers.stop_copied(lanes);
            // Rows that only earlier steps need have seen no gradient yet: their part of `d_after` is still zero.
            let [d_after, d_before] = &mut self.d_state;
            let rows = Rows {
                part: self.part,
                first: self.first,
                x: &buffers.x,
                before: &self.states[step][..needed * width],
            };
            generator.backward(
                rows,
                &buffers.kept,
                &buffers.dy,
                &d_after[..needed * width],
                &mut d_before[..needed * width],
                &mut self.d_weights,
                &mut self.scratch,
            );
            self.d_state.swap(0, 1);
        }
    }
}

impl ChunkStep {
    fn copy(&mut self, inputs: usize, lanes: usize) {
        let rows = self.y.chunks_exact_mut(lanes).zip(self.x.chunks_exact(inputs * lanes));
        for ((y, x), _) in rows.zip(&self.copied).filter(|(_, copied)| **copied) {
            y.copy_from_slice(&x[..lanes]);
        }
    }

    /// What was copied does not depend on the generator.
    fn stop_copied(&mut self, lanes: usize) {
        for (dy, _) in self.dy.chunks_exact_mut(lanes).zip(&self.copied).filter(|(_, copied)| **copied) {
            dy.fill(0.0);
        }
    }
}
