//! One step down the gradients of a batch, whoever computed them.

#[cfg(test)]
mod tests;

use perennial_model::{Group, ModelSpec, Params, Steps, TableId};
use perennial_nn::Workers;
use perennial_nn::optim::{scale, sum_of_squares};
use perennial_table::{Shard as Rows, Table};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Gradients of one batch's loss by the parameters that it read.
pub(crate) trait Gradients: Sync {
    /// Writes the gradient of each dense tensor; `sums` holds one vector of the tensor's length for each.
    fn write_dense(&self, sums: &mut [Vec<f32>], workers: &Workers);

    /// Adds the gradients of a table's rows to the sums of one of its shards.
    fn add_rows(&self, table: TableId, rows: &mut Rows);
}

/// Buffers, reused from step to step.
#[derive(Debug, Default)]
pub(crate) struct Descent {
    /// Summed gradient of each dense tensor.
    dense: Vec<Vec<f32>>,
}

impl Descent {
    /// Sums gradients, clips them to a norm over all groups, if one is given, and moves parameters, each by the step of its
    /// group; whether all of them are still finite.
    pub(crate) fn step(
        &mut self,
        (params, spec): (&mut Params, &ModelSpec),
        gradients: &impl Gradients,
        steps: &Steps,
        clip_norm: Option<f32>,
        workers: &Workers,
    ) -> bool {
        let broken = AtomicUsize::new(0);
        let add = |rows: usize| {
            broken.fetch_add(rows, Ordering::Relaxed);
        };
        self.dense.resize_with(params.dense.len(), Vec::new);
        self.dense.iter_mut().zip(&params.dense).for_each(|(sum, dense)| sum.resize(dense.values.len(), 0.0));
        gradients.write_dense(&mut self.dense, workers);
        match clip_norm {
            // Without clipping a row moves as soon as its own gradient is known.
            None => each_rows(&mut params.tables, gradients, workers, |table, rows| {
                add(rows.apply(steps.of(Group::of_table(&spec.tables[table]))));
            }),
            Some(limit) => {
                each_rows(&mut params.tables, gradients, workers, |_, _| {});
                self.clip(&mut params.tables, limit, workers);
                for (table, spec) in params.tables.iter_mut().zip(&spec.tables) {
                    let step = steps.of(Group::of_table(spec));
                    workers.for_each(table.shards_mut(), |_, rows| add(rows.apply(step)));
                }
            }
        }
        for ((dense, spec), grads) in params.dense.iter_mut().zip(&spec.dense).zip(&self.dense) {
            dense.update(grads, steps.of(Group::of_dense(spec)));
            add(usize::from(!dense.values.iter().all(|x| x.is_finite())));
        }
        broken.into_inner() == 0
    }

    /// Scales all gradients so that their global norm is at most `limit`. A norm that is not finite is left as it is,
    /// to be noticed when parameters move.
    fn clip(&mut self, tables: &mut [Table], limit: f32, workers: &Workers) {
        let dense: f64 = self.dense.iter().map(|grads| sum_of_squares(grads)).sum();
        let rows: f64 = tables.iter_mut().flat_map(|table| table.shards_mut()).map(|rows| rows.sum_of_squares()).sum();
        let norm = (dense + rows).sqrt();
        if norm > f64::from(limit) {
            let factor = (f64::from(limit) / norm) as f32;
            self.dense.iter_mut().for_each(|grads| scale(grads, factor));
            for table in tables {
                workers.for_each(table.shards_mut(), |_, rows| rows.scale(factor));
            }
        }
    }
}

/// Sums the gradient of each touched row and hands on the rows, with the position of their table.
fn each_rows(
    tables: &mut [Table],
    gradients: &impl Gradients,
    workers: &Workers,
    then: impl Fn(usize, &mut Rows) + Sync,
) {
    for (id, table) in tables.iter_mut().enumerate() {
        workers.for_each(table.shards_mut(), |_, rows| {
            gradients.add_rows(TableId(id), rows);
            then(id, rows);
        });
    }
}
