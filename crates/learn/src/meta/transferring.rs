//! Transfer networks over the rows that one batch reads.

use super::gradients::{BatchGradients, select};
use crate::descent::Gradients;
use crate::pass::Pass;
use perennial_core::{Column, Encoded};
use perennial_model::transfer::{Made, Transfer, Wanted};
use perennial_model::{Backbone, BatchValues, Objective, Params, Statistic, TableId};
use perennial_nn::{Tape, Workers};
use perennial_table::{Place, Pool, Selected, Selection, Shard, Table, Touches};

/// Buffers of a pass, reused from batch to batch.
#[derive(Debug)]
pub(crate) struct Transferring {
    pass: Pass,
    /// The rows of each table that the batch reads.
    rows: Vec<Reads>,
    chunks: Vec<Chunk>,
    made: Values,
    by_made: BatchGradients,
    by_updated: Values,
    by_weights: Vec<Vec<f32>>,
}

/// Rows of a table.
#[derive(Debug, Default)]
struct Reads {
    selection: Selection,
    /// The same rows as examples that read one row each, and what they touch.
    ids: Vec<u32>,
    index: Vec<u32>,
    touches: Touches,
}

/// A number for each coordinate that the batch reads: one vector per tensor, `[selected, dim]` per table.
#[derive(Debug, Default)]
struct Values {
    parts: Vec<Vec<f32>>,
}

/// Some rows of a part.
#[derive(Debug, Default)]
struct Chunk {
    part: usize,
    /// Position of the first row: in the part, or for a table among the selected rows.
    first: usize,
    rows: Vec<usize>,
    tape: Tape<f32>,
    previous: Vec<f32>,
    updated: Vec<f32>,
    made: Option<Made>,
}

/// Numbers of a chunk: a worker's share, and the grain in which gradients are summed.
const CHUNK: usize = 1024;

/// What makes parameters, of what, for which backbone.
#[derive(Clone, Copy)]
pub(crate) struct Through<'a> {
    pub(crate) transfer: &'a Transfer,
    pub(crate) previous: &'a Params,
    pub(crate) updated: &'a Params,
    pub(crate) backbone: &'a Backbone,
}

impl Transferring {
    /// Buffers for a model of so many tables, whose batches are computed in `shards` parts.
    pub(crate) fn new(shards: usize, tables: usize) -> Transferring {
        Transferring {
            pass: Pass::new(shards),
            rows: (0..tables).map(|_| Reads::default()).collect(),
            chunks: Vec::new(),
            made: Values::default(),
            by_made: BatchGradients::default(),
            by_updated: Values::default(),
            by_weights: Vec::new(),
        }
    }

    /// Finds the rows that these examples read; what follows is about them.
    pub(crate) fn select(&mut self, backbone: &Backbone, tables: &[Table], data: &Encoded, batch: &[u32]) {
        let mut selections: Vec<Selection> = self.rows.iter_mut().map(|r| std::mem::take(&mut r.selection)).collect();
        selections.iter_mut().zip(tables).for_each(|(selection, table)| selection.clear(table.rows()));
        select(&mut selections, backbone.lookups(), data, batch);
        for ((reads, selection), table) in self.rows.iter_mut().zip(selections).zip(tables) {
            reads.selection = selection;
            reads.touch(table);
        }
    }

    /// Makes the rows of the batch see the steps they missed, in the modes in which rows miss steps.
    pub(crate) fn catch_up(&self, tables: &mut [Table], workers: &Workers) {
        for (reads, table) in self.rows.iter().zip(tables).filter(|(_, table)| table.needs_catch_up()) {
            workers.for_each(table.shards_mut(), |_, rows| rows.catch_up(&reads.touches));
        }
    }

    /// The mean loss of the selected batch on what is made, and its gradients by what is wanted. `noise` is the key of a
    /// training step's random choices.
    pub(crate) fn differentiate(
        &mut self,
        through: Through<'_>,
        (data, batch): (&Encoded, &[u32]),
        objective: Objective,
        wanted: Wanted,
        noise: Option<u64>,
        workers: &Workers,
    ) -> f64 {
        self.cut(through);
        workers.for_each(&mut self.chunks, |_, chunk| chunk.forward(through, wanted));
        self.made.collect(through.transfer, &self.chunks, |chunk, made| chunk.tape.value(made.y));
        let loss = self.loss(through, (data, batch), objective, noise, workers);
        let by_made = &self.by_made;
        workers.for_each(&mut self.chunks, |_, chunk| chunk.backward(through.transfer, by_made));
        match wanted {
            Wanted::Nothing => {}
            Wanted::Updated => {
                self.by_updated.collect(through.transfer, &self.chunks, |chunk, made| chunk.tape.grad(made.updated));
            }
            Wanted::Transfer => self.sum_weights(through.transfer, workers),
        }
        loss
    }

    /// Gradients by the networks, as [`Transfer::weights`] lie.
    pub(crate) fn by_weights(&self) -> &[Vec<f32>] {
        &self.by_weights
    }

    /// Moves running statistics by what the shards of the last batch saw.
    pub(crate) fn update_statistics(&self, backbone: &Backbone, statistics: &mut [Statistic]) {
        self.pass.update_statistics(backbone, statistics);
    }

    /// Cuts all that the batch reads into chunks.
    fn cut(&mut self, Through { transfer, .. }: Through<'_>) {
        let tensors = transfer.parts().len() - self.rows.len();
        let mut used = 0;
        for (part, of) in transfer.parts().iter().enumerate() {
            let selected = part.checked_sub(tensors).map(|table| self.rows[table].selection.rows());
            let rows = selected.map_or(of.rows.unwrap_or_default(), <[u32]>::len);
            let per_chunk = (CHUNK / of.network.width).max(1);
            for first in (0..rows).step_by(per_chunk) {
                if self.chunks.len() == used {
                    self.chunks.push(Chunk::default());
                }
                let chunk = &mut self.chunks[used];
                used += 1;
                (chunk.part, chunk.first) = (part, first);
                chunk.rows.clear();
                let range = first..rows.min(first + per_chunk);
                match selected {
                    Some(selected) => chunk.rows.extend(selected[range].iter().map(|&row| row as usize)),
                    None => chunk.rows.extend(range),
                }
            }
        }
        self.chunks.truncate(used);
    }

    /// The loss on what was made, and its gradient by that.
    fn loss(
        &mut self,
        Through { backbone, updated, .. }: Through<'_>,
        data: (&Encoded, &[u32]),
        objective: Objective,
        noise: Option<u64>,
        workers: &Workers,
    ) -> f64 {
        let spec = backbone.spec();
        let (dense, tables) = self.made.parts.split_at(spec.dense.len());
        let dense = spec.dense.iter().zip(dense).map(|(spec, values)| ([spec.rows, spec.cols], values.as_slice()));
        let tables = self.rows.iter().zip(tables).zip(&spec.tables);
        let tables =
            tables.map(|((reads, values), spec)| Selected { selection: &reads.selection, values, dim: spec.dim });
        let values = BatchValues { dense: dense.collect(), tables: tables.collect(), statistics: &updated.statistics };
        self.by_made.reset(spec, self.rows.iter().map(|reads| reads.ids.len()));
        self.by_made.differentiate(&mut self.pass, backbone, &values, data, objective, 1.0, noise, workers)
    }

    /// Sums the gradients by each tensor of each network, in the order of chunks.
    fn sum_weights(&mut self, transfer: &Transfer, workers: &Workers) {
        self.by_weights.resize_with(transfer.weights.len(), Vec::new);
        let chunks = &self.chunks;
        workers.for_each(&mut self.by_weights, |nth, sums| {
            sums.clear();
            sums.resize(transfer.weights[nth].values.len(), 0.0);
            for chunk in chunks.iter().filter(|chunk| transfer.tensors(chunk.part).contains(&nth)) {
                let made = chunk.made.expect("every chunk was made");
                let grads = chunk.tape.grad(made.weights[nth - transfer.tensors(chunk.part).start]);
                sums.iter_mut().zip(grads).for_each(|(sum, grad)| *sum += grad);
            }
        });
    }
}

/// Those by the updated version.
impl Gradients for Transferring {
    fn write_dense(&self, sums: &mut [Vec<f32>], _workers: &Workers) {
        sums.iter_mut().zip(&self.by_updated.parts).for_each(|(sum, grads)| sum.copy_from_slice(grads));
    }

    fn add_rows(&self, table: TableId, rows: &mut Shard) {
        let (reads, tensors) = (&self.rows[table.0], self.by_updated.parts.len() - self.rows.len());
        let grads = &self.by_updated.parts[tensors + table.0];
        let dim = grads.len() / reads.ids.len().max(1);
        rows.accumulate(&reads.touches, grads, Place::alone(dim));
    }
}

impl Reads {
    fn touch(&mut self, table: &Table) {
        self.ids.clear();
        self.ids.extend_from_slice(self.selection.rows());
        self.index.clear();
        self.index.extend(0..self.ids.len() as u32);
        let column = Column::Id(std::mem::take(&mut self.ids));
        table.touch(&column, &self.index, Pool::Sum, &mut self.touches);
        if let Column::Id(ids) = column {
            self.ids = ids;
        }
    }
}

impl Values {
    /// Puts what the chunks hold side by side. The chunks of a part follow each other.
    fn collect<'a>(&mut self, transfer: &Transfer, chunks: &'a [Chunk], of: impl Fn(&'a Chunk, Made) -> &'a [f32]) {
        self.parts.resize_with(transfer.parts().len(), Vec::new);
        self.parts.iter_mut().for_each(Vec::clear);
        for chunk in chunks {
            let made = chunk.made.expect("every chunk was made");
            self.parts[chunk.part].extend_from_slice(of(chunk, made));
        }
    }
}

impl Chunk {
    fn forward(&mut self, Through { transfer, previous, updated, .. }: Through<'_>, wanted: Wanted) {
        self.previous.clear();
        self.updated.clear();
        for &row in &self.rows {
            transfer.read(previous, self.part, row, &mut self.previous);
            transfer.read(updated, self.part, row, &mut self.updated);
        }
        self.tape.reset();
        self.made = Some(transfer.forward(&mut self.tape, self.part, (&self.previous, &self.updated), wanted));
    }

    fn backward(&mut self, transfer: &Transfer, by_made: &BatchGradients) {
        let (part, tensors) = (self.part, by_made.dense.len());
        let all = match part.checked_sub(tensors) {
            None => &by_made.dense[part],
            Some(table) => &by_made.rows[table],
        };
        let width = transfer.parts()[part].network.width;
        let made = self.made.expect("a chunk is made before its gradients");
        self.tape.backward_from(made.y, &all[self.first * width..][..self.rows.len() * width]);
    }
}
