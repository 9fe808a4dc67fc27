//! Weighted sums of past models, for the rows that one batch reads.

use super::gradients::{BatchGradients, select};
use crate::pass::Pass;
use perennial_core::Encoded;
use perennial_model::generator::Snapshot;
use perennial_model::{Backbone, BatchValues, Dense, ModelSpec, Objective, Params};
use perennial_nn::Workers;
use perennial_table::{PAD, Selected, Selection};

/// Which coordinates share the weights of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// All.
    Global,
    /// Those of a tensor or table.
    Tensor,
    /// None, but for a table those of an embedding dimension over all ids.
    Coordinate,
}

/// The weights of each model, for all parts of a backbone: dense tensors, then tables. For a part they are `[models,
/// lanes]`; a part's coordinates lie in rows of lanes, of which the whole of a dense tensor is one.
pub(crate) type Weights = Vec<Vec<f32>>;

/// Coordinates of a part that have weights of their own.
pub(crate) fn lanes(granularity: Granularity, spec: &ModelSpec, part: usize) -> usize {
    match granularity {
        Granularity::Global | Granularity::Tensor => 1,
        Granularity::Coordinate => width(spec, part),
    }
}

/// Coordinates in a row of a part.
fn width(spec: &ModelSpec, part: usize) -> usize {
    match part.checked_sub(spec.dense.len()) {
        None => spec.dense[part].rows * spec.dense[part].cols,
        Some(table) => spec.tables[table].dim,
    }
}

/// `y += w * x` for rows of `x`; one weight serves a whole row, or each lane has its own.
fn add_product(y: &mut [f32], weights: &[f32], x: &[f32]) {
    match weights {
        [weight] => y.iter_mut().zip(x).for_each(|(y, x)| *y += weight * x),
        _ => {
            for (y, x) in y.chunks_exact_mut(weights.len()).zip(x.chunks_exact(weights.len())) {
                y.iter_mut().zip(weights).zip(x).for_each(|((y, w), x)| *y += w * x);
            }
        }
    }
}

/// The way back: `dw += dy * x`, summed over rows.
fn add_slopes(slopes: &mut [f32], dy: &[f32], x: &[f32]) {
    match slopes {
        [slope] => *slope += dy.iter().zip(x).map(|(dy, x)| dy * x).sum::<f32>(),
        _ => {
            let lanes = slopes.len();
            for (dy, x) in dy.chunks_exact(lanes).zip(x.chunks_exact(lanes)) {
                slopes.iter_mut().zip(dy).zip(x).for_each(|((slope, dy), x)| *slope += dy * x);
            }
        }
    }
}

/// Whole models summed. A weight of exactly one beside zeros gives that model's bits.
pub(crate) fn mix(models: &[&Snapshot], weights: &Weights, spec: &ModelSpec, workers: &Workers) -> Params {
    let newest = models.last().expect("a sequence holds a model");
    let mut made = newest.params.clone();
    let tensors = spec.dense.len();
    let sum = |part: usize, x: &dyn Fn(&Snapshot) -> Vec<f32>| {
        let mut y = vec![0.0; width(spec, part)];
        let per_model = weights[part].chunks_exact(weights[part].len() / models.len());
        for (model, weights) in models.iter().zip(per_model) {
            add_product(&mut y, weights, &x(model));
        }
        y
    };
    workers.for_each(&mut made.dense, |part, dense: &mut Dense| {
        dense.values = sum(part, &|model| model.params.dense[part].values.clone());
    });
    for (number, table) in made.tables.iter_mut().enumerate() {
        for row in (0..table.rows()).filter(|row| *row != PAD) {
            let y = sum(tensors + number, &|model| model.params.tables[number].row(row).to_vec());
            table.row_mut(row).copy_from_slice(&y);
        }
    }
    made
}

/// Buffers of a pass, reused from batch to batch.
pub(crate) struct Mixture {
    pass: Pass,
    selections: Vec<Selection>,
    parts: Vec<Part>,
    gradients: BatchGradients,
}

#[derive(Default)]
struct Part {
    /// `[models][rows, width]`.
    x: Vec<Vec<f32>>,
    y: Vec<f32>,
    /// `[models, lanes]`.
    slopes: Vec<f32>,
}

impl Mixture {
    pub(crate) fn new(shards: usize, spec: &ModelSpec) -> Mixture {
        Mixture {
            pass: Pass::new(shards),
            selections: vec![Selection::default(); spec.tables.len()],
            parts: (0..spec.dense.len() + spec.tables.len()).map(|_| Part::default()).collect(),
            gradients: BatchGradients::default(),
        }
    }

    /// The mean loss of the batch on the sum of `models`, and its slopes by the weights.
    pub(crate) fn differentiate(
        &mut self,
        models: &[&Snapshot],
        weights: &Weights,
        backbone: &Backbone,
        (data, batch): (&Encoded, &[u32]),
        objective: Objective,
        workers: &Workers,
    ) -> (f64, Vec<&[f32]>) {
        let spec = backbone.spec();
        for (selection, table) in self.selections.iter_mut().zip(&models[0].params.tables) {
            selection.clear(table.rows());
        }
        select(&mut self.selections, backbone.lookups(), data, batch);
        let (tensors, selections) = (spec.dense.len(), &self.selections);
        workers.for_each(&mut self.parts, |part, buffers| {
            buffers.x.resize_with(models.len(), Vec::new);
            for (x, model) in buffers.x.iter_mut().zip(models) {
                x.clear();
                match part.checked_sub(tensors) {
                    None => x.extend_from_slice(&model.params.dense[part].values),
                    Some(table) => {
                        let rows = selections[table].rows().iter();
                        rows.for_each(|&row| x.extend_from_slice(model.params.tables[table].row(row)));
                    }
                }
            }
            buffers.y.clear();
            buffers.y.resize(buffers.x[0].len(), 0.0);
            let per_model = weights[part].chunks_exact(weights[part].len() / models.len());
            for (x, weights) in buffers.x.iter().zip(per_model) {
                add_product(&mut buffers.y, weights, x);
            }
        });
        self.gradients.reset(spec, selections.iter().map(|selection| selection.rows().len()));
        let dense = spec.dense.iter().zip(&self.parts).map(|(spec, part)| ([spec.rows, spec.cols], part.y.as_slice()));
        let tables = selections.iter().zip(&self.parts[tensors..]).zip(&spec.tables);
        let tables = tables.map(|((selection, part), spec)| Selected { selection, values: &part.y, dim: spec.dim });
        let statistics = &models.last().expect("a sequence holds a model").params.statistics;
        let values = BatchValues { dense: dense.collect(), tables: tables.collect(), statistics };
        let loss =
            self.gradients.differentiate(&mut self.pass, backbone, &values, (data, batch), objective, 1.0, workers);
        let gradients = &self.gradients;
        workers.for_each(&mut self.parts, |part, buffers| {
            let dy = match part.checked_sub(tensors) {
                None => &gradients.dense[part],
                Some(table) => &gradients.rows[table],
            };
            buffers.slopes.clear();
            buffers.slopes.resize(weights[part].len(), 0.0);
            let lanes = weights[part].len() / models.len();
            for (x, slopes) in buffers.x.iter().zip(buffers.slopes.chunks_exact_mut(lanes)) {
                add_slopes(slopes, dy, x);
            }
        });
        (loss, self.parts.iter().map(|part| part.slopes.as_slice()).collect())
    }
}
