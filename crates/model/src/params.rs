//! The values of a model's parameters, with the optimiser's slots beside them.

use crate::encoder::{Encoder, RESERVED_ROWS};
use crate::{
    DenseId, DenseSpec, EmbeddingInit, Group, ModelError, ModelSpec, Optimisers, StatisticId, StatisticSpec, TableId,
    TableSpec,
};
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

/// A running statistic `[1, cols]`: what a layer saw in training, and goes by in serving.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistic {
    /// Name, as in the spec.
    pub name: String,
    /// Values.
    pub values: Vec<f32>,
}

impl Statistic {
    /// Moves by what parts of a batch saw, each with the number of rows behind it: `(1 - momentum) old + momentum mean`,
    /// the mean taken over rows, in the order of parts. Nothing seen changes nothing.
    pub fn update<'a>(&mut self, momentum: f32, seen: impl Iterator<Item = (&'a [f32], usize)> + Clone) {
        let rows: usize = seen.clone().map(|(_, rows)| rows).sum();
        if rows == 0 {
            return;
        }
        self.values.iter_mut().for_each(|value| *value *= 1.0 - momentum);
        for (part, part_rows) in seen {
            let share = momentum * (part_rows as f32 / rows as f32);
            self.values.iter_mut().zip(part).for_each(|(value, x)| *value += share * x);
        }
    }
}

/// All parameters of a model: a value. Cloning is cheap once [`Params::share`] was called; what is then written to one
/// clone is never seen by another.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// Dense tensors in the order of the spec.
    pub dense: Vec<Dense>,
    /// Tables in the order of the spec.
    pub tables: Vec<Table>,
    /// Running statistics in the order of the spec.
    pub statistics: Vec<Statistic>,
}

impl Params {
    /// Initial parameters for an encoder that has seen nothing: tables hold the reserved rows and those of closed
    /// vocabularies.
    pub fn new(
        spec: &ModelSpec,
        encoder: &Encoder,
        optimisers: &Optimisers,
        mode: RowMode,
        seed: u64,
    ) -> Result<Params, ModelError> {
        let dense = |spec| Dense::new(spec, optimisers.of(Group::of_dense(spec)), seed);
        let dense = spec.dense.iter().map(dense).collect();
        let tables = spec.tables.iter().map(|spec| {
            let mut table = Table::new(spec.of_table(seed))?;
            table.train_with(optimisers.of(Group::of_table(spec)), mode)?;
            table.grow(encoder.vocabularies()[spec.vocab.0 as usize].keys_from(RESERVED_ROWS));
            Ok(table)
        });
        let statistics = spec.statistics.iter().map(Statistic::new).collect();
        Ok(Params { dense, tables: tables.collect::<Result<_, ModelError>>()?, statistics })
    }

    /// Makes tables that were read back ready for steps; see [`Table::train_with`].
    pub fn train_with(&mut self, spec: &ModelSpec, optimisers: &Optimisers, mode: RowMode) -> Result<(), ModelError> {
        for (table, spec) in self.tables.iter_mut().zip(&spec.tables) {
            table.train_with(optimisers.of(Group::of_table(spec)), mode)?;
        }
        Ok(())
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
        let tables = self.tables.iter().map(Table::values_only).collect();
        Params { dense: dense.collect(), tables, statistics: self.statistics.clone() }
    }

    /// The tensor of this id.
    pub fn dense(&self, id: DenseId) -> &Dense {
        &self.dense[id.0]
    }

    /// The table of this id.
    pub fn table(&self, id: TableId) -> &Table {
        &self.tables[id.0]
    }

    /// The running statistic of this id.
    pub fn statistic(&self, id: StatisticId) -> &Statistic {
        &self.statistics[id.0]
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
        self.statistics.iter().for_each(|statistic| {
            builder.str(&statistic.name).f32s(&statistic.values);
        });
        builder.finish()
    }

    /// Bytes of values alone, as a generated model or a snapshot holds them.
    pub fn value_bytes(&self) -> usize {
        let dense: usize = self.dense.iter().map(|d| d.values.len()).sum();
        let statistics: usize = self.statistics.iter().map(|s| s.values.len()).sum();
        let tables: usize = self.tables.iter().map(|table| table.rows() as usize * table.dim()).sum();
        4 * (dense + statistics + tables)
    }

    /// Bytes in memory, shared pages counted in full.
    pub fn bytes(&self) -> usize {
        let dense: usize = self.dense.iter().map(|d| 4 * d.values.len() * (1 + d.slots.len())).sum();
        let statistics: usize = self.statistics.iter().map(|s| 4 * s.values.len()).sum();
        dense + statistics + self.tables.iter().map(Table::bytes).sum::<usize>()
    }
}

impl Statistic {
    fn new(spec: &StatisticSpec) -> Statistic {
        Statistic { name: spec.name.clone(), values: vec![spec.initial; spec.cols] }
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
                Init::GlorotUniform { fan_in: u64::from(rows), fan_out: (self.dim - self.zeros) as u64 }
            }
            EmbeddingInit::GlorotNormal { rows } => {
                Init::Normal { std: (2.0 / (f64::from(rows) + (self.dim - self.zeros) as f64)).sqrt() }
            }
        };
        perennial_table::TableSpec { name: self.name.clone(), dim: self.dim, seed, init, zeros: self.zeros }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: one row of 1 and three rows of 5 have mean 4; 0.9 * 2 + 0.1 * 4 = 2.2.
    #[test]
    fn statistics_move_by_the_mean_over_rows() {
        let mut statistic = Statistic { name: "mean".into(), values: vec![2.0] };
        statistic.update(0.1, [].into_iter());
        assert_eq!(statistic.values, [2.0]);
        statistic.update(0.1, [([1.0].as_slice(), 1), ([5.0].as_slice(), 3)].into_iter());
        assert!((statistic.values[0] - 2.2).abs() < 1e-6);
    }
}
