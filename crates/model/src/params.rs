//! The values of a model's parameters, with the optimiser's slots beside them.

use crate::encoder::{Encoder, RESERVED_ROWS};
use crate::{DenseId, DenseSpec, EmbeddingInit, ModelError, ModelSpec, TableId, TableSpec};
use perennial_core::{Digest, DigestBuilder};
use perennial_nn::optim::{Optimiser, Step};
use perennial_table::{Init, RowMode, Table};

/// A dense tensor `[rows, cols]`, row-major, with its optimiser slots.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Name, as in the spec.
    pub name: String,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Values.
    pub values: Vec<f32>,
    /// One vector of the same length per slot of the optimiser.
    pub slots: Vec<Vec<f32>>,
}

/// All parameters of a model: a value. Cloning is cheap once [`Params::share`] was called; what is then written to one
/// clone is never seen by another.
#[derive(Debug, Clone)]
pub struct Params {
    /// Dense tensors in the order of the spec.
    pub dense: Vec<Dense>,
    /// Tables in the order of the spec.
    pub tables: Vec<Table>,
}

impl Params {
    /// Initial parameters for an encoder that has seen nothing: tables hold the reserved rows and those of closed
    /// vocabularies.
    pub fn new(
        spec: &ModelSpec,
        encoder: &Encoder,
        optimiser: &Optimiser,
        mode: RowMode,
        seed: u64,
    ) -> Result<Params, ModelError> {
        let dense = spec.dense.iter().map(|spec| Dense::new(spec, optimiser, seed)).collect();
        let tables = spec.tables.iter().map(|spec| {
            let mut table = Table::new(spec.of_table(seed))?;
            table.train_with(optimiser, mode)?;
            table.grow(encoder.vocabularies()[spec.vocab.0 as usize].keys_from(RESERVED_ROWS));
            Ok(table)
        });
        Ok(Params { dense, tables: tables.collect::<Result<_, ModelError>>()? })
    }

    /// Gives rows to the keys that an encoder admitted; `admitted` is per vocabulary.
    pub fn grow(&mut self, spec: &ModelSpec, admitted: &[Vec<u64>]) {
        for (table, spec) in self.tables.iter_mut().zip(&spec.tables) {
            table.grow(&admitted[spec.vocab.0 as usize]);
        }
    }

    /// Gives rows to all keys of an encoder that has admitted more since.
    pub fn grow_to(&mut self, spec: &ModelSpec, encoder: &Encoder) {
        for (table, spec) in self.tables.iter_mut().zip(&spec.tables) {
            table.grow(encoder.vocabularies()[spec.vocab.0 as usize].keys_from(table.rows() as usize));
        }
    }

    /// The values alone, without the slots of an optimiser. Shares the pages that are shared already.
    pub fn values_only(&self) -> Params {
        let dense = self.dense.iter().map(|dense| Dense {
            name: dense.name.clone(),
            rows: dense.rows,
            cols: dense.cols,
            values: dense.values.clone(),
            slots: Vec::new(),
        });
        Params { dense: dense.collect(), tables: self.tables.iter().map(Table::values_only).collect() }
    }

    /// The tensor of this id.
    pub fn dense(&self, id: DenseId) -> &Dense {
        &self.dense[id.0]
    }

    /// The table of this id.
    pub fn table(&self, id: TableId) -> &Table {
        &self.tables[id.0]
    }

    /// Makes clones cheap: pages written so far become shared, and are copied when next written.
    pub fn share(&mut self) {
        // A snapshot shares every page; the pages stay shared when it is gone.
        self.tables.iter_mut().for_each(|table| drop(table.snapshot()));
    }

    /// Digest over all values and optimiser slots, independent of how they are kept in memory.
    pub fn digest(&self) -> Digest {
        let mut builder = DigestBuilder::new("params");
        for dense in &self.dense {
            builder.str(&dense.name).u64(dense.rows as u64).u64(dense.cols as u64).f32s(&dense.values);
            dense.slots.iter().for_each(|slot| {
                builder.f32s(slot);
            });
        }
        self.tables.iter().for_each(|table| {
            builder.digest(&table.digest());
        });
        builder.finish()
    }

    /// Bytes in memory, shared pages counted in full.
    pub fn bytes(&self) -> usize {
        let dense: usize = self.dense.iter().map(|d| 4 * d.values.len() * (1 + d.slots.len())).sum();
        dense + self.tables.iter().map(Table::bytes).sum::<usize>()
    }
}

impl Dense {
    /// Moves the values by one step of the optimiser that its slots belong to; `grads` is as long as they are.
    pub fn update(&mut self, grads: &[f32], step: &Step) {
        match &mut self.slots[..] {
            [] => step.update(&mut self.values, grads, [&mut [], &mut []]),
            [first] => step.update(&mut self.values, grads, [first, &mut []]),
            [first, second, ..] => step.update(&mut self.values, grads, [first, second]),
        }
    }

    fn new(spec: &DenseSpec, optimiser: &Optimiser, seed: u64) -> Dense {
        let len = spec.rows * spec.cols;
        Dense {
            name: spec.name.clone(),
            rows: spec.rows,
            cols: spec.cols,
            values: spec.init.values(seed, &spec.name, len),
            slots: optimiser.rule.slots().iter().map(|slot| vec![slot.initial; len]).collect(),
        }
    }
}

impl TableSpec {
    /// The table in its own terms.
    fn of_table(&self, seed: u64) -> perennial_table::TableSpec {
        let init = match self.init {
            EmbeddingInit::Zero => Init::Zero,
            EmbeddingInit::Uniform { limit } => Init::Uniform { limit },
            EmbeddingInit::Normal { std } => Init::Normal { std },
            EmbeddingInit::GlorotUniform { rows } => {
                Init::GlorotUniform { fan_in: u64::from(rows), fan_out: self.dim as u64 }
            }
        };
        perennial_table::TableSpec { name: self.name.clone(), dim: self.dim, seed, init }
    }
}
