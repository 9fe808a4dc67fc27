//! Gradients by values that were made for one batch.

use crate::pass::Pass;
use perennial_core::Encoded;
use perennial_model::{Backbone, BatchValues, Lookup, ModelSpec, Objective, TableId};
use perennial_nn::Workers;
use perennial_table::Selection;

/// Gradients of one batch's loss by the values of dense tensors and selected rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct BatchGradients {
    /// One vector per tensor.
    pub(crate) dense: Vec<Vec<f32>>,
    /// `[selected, dim]` per table.
    pub(crate) rows: Vec<Vec<f32>>,
}

impl BatchGradients {
    /// Zeros for `selected` rows of each table.
    pub(crate) fn reset(&mut self, spec: &ModelSpec, selected: impl Iterator<Item = usize>) {
        self.dense.resize_with(spec.dense.len(), Vec::new);
        self.rows.resize_with(spec.tables.len(), Vec::new);
        for (grads, spec) in self.dense.iter_mut().zip(&spec.dense) {
            grads.clear();
            grads.resize(spec.rows * spec.cols, 0.0);
        }
        for ((grads, spec), selected) in self.rows.iter_mut().zip(&spec.tables).zip(selected) {
            grads.clear();
            grads.resize(selected * spec.dim, 0.0);
        }
    }

    /// The gradients of `share` times the mean loss of the examples `batch` of `data` on `values`; returns that product.
    /// A batch of no weight leaves zeros.
    #[expect(clippy::too_many_arguments, reason = "one batch, one model, one loss")]
    pub(crate) fn differentiate(
        &mut self,
        pass: &mut Pass,
        backbone: &Backbone,
        values: &BatchValues<'_>,
        (data, batch): (&Encoded, &[u32]),
        objective: Objective,
        share: f64,
        workers: &Workers,
    ) -> f64 {
        let weight = pass.split(data, batch, &objective);
        if weight <= 0.0 || share <= 0.0 {
            return 0.0;
        }
        // Without noise: what is made is served, so it is made for layers as they are in serving.
        let loss = pass.differentiate(backbone, values, &data.columns, objective, weight / share, None, workers);
        pass.sum_dense(&mut self.dense, workers);
        workers.for_each(&mut self.rows, |table, sums| {
            let rows = values.tables[table];
            pass.sum_selected(TableId(table), rows.selection, rows.dim, sums);
        });
        loss
    }
}

/// Adds to the selection of each table the rows that these examples read.
pub(crate) fn select(selections: &mut [Selection], lookups: &[Lookup], data: &Encoded, batch: &[u32]) {
    for lookup in lookups {
        if let Lookup::Rows { table, feature, .. } = *lookup {
            selections[table.0].add(&data.columns[feature], batch);
        }
    }
}
