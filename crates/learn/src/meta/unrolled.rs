//! A recurrent generator over a sequence of models, for the rows that one batch reads.

use super::gradients::{BatchGradients, select};
use crate::pass::Pass;
use perennial_core::Encoded;
use perennial_model::generator::{Generator, Reading, Rows, States};
use perennial_model::{Backbone, BatchValues, Objective};
use perennial_nn::Workers;
use perennial_table::{Selected, Selection};

/// The sequence that is read and where it starts: constants of the training.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// The models, oldest first.
    pub readings: &'a [Reading<'a>],
    /// The state before the first step, one per part. No gradient reaches it.
    pub start: &'a [States],
    /// Whether rows that a period did not read keep its model's values.
    pub copies: bool,
}

/// Buffers of a pass, reused from batch to batch.
#[derive(Debug)]
pub struct Unrolled {
    pass: Pass,
    selections: Vec<Selection>,
    chunks: Vec<Chunk>,
    steps: Vec<StepBuffers>,
    /// Gradients by the generator's weights, as [`Generator::weights`] lie.
    pub gradients: Vec<Vec<f32>>,
}

/// Generated values of one step, and the gradients by them.
#[derive(Debug, Default)]
struct StepBuffers {
    dense: Vec<Vec<f32>>,
    rows: Vec<Vec<f32>>,
    gradients: BatchGradients,
}

/// Some rows of a part over the whole sequence.
#[derive(Debug, Default)]
struct Chunk {
    part: usize,
    /// Number of the table, for a part that is one.
    table: Option<usize>,
    /// Position of the first row: in the part, or for a table among the selected rows.
    first: usize,
    /// Rows side by side: see [`Rows::pack`].
    pack: usize,
    /// Rows of the part.
    rows: Vec<usize>,
    /// How many of `rows`, from the first on, are still needed in each step.
    needed: Vec<usize>,
    steps: Vec<ChunkStep>,
    /// State before each step, and after the last.
    states: Vec<Vec<f32>>,
    d_state: [Vec<f32>; 2],
    /// Gradients by weights that other rows share.
    d_weights: Vec<f32>,
    scratch: Vec<f32>,
}

#[derive(Debug, Default)]
struct ChunkStep {
    x: Vec<f32>,
    y: Vec<f32>,
    kept: Vec<f32>,
    dy: Vec<f32>,
    /// Rows that keep the base model's values.
    copied: Vec<bool>,
}

/// Coordinates of a chunk: a worker's share, and the grain in which gradients are summed.
const CHUNK: usize = 1024;
/// The same where each coordinate has weights of its own: these and their gradients, 130 kB, stay in a near cache.
const PRIVATE_CHUNK: usize = 256;
/// Rows that are asked for before they are read.
const AHEAD: usize = 8;

impl Unrolled {
    /// Buffers for a model of so many tables, whose batches are computed in `shards` parts.
    pub fn new(shards: usize, tables: usize) -> Unrolled {
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
    ///
    /// There is one of `sets`, `batches` and `shares` for each step of the sequence; a step without a set does not
    /// count. Cost: the rows that the batches read, times the steps up to the one that reads them.
    #[expect(clippy::too_many_arguments, reason = "a generator, a backbone, a sequence and its data")]
    pub fn differentiate(
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
            let coordinates = if generator.is_private(part) { PRIVATE_CHUNK } else { CHUNK };
            let per_chunk = (coordinates / of.layout.lanes).max(1);
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
                chunk.pack = table.map_or(1, |_| of.layout.pack());
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
            grads.resize(dense.values.len(), 0.0);
        }
        let steps = &self.steps;
        let mut tasks = with_private(&mut self.chunks, &mut self.gradients, generator);
        workers.for_each(&mut tasks, |_, (chunk, private)| chunk.backward(generator, steps, private.as_deref_mut()));
        for part in (0..generator.parts().len()).filter(|&part| !generator.is_private(part)) {
            self.gradients[generator.parts()[part].weights].fill(0.0);
        }
        for chunk in self.chunks.iter().filter(|chunk| !generator.is_private(chunk.part)) {
            let layout = generator.parts()[chunk.part].layout;
            let block = generator.cell().params() * layout.lanes * chunk.pack;
            for (row, d_lanes) in (chunk.first..).zip(chunk.d_weights.chunks_exact(block)) {
                generator.add_gradient(chunk.part, row, d_lanes, &mut self.gradients);
            }
        }
    }
}

/// Each chunk, with the place of its gradients where they are its own. The chunks of a part follow each other.
fn with_private<'a>(
    chunks: &'a mut [Chunk],
    gradients: &'a mut [Vec<f32>],
    generator: &Generator,
) -> Vec<(&'a mut Chunk, Option<&'a mut [f32]>)> {
    let mut left: Vec<&mut [f32]> = gradients.iter_mut().map(Vec::as_mut_slice).collect();
    let mut place = |chunk: &Chunk| {
        let part = &generator.parts()[chunk.part];
        let len = chunk.rows.len() * generator.cell().params() * part.layout.lanes;
        let left = &mut left[part.weights];
        let (mine, others) = std::mem::take(left).split_at_mut(len);
        *left = others;
        mine
    };
    let task = |chunk: &'a mut Chunk| {
        let private = generator.is_private(chunk.part).then(|| place(chunk));
        (chunk, private)
    };
    chunks.iter_mut().map(task).collect()
}

impl Chunk {
    fn forward(&mut self, generator: &Generator, sequence: Sequence<'_>) {
        let (cell, lanes) = (generator.cell(), generator.parts()[self.part].layout.lanes);
        let Chunk { part, table, first, pack, ref rows, .. } = *self;
        let (width, steps) = (cell.state() * pack * lanes, sequence.readings.len());
        self.steps.resize_with(steps, ChunkStep::default);
        self.states.resize_with(steps + 1, Vec::new);
        self.states.iter_mut().for_each(|state| state.resize(rows.len().div_ceil(pack) * width, 0.0));
        let shape = Packed { pack, units: cell.state(), lanes };
        let start = &sequence.start[part];
        shape.fill(&mut self.states[0], rows, &mut self.scratch, |row, ahead, state| {
            ahead.into_iter().for_each(|&row| start.ask_for(row));
            start.read(row, state);
        });
        for (step, reading) in sequence.readings.iter().enumerate() {
            let packs = self.needed[step].div_ceil(pack);
            let (before, after) = self.states.split_at_mut(step + 1);
            let buffers = &mut self.steps[step];
            buffers.resize(packs * pack * lanes, cell.inputs, cell.kept());
            let shape = Packed { units: cell.inputs, ..shape };
            let read = rows.len().min(packs * pack);
            let read = &rows[..read];
            shape.fill(&mut buffers.x, read, &mut self.scratch, |row, ahead, x| {
                ahead.into_iter().for_each(|&row| generator.ask_for(reading, part, row));
                generator.read(reading, part, row, x);
            });
            let rows = Rows { part, first, pack, x: &buffers.x, before: &before[step][..packs * width] };
            let after = &mut after[0][..packs * width];
            generator.forward(rows, after, &mut buffers.y, &mut buffers.kept, &mut self.scratch);
            buffers.copied.clear();
            if let (true, Some(table)) = (sequence.copies, table) {
                let activity = &reading.now.activity[table];
                buffers.copied.extend(self.rows[..self.needed[step]].iter().map(|&row| !activity.is_active(row)));
                buffers.copy(shape);
            }
        }
    }

    /// `private` is where the gradients by the weights go, unless other rows share these.
    fn backward(&mut self, generator: &Generator, steps: &[StepBuffers], private: Option<&mut [f32]>) {
        let (cell, layout) = (generator.cell(), generator.parts()[self.part].layout);
        let Chunk { part, first, pack, ref rows, .. } = *self;
        let (lanes, width) = (layout.lanes, cell.state() * layout.lanes * pack);
        let d_weights = private.unwrap_or_else(|| {
            let blocks = if layout.blocks == 1 { 1 } else { rows.len() };
            self.d_weights.resize(blocks * cell.params() * lanes * pack, 0.0);
            &mut self.d_weights
        });
        d_weights.fill(0.0);
        for d_state in &mut self.d_state {
            d_state.clear();
            d_state.resize(rows.len().div_ceil(pack) * width, 0.0);
        }
        for (step, buffers) in self.steps.iter_mut().enumerate().rev() {
            let needed = self.needed[step];
            let packs = needed.div_ceil(pack);
            let gradients = &steps[step].gradients;
            let from = match self.table {
                Some(table) => &gradients.rows[table],
                None => &gradients.dense[part],
            };
            let from = &from[(first * lanes).min(from.len())..];
            buffers.dy.clear();
            buffers.dy.extend_from_slice(&from[..(needed * lanes).min(from.len())]);
            buffers.dy.resize(packs * pack * lanes, 0.0);
            buffers.stop_copied(lanes);
            // Rows that only earlier steps need have seen no gradient yet: their part of `d_after` is still zero.
            let [d_after, d_before] = &mut self.d_state;
            let before = &self.states[step][..packs * width];
            let (d_after, d_before) = (&d_after[..packs * width], &mut d_before[..packs * width]);
            let rows = Rows { part, first, pack, x: &buffers.x, before };
            generator.backward(rows, &buffers.kept, &buffers.dy, d_after, d_before, d_weights, &mut self.scratch);
            self.d_state.swap(0, 1);
        }
    }
}

/// How numbers of rows lie: `[packs, units, pack * lanes]`.
#[derive(Clone, Copy)]
struct Packed {
    pack: usize,
    units: usize,
    lanes: usize,
}

impl Packed {
    /// Lets `read` give each row's `[units, lanes]`, given also the row that it may ask for; what no row fills of the
    /// last pack is zero.
    fn fill(
        self,
        to: &mut [f32],
        rows: &[usize],
        scratch: &mut Vec<f32>,
        mut read: impl FnMut(usize, Option<&usize>, &mut [f32]),
    ) {
        let len = self.units * self.lanes;
        if self.pack == 1 || self.units == 1 {
            let (filled, rest) = to.split_at_mut(rows.len() * len);
            for (at, to) in filled.chunks_exact_mut(len).enumerate() {
                read(rows[at], rows.get(at + AHEAD), to);
            }
            return rest.fill(0.0);
        }
        scratch.resize(len, 0.0);
        for (pack, to) in to.chunks_exact_mut(self.pack * len).enumerate() {
            to.fill(0.0);
            for (side, at) in (pack * self.pack..rows.len().min((pack + 1) * self.pack)).enumerate() {
                read(rows[at], rows.get(at + AHEAD), scratch);
                let places = to.chunks_exact_mut(self.pack * self.lanes);
                for (to, from) in places.zip(scratch.chunks_exact(self.lanes)) {
                    to[side * self.lanes..][..self.lanes].copy_from_slice(from);
                }
            }
        }
    }

    /// A row's first unit.
    fn first(self, all: &[f32], row: usize) -> &[f32] {
        let wide = self.pack * self.lanes;
        &all[row / self.pack * self.units * wide + row % self.pack * self.lanes..][..self.lanes]
    }
}

impl ChunkStep {
    /// Makes room for so many coordinates.
    fn resize(&mut self, coordinates: usize, inputs: usize, kept: usize) {
        self.x.resize(coordinates * inputs, 0.0);
        self.y.resize(coordinates, 0.0);
        self.kept.resize(coordinates * kept, 0.0);
    }

    /// Replaces rows that are copied by the model's own values, the first of the inputs.
    fn copy(&mut self, inputs: Packed) {
        let rows = self.y.chunks_exact_mut(inputs.lanes).zip(&self.copied).enumerate();
        for (row, (y, _)) in rows.filter(|(_, (_, copied))| **copied) {
            y.copy_from_slice(inputs.first(&self.x, row));
        }
    }

    /// What was copied does not depend on the generator.
    fn stop_copied(&mut self, lanes: usize) {
        for (dy, _) in self.dy.chunks_exact_mut(lanes).zip(&self.copied).filter(|(_, copied)| **copied) {
            dy.fill(0.0);
        }
    }
}
