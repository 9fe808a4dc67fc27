//! A table of rows.

use crate::chunks::{Header, PlaneName};
use crate::error::TableError;
use crate::gather::Pool;
use crate::init::{Init, UNKNOWN_KEY};
use crate::plane::Plane;
use crate::shard::{RowMode, SHARDS, Shard};
use crate::touches::Touches;
use perennial_core::Column;
use perennial_core::rng::hash_text;
use perennial_core::{Digest, DigestBuilder};
use perennial_nn::optim::{Decay, Optimiser, Rule, Slot};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The pad row: always zeros, never touched, never trained.
pub const PAD: u32 = 0;
/// The row of all that has no row of its own; trained like any other.
pub const UNKNOWN: u32 = 1;

/// What a table is, apart from its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Name; part of the key of each row's first values.
    pub name: String,
    /// Width of a row.
    pub dim: usize,
    /// Seed of first values.
    pub seed: u64,
    /// Distribution of first values.
    pub init: Init,
    /// So many of a row's last values are zero at first, whatever `init` says: biases beside a vector.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub zeros: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Rows of floats under 32-bit indices, with the slots of an optimiser once it is made to train.
#[derive(Debug)]
pub struct Table {
    spec: TableSpec,
    rows: u32,
    slots: Vec<Slot>,
    shards: Box<[Shard; SHARDS]>,
}

/// Shares the pages that a [`Table::snapshot`] shared and that were not written since, and copies the others: right
/// after a snapshot it costs a counter per page. Panics if rows have missed steps: [`Table::settle`] first.
impl Clone for Table {
    fn clone(&self) -> Table {
        self.assert_settled();
        let shards = Box::new(self.shards.each_ref().map(Shard::copy));
        Table { spec: self.spec.clone(), rows: self.rows, slots: self.slots.clone(), shards }
    }
}

/// Widest row.
const MAX_DIM: usize = 65_536;

impl Table {
    /// A table with the pad row and the unknown row.
    pub fn new(spec: TableSpec) -> Result<Table, TableError> {
        let mut table = Table::without_rows(spec)?;
        table.grow_to(2);
        // Written once, so that its page exists however few rows follow.
        table.shards[0].values_mut().row_mut(0).fill(0.0);
        table.draw(UNKNOWN, UNKNOWN_KEY);
        Ok(table)
    }

    pub(crate) fn without_rows(spec: TableSpec) -> Result<Table, TableError> {
        let dim = spec.dim;
        if !(1..=MAX_DIM).contains(&dim) {
            return Err(TableError::Width { table: spec.name, got: dim });
        }
        let shards = Box::new(std::array::from_fn(|position| Shard::new(position, dim)));
        Ok(Table { spec, rows: 0, slots: Vec::new(), shards })
    }

    /// What the table is.
    pub fn spec(&self) -> &TableSpec {
        &self.spec
    }

    /// Width of a row.
    #[inline]
    pub fn dim(&self) -> usize {
        self.spec.dim
    }

    /// Number of rows, the two reserved ones included.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Lists what gathering these examples would touch, without reading a row.
    pub fn touch(&self, column: &Column, index: &[u32], pool: Pool, touches: &mut Touches) {
        crate::gather::touch(column, index, pool, touches);
    }

    /// The slots kept for each value.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// What a stored version must know to read the table back from its [chunks](Table::chunks).
    pub fn header(&self) -> Header {
        Header { spec: self.spec.clone(), rows: self.rows, slots: self.slots.clone() }
    }

    /// Appends a row for each key and returns their indices. First values depend on seed, table name and key alone.
    pub fn grow(&mut self, keys: &[u64]) -> Range<u32> {
        self.settle();
        let first = self.rows;
        let count = u32::try_from(keys.len()).ok().and_then(|count| first.checked_add(count));
        let end = count.expect("a table holds fewer than 2^32 rows");
        self.grow_to(end);
        (first..end).zip(keys).for_each(|(row, &key)| self.draw(row, key));
        first..end
    }

    pub(crate) fn grow_to(&mut self, rows: u32) {
        self.rows = rows;
        for (position, shard) in self.shards.iter_mut().enumerate() {
            shard.grow_to((rows as usize + SHARDS - 1 - position) / SHARDS);
        }
    }

    fn draw(&mut self, row: u32, key: u64) {
        let TableSpec { init, seed, name, zeros, dim } = &self.spec;
        let (shard, slot) = split(row);
        let (drawn, zero) = self.shards[shard].values_mut().row_mut(slot).split_at_mut(dim.saturating_sub(*zeros));
        init.fill(*seed, hash_text(name), key, drawn);
        zero.fill(0.0);
    }

    /// A row's values. Panics if there is no such row.
    ///
    /// Where rows can miss steps ([`Table::needs_catch_up`]), they are up to date only after [`Table::settle`].
    #[inline(always)]
    pub fn row(&self, row: u32) -> &[f32] {
        assert!(row < self.rows, "row {row} of table \"{}\", which has {}", self.spec.name, self.rows);
        let (shard, slot) = split(row);
        self.shards[shard].values().row(slot).expect("values are written when rows are made")
    }

    /// Whether values are too many for the second-level cache, so that asking for rows ahead pays.
    #[inline(always)]
    pub(crate) fn outgrows_cache(&self) -> bool {
        self.rows as usize * self.spec.dim > (16 << 10) / size_of::<f32>()
    }

    /// Starts loading a row that will be needed soon; no row is no harm.
    #[inline(always)]
    pub(crate) fn prefetch_row(&self, row: u32) {
        if row < self.rows {
            let (shard, place) = split(row);
            self.shards[shard].values().prefetch(place);
        }
    }

    /// A row's values, to be written by other means than an optimiser. Panics if there is no such row, and for the
    /// pad row.
    pub fn row_mut(&mut self, row: u32) -> &mut [f32] {
        assert!(row < self.rows, "row {row} of table \"{}\", which has {}", self.spec.name, self.rows);
        assert!(row != PAD, "the pad row of table \"{}\" is not to be written", self.spec.name);
        let (shard, slot) = split(row);
        self.shards[shard].values_mut().row_mut(slot)
    }

    /// Makes the table ready for steps of `optimiser`. Slots are kept if they are those of its rule, so that training
    /// continues over periods and reloads; otherwise they start anew.
    ///
    /// Refuses L2 in the gradient of lazy rows, except under SGD.
    pub fn train_with(&mut self, optimiser: &Optimiser, mode: RowMode) -> Result<(), TableError> {
        if let (RowMode::Lazy, Decay::Coupled(_), Rule::Adagrad { .. } | Rule::Adam { .. }) =
            (mode, optimiser.decay, optimiser.rule)
        {
            return Err(TableError::LazyL2 { table: self.spec.name.clone() });
        }
        self.settle();
        let slots = optimiser.rule.slots();
        let keep_slots = slots == self.slots;
        self.shards.iter_mut().for_each(|shard| shard.train_with(optimiser, mode, keep_slots));
        self.slots = slots;
        Ok(())
    }

    pub(crate) fn set_slots(&mut self, slots: Vec<Slot>) {
        self.shards.iter_mut().for_each(|shard| shard.set_slots(&slots));
        self.slots = slots;
    }

    /// The shards, for workers to take.
    pub fn shards_mut(&mut self) -> &mut [Shard] {
        &mut *self.shards
    }

    /// Whether rows must be [caught up](Shard::catch_up) with before they are gathered.
    pub fn needs_catch_up(&self) -> bool {
        self.shards[0].needs_catch_up()
    }

    /// Makes all rows see the steps that they missed: what closes a period.
    pub fn settle(&mut self) {
        self.shards.iter_mut().for_each(Shard::settle);
    }

    /// A table with the same content that shares all pages with this one, independent from now on. Settles first.
    pub fn snapshot(&mut self) -> Table {
        self.share(true)
    }

    /// A snapshot without slots: what scoring needs.
    pub fn snapshot_values(&mut self) -> Table {
        self.share(false)
    }

    /// A table of the values alone, sharing the pages that are shared already and copying the others. Panics if rows
    /// have missed steps: [`Table::settle`] first.
    pub fn values_only(&self) -> Table {
        self.assert_settled();
        let shards = Box::new(self.shards.each_ref().map(Shard::copy_values));
        Table { spec: self.spec.clone(), rows: self.rows, slots: Vec::new(), shards }
    }

    fn share(&mut self, with_slots: bool) -> Table {
        self.settle();
        let shards = self.shards.each_mut().map(|shard| shard.share(with_slots));
        let slots = if with_slots { self.slots.clone() } else { Vec::new() };
        Table { spec: self.spec.clone(), rows: self.rows, slots, shards: Box::new(shards) }
    }

    /// Bytes of values and slots, those shared with snapshots included.
    pub fn bytes(&self) -> usize {
        self.planes().map(Plane::bytes).sum()
    }

    /// Number of pages allocated, and how many of them are the same memory in `other`.
    pub fn pages_shared_with(&self, other: &Table) -> (usize, usize) {
        let pairs = self.planes().zip(other.planes());
        let counts = pairs.map(|(mine, theirs)| mine.pages_shared_with(theirs));
        counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    }

    fn planes(&self) -> impl Iterator<Item = &Plane> {
        self.shards.iter().flat_map(|shard| std::iter::once(shard.values()).chain(shard.slots()))
    }

    /// Digest of the content: width, number of rows, values and slots in order of rows; independent of pages, of
    /// shards and of what was shared. Panics if rows have missed steps: [`Table::settle`] first.
    pub fn digest(&self) -> Digest {
        let mut digest = DigestBuilder::new("table");
        digest.u64(self.dim() as u64).u64(u64::from(self.rows)).u64(self.slots.len() as u64);
        let mut buffer = Vec::new();
        for (plane, index) in self.chunk_names() {
            self.read_chunk(plane, index, &mut buffer);
            digest.f32s(&buffer);
        }
        digest.finish()
    }

    /// Number of values that are infinite or NaN.
    pub fn non_finite(&self) -> usize {
        (0..self.rows).map(|row| self.row(row).iter().filter(|x| !x.is_finite()).count()).sum()
    }

    /// A row of a plane; slots that were never written hold their initial value.
    pub(crate) fn read_row(&self, plane: PlaneName, row: u32, out: &mut [f32]) {
        let (shard, place) = split(row);
        let (plane, from) = match self.slot_position(plane) {
            None => (Some(self.shards[shard].values()), 0),
            Some(position) => (self.shards[shard].slots(), position * self.dim()),
        };
        let plane = plane.expect("a table that names slots has them");
        match plane.row(place) {
            Some(values) => out.copy_from_slice(&values[from..][..out.len()]),
            None => out.fill(plane.initial()),
        }
    }

    pub(crate) fn write_row(&mut self, plane: PlaneName, row: u32, values: &[f32]) {
        let (shard, place) = split(row);
        let (plane, from) = match self.slot_position(plane) {
            None => (Some(self.shards[shard].values_mut()), 0),
            Some(position) => (self.shards[shard].slots_mut(), position * values.len()),
        };
        let plane = plane.expect("a table that names slots has them");
        plane.row_mut(place)[from..][..values.len()].copy_from_slice(values);
    }

    /// Position among the slots; `None` for values.
    fn slot_position(&self, plane: PlaneName) -> Option<usize> {
        let PlaneName::Slot(name) = plane else { return None };
        let position = self.slots.iter().position(|slot| slot.name == name);
        Some(position.expect("planes are named after the table's own slots"))
    }

    pub(crate) fn assert_settled(&self) {
        let missed = self.shards[0].missed_steps();
        assert!(missed == 0, "table \"{}\" has rows that missed up to {missed} steps: settle first", self.spec.name);
    }
}

/// Shard of a row, and its place there.
#[inline(always)]
fn split(row: u32) -> (usize, usize) {
    (row as usize % SHARDS, row as usize / SHARDS)
}
