//! A generator of parameters: reads the models of the last periods, coordinate by coordinate, and writes the one that
//! is served (ASMG; Peng et al., RecSys 2021, section 4).
//!
//! Each scalar parameter is a coordinate with a state of its own; which coordinates share a generator is decided by
//! [`Shares`]. A sequence of models is read step by step; the state after a step is all that the next one needs, so
//! that serving costs one step ([`Generator::step`]) however long the sequence was.

mod newborn;
mod sharing;
mod snapshot;
mod states;
mod sweep;

pub use newborn::{Newborn, Recurrent, evolved};
pub use sharing::{Layout, Shares, Sharing};
pub use snapshot::{Activity, Reading, Snapshot, row_counts};
pub use states::{StateFormat, States};

use crate::{Dense, ModelError, ModelSpec, Params};
use perennial_core::rng::{Stream, hash_text};
use perennial_nn::cell::{Cell, CellKind, Step};
use perennial_nn::optim::Optimiser;
use perennial_table::Rows as _;
use serde::{Deserialize, Serialize};

/// What a generator is. The defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneratorConfig {
    /// The recurrent cell.
    pub cell: CellKind,
    /// Floats of hidden state per coordinate. The paper finds 4 best; more over-fits.
    pub hidden: usize,
    /// How the cell's output becomes a parameter.
    pub output: Output,
    /// Which coordinates share a generator.
    pub share: Shares,
    /// What a generator reads beside the parameter; nothing in the paper.
    pub features: Vec<Feature>,
}

/// How the cell's output becomes a parameter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// `theta* = w_y h + b_y`, as in the paper: before it is trained, all ids are nearly alike.
    #[default]
    Plain,
    /// `theta* = theta + w_y h + b_y` with `w_y = b_y = 0` at first: the base model until it is trained.
    Residual,
}

/// What a generator may read beside the parameter (beyond the paper; its authors' open points).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Size of the parameter's last change.
    Change,
    /// `ln(1 + n)` of how often the row was read in the period; 0 for dense tensors.
    Frequency,
    /// `ln(1 + n)` of the periods since the row was last read; 0 for dense tensors.
    Age,
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        GeneratorConfig {
            cell: CellKind::Gru,
            hidden: 4,
            output: Output::Plain,
            share: Shares::default(),
            features: Vec::new(),
        }
    }
}

impl GeneratorConfig {
    /// Refuses what cannot be.
    pub fn check(&self) -> Result<(), ModelError> {
        let fail = |key: &str, problem: &str| Err(ModelError::Config { key: key.into(), problem: problem.into() });
        let twice = |(at, feature): (usize, &Feature)| self.features[..at].contains(feature);
        match () {
            _ if !(1..=16).contains(&self.hidden) => fail("hidden", "from 1 to 16 floats are possible"),
            _ if self.features.iter().enumerate().any(twice) => fail("features", "every feature may be named once"),
            _ => self.share.check(),
        }
    }

    fn cell(&self) -> Cell {
        Cell { kind: self.cell, inputs: 1 + self.features.len(), hidden: self.hidden }
    }
}

/// A generator for all parameters of a backbone: a value.
///
/// Its parts are the dense tensors, then the tables, in the order of the spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Generator {
    config: GeneratorConfig,
    parts: Vec<Part>,
    /// `[blocks][params, stored]` for each part, with the slots of its optimiser; only one if everything is shared.
    pub weights: Vec<Dense>,
}

/// One dense tensor or table.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Name of the tensor.
    pub name: String,
    /// How its coordinates lie.
    pub layout: Layout,
    /// Number of coordinates of a dense tensor; `None` for a table.
    pub len: Option<usize>,
    /// Position of its generators in [`Generator::weights`].
    pub weights: usize,
}

/// What one step reads of consecutive rows of a part.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The part.
    pub part: usize,
    /// The first row.
    pub first: usize,
    /// Rows that lie side by side: 1, or where all rows share their generators up to [`Layout::pack`]. What follows,
    /// and all that a step makes, then has rows of `pack * lanes`.
    pub pack: usize,
    /// `[rows, inputs, lanes]`.
    pub x: &'a [f32],
    /// The state before, `[rows, state, lanes]`.
    pub before: &'a [f32],
}

impl Generator {
    /// A generator that was not trained. Weights start as in the published code: uniform within
    /// `sqrt(6 / (P (fan_in + fan_out)))`, where `P` is the number of generators of the tensor, output biases included.
    pub fn new(config: &GeneratorConfig, spec: &ModelSpec, optimiser: &Optimiser, seed: u64) -> Generator {
        let mut generator = Generator { config: config.clone(), parts: parts(config, spec), weights: Vec::new() };
        let named: Vec<(String, Layout, Option<usize>)> = match config.share.everything {
            true => vec![("everything".into(), Layout { lanes: 1, blocks: 1, stored: 1 }, None)],
            false => generator.parts.iter().map(|part| (part.name.clone(), part.layout, part.len)).collect(),
        };
        for (name, layout, len) in named {
            generator.weights.push(generator.initial(&name, &layout, len, optimiser, seed));
        }
        generator
    }

    fn initial(&self, name: &str, layout: &Layout, len: Option<usize>, optimiser: &Optimiser, seed: u64) -> Dense {
        let cell = self.cell();
        let (params, stored) = (cell.params(), layout.stored);
        // Padding is not counted.
        let count = len.map_or(layout.blocks * stored, |len| (layout.blocks * stored).min(len));
        let mut values = vec![0.0; layout.blocks * params * stored];
        let mut stream = Stream::new(&[seed, hash_text("generator"), hash_text(name)]);
        for block in values.chunks_exact_mut(params * stored) {
            for kind in cell.blocks() {
                let limit = (6.0 / (count * (kind.fan_in + kind.fan_out)) as f64).sqrt();
                let output = matches!(kind.name, "w_y" | "b_y");
                let zero = match self.config.output {
                    Output::Plain => !output && kind.name.starts_with('b'),
                    Output::Residual => output || kind.name.starts_with('b'),
                };
                for value in &mut block[kind.range.start * stored..kind.range.end * stored] {
                    let draw = 2.0 * stream.unit_f64() - 1.0;
                    *value = if zero { 0.0 } else { (draw * limit) as f32 };
                }
            }
        }
        let slots = optimiser.rule.slots().iter().map(|slot| vec![slot.initial; values.len()]).collect();
        Dense { name: format!("generator.{name}"), rows: layout.blocks * params, cols: stored, values, slots }
    }

    /// A generator with these weights, or why they are not its own.
    pub fn with_weights(
        config: &GeneratorConfig,
        spec: &ModelSpec,
        weights: Vec<Dense>,
    ) -> Result<Generator, ModelError> {
        let parts = parts(config, spec);
        let params = config.cell().params();
        let expected = |dense: &Dense, part: &Part| {
            dense.name == format!("generator.{}", part.name)
                && (dense.rows, dense.cols) == (part.layout.blocks * params, part.layout.stored)
        };
        let fits = match config.share.everything {
            true => weights.len() == 1 && (weights[0].rows, weights[0].cols) == (params, 1),
            false => {
                weights.len() == parts.len() && weights.iter().zip(&parts).all(|(dense, part)| expected(dense, part))
            }
        };
        match fits {
            true => Ok(Generator { config: config.clone(), parts, weights }),
            false => Err(ModelError::Corrupt {
                part: "the generator".into(),
                problem: "its weights are not those of this model's parameters".into(),
            }),
        }
    }

    /// The weights of tables, without slots: all that newborn ids need of a past generator.
    pub fn table_weights(&self) -> Vec<Dense> {
        let first = self.parts.iter().find(|part| part.len.is_none()).map_or(self.weights.len(), |part| part.weights);
        self.weights[first..].iter().map(|dense| Dense { slots: Vec::new(), ..dense.clone() }).collect()
    }

    /// The same generator with these weights of tables, and none for dense tensors unless they are the same.
    pub fn with_table_weights(&self, tables: Vec<Dense>) -> Generator {
        let first = self.weights.len() - tables.len();
        let none =
            self.weights[..first].iter().map(|dense| Dense { values: Vec::new(), slots: Vec::new(), ..dense.clone() });
        let weights = none.chain(tables).collect();
        Generator { config: self.config.clone(), parts: self.parts.clone(), weights }
    }

    /// What it is.
    pub fn config(&self) -> &GeneratorConfig {
        &self.config
    }

    /// The cell.
    pub fn cell(&self) -> Cell {
        self.config.cell()
    }

    /// Dense tensors, then tables.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Number of weights.
    pub fn size(&self) -> usize {
        self.weights.iter().map(|dense| dense.values.len()).sum()
    }

    /// States of zeros for these parameters, one per part.
    pub fn zero_states(&self, format: StateFormat, params: &Params) -> Vec<States> {
        let tables = params.tables.iter().map(|table| table.rows() as usize);
        let dense = params.dense.iter().map(|_| 0);
        let rows = dense.chain(tables);
        self.parts
            .iter()
            .zip(rows)
            .map(|(part, rows)| {
                let rows = part.len.map_or(rows, |len| part.layout.rows(len));
                States::new(format, self.cell().state() * part.layout.lanes, rows)
            })
            .collect()
    }

    /// Writes the inputs `[inputs, lanes]` of a row of a part.
    pub fn read(&self, reading: &Reading<'_>, part: usize, row: usize, out: &mut [f32]) {
        let tensors = reading.now.params.dense.len();
        match part < tensors {
            true => reading.dense_row(&self.config.features, part, &self.parts[part].layout, row, out),
            false => reading.table_row(&self.config.features, part - tensors, row as u32, out),
        }
    }

    /// Starts loading a row of a table that will be read soon.
    pub fn ask_for(&self, reading: &Reading<'_>, part: usize, row: usize) {
        if let Some(table) = part.checked_sub(reading.now.params.dense.len()) {
            reading.now.params.tables[table].ask_for(&[row as u32]);
        }
    }

    /// One step of some rows: the state after it `[rows, state, lanes]`, parameters `[rows, lanes]`, and what the way
    /// back needs, `[rows, kept, lanes]` (nothing if empty). `scratch` is memory to be reused.
    pub fn forward(&self, rows: Rows<'_>, after: &mut [f32], y: &mut [f32], kept: &mut [f32], scratch: &mut Vec<f32>) {
        let (cell, layout) = (self.cell(), self.parts[rows.part].layout);
        let lanes = layout.lanes * rows.pack;
        let run = if layout.blocks == 1 { y.len() / lanes } else { 1 };
        let widths = [cell.inputs, cell.state(), 1, cell.kept()].map(|width| (width * run * lanes).max(1));
        let mut outputs = after.chunks_mut(widths[1]).zip(y.chunks_mut(widths[2]));
        let mut kept = kept.chunks_mut(widths[3]);
        for (at, (x, before)) in rows.x.chunks(widths[0]).zip(rows.before.chunks(widths[1])).enumerate() {
            let (after, y) = outputs.next().expect("as many outputs as inputs");
            let params = self.lanes_of(rows.part, rows.first + at, lanes, scratch);
            let step = Step { lanes, params, x, before };
            cell.forward(&step, after, y, kept.next().unwrap_or_default());
            if self.config.output == Output::Residual {
                for (y, x) in y.chunks_exact_mut(lanes).zip(x.chunks_exact(cell.inputs * lanes)) {
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
                }
            }
        }
    }

    /// The way back through [`Generator::forward`]: from the gradients by `y` and by the state after it to that by the
    /// state before, and to that by the weights, which is added to `d_weights`: `[params, lanes]` for a part of one
    /// block, else `[rows][params, lanes]`.
    #[expect(clippy::too_many_arguments, reason = "the four values and four gradients of one step")]
    pub fn backward(
        &self,
        rows: Rows<'_>,
        kept: &[f32],
        dy: &[f32],
        d_after: &[f32],
        d_before: &mut [f32],
        d_weights: &mut [f32],
        scratch: &mut Vec<f32>,
    ) {
        let (cell, layout) = (self.cell(), self.parts[rows.part].layout);
        let lanes = layout.lanes * rows.pack;
        let run = if layout.blocks == 1 { dy.len() / lanes } else { 1 };
        let widths = [cell.inputs, cell.state(), 1, cell.kept()].map(|width| (width * run * lanes).max(1));
        let inputs = rows.x.chunks(widths[0]).zip(rows.before.chunks(widths[1])).zip(kept.chunks(widths[3]));
        let gradients = dy.chunks(widths[2]).zip(d_after.chunks(widths[1])).zip(d_before.chunks_mut(widths[1]));
        let mut d_weights = d_weights.chunks_mut(cell.params() * lanes);
        for (at, (((x, before), kept), ((dy, d_after), d_before))) in inputs.zip(gradients).enumerate() {
            let params = self.lanes_of(rows.part, rows.first + at, lanes, scratch);
            let step = Step { lanes, params, x, before };
            cell.backward(&step, kept, dy, d_after, d_before, d_weights.next().expect("one block per run of rows"));
        }
    }

    /// The generators of a row of so many lanes, `[params, lanes]`.
    fn lanes_of<'a>(&'a self, part: usize, row: usize, lanes: usize, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let Part { layout, weights, .. } = &self.parts[part];
        let len = self.cell().params() * layout.stored;
        let block = &self.weights[*weights].values[layout.block(row) * len..][..len];
        if layout.stored == lanes {
            return block;
        }
        scratch.clear();
        for stored in block.chunks_exact(layout.stored) {
            (0..lanes / layout.stored).for_each(|_| scratch.extend_from_slice(stored));
        }
        scratch
    }

    /// Whether each coordinate of the part has weights that no other has, and they lie as a row's lanes do: gradients
    /// by them need no sum over rows.
    pub fn is_private(&self, part: usize) -> bool {
        let layout = self.parts[part].layout;
        !self.config.share.everything && layout.blocks > 1 && layout.stored == layout.lanes
    }

    /// Adds gradients by `[params, pack * lanes]` of one block, as [`Generator::backward`] gives them, to those by the
    /// weights of the part.
    pub fn add_gradient(&self, part: usize, row: usize, d_lanes: &[f32], d_weights: &mut [Vec<f32>]) {
        let Part { layout, weights, .. } = &self.parts[part];
        let params = self.cell().params();
        let sums = &mut d_weights[*weights][layout.block(row) * params * layout.stored..][..params * layout.stored];
        let lanes = d_lanes.len() / params;
        for (sums, d_lanes) in sums.chunks_exact_mut(layout.stored).zip(d_lanes.chunks_exact(lanes)) {
            for d_lanes in d_lanes.chunks_exact(layout.stored) {
                sums.iter_mut().zip(d_lanes).for_each(|(sum, d)| *sum += d);
            }
        }
    }
}

fn parts(config: &GeneratorConfig, spec: &ModelSpec) -> Vec<Part> {
    let dense = spec.dense.iter().map(|dense| {
        let len = Some(dense.rows * dense.cols);
        (dense.name.clone(), config.share.of_dense(dense), len)
    });
    let tables = spec.tables.iter().map(|table| (table.name.clone(), config.share.of_table(table), None));
    let number = |at: usize| if config.share.everything { 0 } else { at };
    dense
        .chain(tables)
        .enumerate()
        .map(|(at, (name, layout, len))| Part { name, layout, len, weights: number(at) })
        .collect()
}

#[cfg(test)]
mod tests;
