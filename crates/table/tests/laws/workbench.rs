//! Tables, batches and steps for the tests of this folder.

use perennial_core::{Column, Spans, Stream};
use perennial_nn::optim::{AdamForm, Optimiser, Rule, Step};
use perennial_table::{Init, Place, Pool, Rows, SHARDS, Table, TableSpec, Touches};

/// Parts into which each batch is cut.
pub(crate) const PARTS: usize = 3;

/// A table with `rows` rows in all, of random values.
pub(crate) fn table(dim: usize, rows: u32) -> Table {
    let spec = TableSpec { name: "t".into(), dim, seed: 3, init: Init::Normal { std: 0.1 }, zeros: 0 };
    let mut table = Table::new(spec).unwrap();
    table.grow(&(2..u64::from(rows)).collect::<Vec<_>>());
    table
}

pub(crate) fn rules() -> [Rule; 4] {
    let hat = Rule::Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, form: AdamForm::EpsilonHat };
    [Rule::Sgd, Rule::ADAGRAD, Rule::ADAM, hat]
}

/// One batch: ids, and the gradients that come back for them.
pub(crate) struct Batch {
    pub(crate) column: Column,
    pub(crate) pool: Pool,
    pub(crate) examples: usize,
    /// `[examples, dim + 1]`; the feature starts at column 1.
    pub(crate) grads: Vec<f32>,
}

impl Batch {
    /// Ids below `rows`, pads and repeated ids among them.
    pub(crate) fn random(dim: usize, rows: u32, examples: usize, key: u64) -> Batch {
        let mut stream = Stream::new(&[key]);
        let mut spans = Spans::default();
        let mut ids = Vec::new();
        for _ in 0..examples {
            let len = stream.below(6) as u32;
            spans.push(ids.len() as u32, len);
            ids.extend((0..len).map(|_| stream.below(u64::from(rows)) as u32));
        }
        let weights: Vec<f32> = ids.iter().map(|_| stream.unit_f32() + 0.1).collect();
        let column = match key % 3 {
            0 => Column::Id((0..examples).map(|_| stream.below(u64::from(rows)) as u32).collect()),
            1 => Column::bag(spans, ids, None),
            _ => Column::bag(spans, ids, Some(weights)),
        };
        let pool = if key.is_multiple_of(2) { Pool::Sum } else { Pool::Mean };
        let grads = (0..examples * (dim + 1)).map(|_| stream.normal() as f32).collect();
        Batch { column, pool, examples, grads }
    }

    /// Positions of each part's examples.
    pub(crate) fn parts(&self) -> Vec<Vec<u32>> {
        let all: Vec<u32> = (0..self.examples as u32).collect();
        (0..PARTS).map(|part| all[part * self.examples / PARTS..(part + 1) * self.examples / PARTS].to_vec()).collect()
    }

    pub(crate) fn place(dim: usize) -> Place {
        Place { stride: dim + 1, offset: 1 }
    }
}

/// One whole step as a training loop would do it; returns what was gathered, `[examples, dim + 1]`.
pub(crate) fn train(table: &mut Table, batch: &Batch, step: &Step) -> Vec<f32> {
    let (dim, place) = (table.dim(), Batch::place(table.dim()));
    let parts = batch.parts();
    let mut touches: Vec<Touches> = vec![Touches::default(); PARTS];
    if table.needs_catch_up() {
        for (part, touches) in parts.iter().zip(&mut touches) {
            table.touch(&batch.column, part, batch.pool, touches);
            table.shards_mut().iter_mut().for_each(|shard| shard.catch_up(touches));
        }
    }
    let mut gathered = vec![9.0; batch.examples * (dim + 1)];
    for (part, touches) in parts.iter().zip(&mut touches) {
        let from = part.first().map_or(0, |&first| first as usize * (dim + 1));
        let out = &mut gathered[from..][..part.len() * (dim + 1)];
        table.gather(&batch.column, part, batch.pool, out, place, Some(touches));
    }
    // Shards in reverse, as workers might get to them.
    for position in (0..SHARDS).rev() {
        let shard = &mut table.shards_mut()[position];
        for (part, touches) in parts.iter().zip(&touches) {
            let from = part.first().map_or(0, |&first| first as usize * (dim + 1));
            shard.accumulate(touches, &batch.grads[from..], place);
        }
        assert_eq!(shard.apply(step), 0);
        assert_eq!(shard.touched(), 0, "gradients are forgotten");
    }
    gathered
}

/// A learning rate that falls.
pub(crate) fn step(optimiser: &Optimiser, number: u64) -> Step {
    optimiser.step(number, optimiser.learning_rate / (1.0 + number as f64 * 0.01))
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// All values and slots, in order of rows, by plane.
pub(crate) fn planes(table: &Table) -> Vec<Vec<f32>> {
    let mut planes = std::collections::BTreeMap::new();
    for chunk in table.chunks() {
        let floats = chunk.bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        planes.entry(chunk.plane).or_insert_with(Vec::new).extend(floats);
    }
    planes.into_values().collect()
}
