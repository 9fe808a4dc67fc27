//! A table in dense parity is the dense optimiser, bit for bit.

use crate::workbench::{Batch, bits, planes, rules, step, table, train};
use perennial_core::{Column, Stream};
use perennial_nn::optim::{Decay, Optimiser, Step};
use perennial_table::{Pool, RowMode, Table};

/// The whole matrix, with its slots, as a dense tensor.
struct Dense {
    dim: usize,
    planes: [Vec<f32>; 3],
}

impl Dense {
    fn of(table: &Table, optimiser: &Optimiser) -> Dense {
        let values: Vec<f32> = (0..table.rows()).flat_map(|row| table.row(row).to_vec()).collect();
        let len = values.len();
        let mut slots = optimiser.rule.slots().into_iter().map(|slot| vec![slot.initial; len]);
        let planes = [values, slots.next().unwrap_or_default(), slots.next().unwrap_or_default()];
        Dense { dim: table.dim(), planes }
    }

    /// Every row moves, touched or not, except the pad.
    fn train(&mut self, ids: &[u32], grads: &[f32], step: &Step) {
        let mut gradient = vec![0.0; self.planes[0].len()];
        for (&id, grads) in ids.iter().zip(grads.chunks(self.dim + 1)).filter(|(id, _)| **id != 0) {
            let sum = &mut gradient[id as usize * self.dim..][..self.dim];
            sum.iter_mut().zip(&grads[1..]).for_each(|(sum, g)| *sum += g);
        }
        let dim = self.dim;
        let [values, first, second] = self.planes.each_mut().map(|plane| match plane.is_empty() {
            true => &mut plane[..],
            false => &mut plane[dim..],
        });
        step.update(values, &gradient[dim..], [first, second]);
    }

    fn agrees(&self, table: &Table, what: &str) {
        for (got, expected) in planes(table).iter().zip(self.planes.iter().filter(|plane| !plane.is_empty())) {
            assert_eq!(bits(got), bits(expected), "{what}");
        }
    }
}

/// Touches of all rhythms: most rows rarely, a few at every step, some never.
fn ids(rows: u32, number: u64) -> Vec<u32> {
    let mut stream = Stream::new(&[number, 77]);
    let count = if number.is_multiple_of(50) { 25 } else { 3 };
    (0..count).map(|_| (stream.unit_f64().powi(3) * f64::from(rows - 10)) as u32).collect()
}

fn check(optimiser: Optimiser, dim: usize, steps: u64) {
    let rows = 60;
    let mut table = table(dim, rows);
    table.train_with(&optimiser, RowMode::DenseParity).unwrap();
    let mut dense = Dense::of(&table, &optimiser);
    for number in 1..=steps {
        let ids = ids(rows, number);
        let mut batch = Batch::random(dim, rows, ids.len(), number);
        (batch.column, batch.pool) = (Column::Id(ids.clone()), Pool::Sum);
        let step = step(&optimiser, number);
        let gathered = train(&mut table, &batch, &step);
        for (&id, gathered) in ids.iter().zip(gathered.chunks(dim + 1)) {
            let expected = &dense.planes[0][id as usize * dim..][..dim];
            let expected: Vec<f32> = expected.iter().map(|x| x + 0.0).collect();
            assert_eq!(bits(&gathered[1..]), bits(&expected), "{optimiser:?}, row {id} at step {number}");
        }
        dense.train(&ids, &batch.grads, &step);
        if number == steps / 3 {
            table.settle();
            dense.agrees(&table, "after a period");
        }
    }
    table.settle();
    dense.agrees(&table, &format!("{optimiser:?}"));
    let digest = table.digest();
    table.settle();
    assert_eq!(table.digest(), digest, "settling twice changes nothing");
}

#[test]
fn every_rule_and_decay_gives_the_dense_bits() {
    for rule in rules() {
        for decay in [Decay::None, Decay::Coupled(0.03), Decay::Decoupled(0.03)] {
            check(Optimiser::new(rule, 0.02).with_decay(decay), 8, 300);
            check(Optimiser::new(rule, 0.02).with_decay(decay), 3, 60);
        }
    }
}

/// Long enough for momentum to sink through the denormals to where it stands still.
#[test]
fn rows_missed_for_long_stand_still_as_dense_ones_do() {
    for rule in rules() {
        check(Optimiser::new(rule, 0.02), 2, 2500);
    }
}

#[test]
#[should_panic(expected = "catch up first")]
fn forgetting_to_catch_up_is_noticed() {
    let mut table = table(2, 10);
    let optimiser = Optimiser::new(rules()[2], 0.1);
    table.train_with(&optimiser, RowMode::DenseParity).unwrap();
    let mut touches = perennial_table::Touches::default();
    for number in 1..3 {
        table.touch(&Column::Id(vec![5]), &[0], Pool::Sum, &mut touches);
        for shard in table.shards_mut() {
            shard.accumulate(&touches, &[1.0, 1.0], perennial_table::Place::alone(2));
            assert_eq!(shard.apply(&optimiser.step(2 * number, 0.1)), 0);
        }
        // A step that row 5 misses.
        table.shards_mut().iter_mut().for_each(|shard| assert_eq!(shard.apply(&optimiser.step(2, 0.1)), 0));
    }
}

#[test]
#[should_panic(expected = "settle first")]
fn unsettled_rows_have_no_digest() {
    let mut table = table(2, 10);
    let optimiser = Optimiser::new(rules()[2], 0.1);
    table.train_with(&optimiser, RowMode::DenseParity).unwrap();
    table.shards_mut().iter_mut().for_each(|shard| assert_eq!(shard.apply(&optimiser.step(1, 0.1)), 0));
    table.digest();
}
