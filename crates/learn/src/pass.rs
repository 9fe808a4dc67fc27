//! Forward and backward passes over a batch.
//!
//! A batch is cut into a fixed number of shards, each with a tape of its own. Gradients of dense tensors are summed over
//! shards in their order, gradients of rows per row in the order of examples: the result depends on the number of
//! shards, which is a setting, and never on the number of workers or on timing.

use crate::order::{piece, requests};
use perennial_core::{Column, Encoded};
use perennial_model::{
    Backbone, DenseId, Lookup, Objective, PlainView, Statistic, StatisticId, TableId, Tap, Targets, Use, Values,
    ViewBuffers,
};
use perennial_nn::{Tape, Workers};
use perennial_table::{Selection, Shard as Rows, Table, Touches};

/// The shards of a batch; buffers are reused from batch to batch.
#[derive(Debug)]
pub(crate) struct Pass {
    shards: Vec<Shard>,
}

/// One part of a batch.
#[derive(Debug, Default)]
struct Shard {
    tape: Tape<f32>,
    view: ViewBuffers,
    index: Vec<u32>,
    targets: Targets,
    /// Rows that will be gathered, where they must be caught up with first.
    touched: Touches,
    loss: f64,
}

impl Shard {
    fn take(&mut self, data: &Encoded, stretch: &[u32], objective: &Objective) {
        let Shard { index, targets, .. } = self;
        index.clear();
        index.extend_from_slice(stretch);
        targets.clear();
        targets.label.extend(stretch.iter().map(|&i| data.label[i as usize]));
        targets.weight.extend(stretch.iter().map(|&i| data.weight[i as usize]));
        if objective.needs_previous() && !data.previous.is_empty() {
            targets.previous.extend(stretch.iter().map(|&i| data.previous[i as usize]));
        }
        if objective.needs_requests() {
            targets.requests.extend(requests(&data.request, stretch));
        }
        targets.prepare(objective);
    }

    /// Where the rows of a table were read, and what was touched there.
    fn uses(&self, table: TableId) -> impl Iterator<Item = (&Use, &Touches)> {
        self.view.uses.iter().zip(&self.view.touches).filter(move |(used, _)| used.table == table)
    }
}

impl Pass {
    /// Empty buffers for this many shards.
    pub(crate) fn new(shards: usize) -> Pass {
        Pass { shards: (0..shards).map(|_| Shard::default()).collect() }
    }

    /// Gives each shard its stretch of the examples `batch`, with what the objective needs to know of them, and returns
    /// their weight.
    pub(crate) fn split(&mut self, data: &Encoded, batch: &[u32], objective: &Objective) -> f64 {
        let per_shard = batch.len().div_ceil(self.shards.len()).max(1);
        let mut start = 0;
        for shard in &mut self.shards {
            let end = piece(data, batch, start, per_shard, objective.needs_requests());
            shard.take(data, &batch[start..end], objective);
            start = end;
        }
        batch.iter().map(|&i| f64::from(data.weight[i as usize])).sum()
    }

    /// Makes the rows of the batch see the steps they missed, in the modes in which rows miss steps.
    pub(crate) fn catch_up(
        &mut self,
        backbone: &Backbone,
        tables: &mut [Table],
        columns: &[Column],
        workers: &Workers,
    ) {
        if !tables.iter().any(Table::needs_catch_up) {
            return;
        }
        for lookup in backbone.lookups() {
            let Lookup::Rows { table, feature, pool } = *lookup else { continue };
            let table = &mut tables[table.0];
            workers.for_each(&mut self.shards, |_, shard| {
                table.touch(&columns[feature], &shard.index, pool, &mut shard.touched);
            });
            let shards = &self.shards;
            workers.for_each(table.shards_mut(), |_, rows| {
                shards.iter().for_each(|shard| rows.catch_up(&shard.touched));
            });
        }
    }

    /// Forward and backward pass of every shard on these values; returns the loss. A `normaliser` of the batch's weight
    /// makes that the mean. `noise` is the key of a training step's random choices; without one, layers behave as in
    /// scoring.
    #[expect(clippy::too_many_arguments, reason = "a model, a batch, a loss and how it is computed")]
    pub(crate) fn differentiate(
        &mut self,
        backbone: &Backbone,
        values: &impl Values,
        columns: &[Column],
        objective: Objective,
        normaliser: f64,
        noise: Option<u64>,
        workers: &Workers,
    ) -> f64 {
        workers.for_each(&mut self.shards, |_, shard| {
            shard.tape.reset();
            let mut view = PlainView::training(values, columns, &shard.index, noise, &mut shard.view);
            let logits = backbone.forward(&mut view, &mut shard.tape);
            let mut loss = objective.loss(&mut shard.tape, logits, &shard.targets, normaliser);
            for &(_, branch) in shard.view.taps.iter().filter(|(tap, _)| *tap == Tap::BranchLogits) {
                let own = objective.loss(&mut shard.tape, branch, &shard.targets, normaliser);
                loss = shard.tape.row_sum(&[loss, own]);
            }
            shard.loss = f64::from(shard.tape.value(loss)[0]);
            shard.tape.backward(loss);
        });
        self.shards.iter().map(|shard| shard.loss).sum()
    }

    /// Moves running statistics by what the shards saw, in their order.
    pub(crate) fn update_statistics(&self, backbone: &Backbone, statistics: &mut [Statistic]) {
        for (id, (statistic, spec)) in statistics.iter_mut().zip(&backbone.spec().statistics).enumerate() {
            let seen = self.shards.iter().flat_map(|shard| {
                let seen = shard.view.seen.iter().filter(move |(seen, ..)| *seen == StatisticId(id));
                seen.map(|(_, var, rows)| (shard.tape.value(*var), *rows))
            });
            statistic.update(spec.momentum, seen);
        }
    }

    /// Sums the gradient of each dense tensor; `sums` holds one vector of the tensor's length for each.
    pub(crate) fn sum_dense(&self, sums: &mut [Vec<f32>], workers: &Workers) {
        workers.for_each(sums, |id, sum| {
            sum.fill(0.0);
            for shard in &self.shards {
                let uses = shard.view.dense.iter().filter(|(used, _)| *used == DenseId(id));
                for (_, var) in uses {
                    sum.iter_mut().zip(shard.tape.grad(*var)).for_each(|(sum, grad)| *sum += grad);
                }
            }
        });
    }

    /// Adds the gradients of a table's rows to the sums of one of its shards.
    pub(crate) fn sum_rows(&self, table: TableId, rows: &mut Rows) {
        for shard in &self.shards {
            for (used, touches) in shard.uses(table) {
                rows.accumulate(touches, shard.tape.grad(used.var), used.place);
            }
        }
    }

    /// Sums the gradient of each selected row of a table: `sums` is `[selected, dim]`.
    pub(crate) fn sum_selected(&self, table: TableId, selection: &Selection, dim: usize, sums: &mut [f32]) {
        sums.fill(0.0);
        for shard in &self.shards {
            for (used, touches) in shard.uses(table) {
                selection.sum(touches, shard.tape.grad(used.var), used.place, dim, sums);
            }
        }
    }
}
