//! A table is a map from rows to vectors, only faster.

use crate::workbench::{Batch, bits, rules, step, table, train};
use perennial_core::Column;
use perennial_nn::optim::{Optimiser, Step};
use perennial_table::{PAD, Pool, RowMode, Table};
use proptest::prelude::*;
use std::collections::HashMap;

/// The plain twin: maps, and loops without haste.
struct Twin {
    dim: usize,
    values: HashMap<u32, Vec<f32>>,
    slots: HashMap<u32, [Vec<f32>; 2]>,
}

impl Twin {
    fn of(table: &Table) -> Twin {
        let values = (0..table.rows()).map(|row| (row, table.row(row).to_vec())).collect();
        Twin { dim: table.dim(), values, slots: HashMap::new() }
    }

    fn ids(batch: &Batch, example: usize) -> Vec<(u32, f32)> {
        let ids: Vec<(u32, f32)> = match &batch.column {
            Column::Id(ids) => return vec![(ids[example], 1.0)].into_iter().filter(|(id, _)| *id != PAD).collect(),
            Column::Bag { spans, ids, weights } => {
                spans.range(example).map(|k| (ids[k], weights.as_ref().map_or(1.0, |w| w[k]))).collect()
            }
            Column::Numeric(_) => unreachable!("no such batch"),
        };
        ids.into_iter().filter(|(id, _)| *id != PAD).collect()
    }

    fn share(batch: &Batch, ids: &[(u32, f32)]) -> f32 {
        match (batch.pool, &batch.column) {
            (Pool::Mean, Column::Bag { .. }) if !ids.is_empty() => 1.0 / ids.iter().map(|(_, w)| w).sum::<f32>(),
            _ => 1.0,
        }
    }

    fn gather(&self, batch: &Batch) -> Vec<f32> {
        let mut out = vec![9.0; batch.examples * (self.dim + 1)];
        for (example, out) in out.chunks_mut(self.dim + 1).enumerate() {
            let ids = Twin::ids(batch, example);
            out[1..].fill(0.0);
            for (id, weight) in &ids {
                out[1..].iter_mut().zip(&self.values[id]).for_each(|(out, x)| *out += weight * x);
            }
            out[1..].iter_mut().for_each(|out| *out *= Twin::share(batch, &ids));
        }
        out
    }

    fn train(&mut self, batch: &Batch, step: &Step, optimiser: &Optimiser) {
        let mut sums = HashMap::<u32, Vec<f32>>::new();
        for (example, grads) in batch.grads.chunks(self.dim + 1).enumerate() {
            let ids = Twin::ids(batch, example);
            for (id, weight) in &ids {
                let weight = weight * Twin::share(batch, &ids);
                let sum = sums.entry(*id).or_insert_with(|| vec![0.0; self.dim]);
                sum.iter_mut().zip(&grads[1..]).for_each(|(sum, g)| *sum += weight * g);
            }
        }
        for (id, sum) in sums {
            let [first, second] = self.slots.entry(id).or_insert_with(|| {
                let mut slots = optimiser.rule.slots().into_iter().map(|slot| vec![slot.initial; self.dim]);
                [slots.next().unwrap_or_default(), slots.next().unwrap_or_default()]
            });
            step.update(self.values.get_mut(&id).unwrap(), &sum, [first, second]);
        }
    }

    fn agrees(&self, table: &Table) {
        assert_eq!(self.values.len(), table.rows() as usize);
        for (row, values) in &self.values {
            assert_eq!(bits(values), bits(table.row(*row)), "row {row}");
        }
        assert!(table.row(PAD).iter().all(|x| x.to_bits() == 0), "the pad row stays zero");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_table_is_a_map(
        dim in prop::sample::select(vec![1usize, 3, 8, 16, 20, 32, 64]),
        rule in prop::sample::select(rules().to_vec()),
        rows in 2u32..400,
        steps in prop::collection::vec((0u64..1000, 0usize..40, 0u64..30), 1..12),
    ) {
        let mut table = table(dim, rows);
        let optimiser = Optimiser::new(rule, 0.05);
        table.train_with(&optimiser, RowMode::Lazy).unwrap();
        let mut twin = Twin::of(&table);
        let mut snapshots = Vec::new();
        for (number, (key, examples, growth)) in (1..).zip(steps) {
            let batch = Batch::random(dim, table.rows(), examples, key);
            let step = step(&optimiser, number);
            prop_assert_eq!(bits(&train(&mut table, &batch, &step)), bits(&twin.gather(&batch)));
            twin.train(&batch, &step, &optimiser);
            let keys: Vec<u64> = (0..growth).map(|i| key * 100 + i).collect();
            for row in table.grow(&keys) {
                twin.values.insert(row, table.row(row).to_vec());
            }
            if key.is_multiple_of(2) {
                snapshots.push((table.snapshot(), table.digest()));
            }
        }
        twin.agrees(&table);
        for (snapshot, digest) in snapshots {
            prop_assert_eq!(snapshot.digest(), digest, "what came later does not show in a snapshot");
        }
    }
}
