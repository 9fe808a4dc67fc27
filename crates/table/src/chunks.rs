//! Tables in pieces, for storage.
//!
//! Each plane is cut into chunks of [`CHUNK_ROWS`] rows, in order of rows; a chunk is its floats in little-endian
//! order, row after row, and nothing else. Chunks do not depend on pages or shards, so that a content-addressed
//! store keeps what did not change between versions once.

use crate::error::TableError;
use crate::table::{PAD, Table, TableSpec};
use perennial_nn::optim::{Slot, SlotName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Rows of every chunk but the last.
pub const CHUNK_ROWS: u32 = 4096;

/// What a table is, how many rows it has, and which slots are kept for each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// What the table is.
    pub spec: TableSpec,
    /// Number of rows, the two reserved ones included.
    pub rows: u32,
    /// Slots; empty in a table that is only to be read.
    pub slots: Vec<Slot>,
}

/// Which plane of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaneName {
    /// What the model reads.
    Values,
    /// What the optimiser remembers.
    Slot(SlotName),
}

/// A piece of a plane.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// The plane.
    pub plane: PlaneName,
    /// Position in its plane.
    pub index: u32,
    /// `[rows, dim]` floats, little-endian.
    pub bytes: Vec<u8>,
}

impl Table {
    /// All chunks: values first, then each slot. Panics if rows have missed steps: [`Table::settle`] first.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> {
        let mut floats = Vec::new();
        self.chunk_names().map(move |(plane, index)| {
            self.read_chunk(plane, index, &mut floats);
            Chunk { plane, index, bytes: floats.iter().flat_map(|x| x.to_le_bytes()).collect() }
        })
    }

    /// Puts a table together from its chunks, in any order. A table without optimiser is read by a header without
    /// slots and the chunks of its values.
    ///
    /// Refuses a header that describes no table, and chunks that are missing, doubled, of another length or not of
    /// this table. NaN is accepted: [`Table::non_finite`] counts it.
    pub fn from_chunks(header: Header, chunks: impl IntoIterator<Item = Chunk>) -> Result<Table, TableError> {
        let mut table = header.empty_table()?;
        let mut missing: BTreeSet<(PlaneName, u32)> = table.chunk_names().collect();
        for chunk in chunks {
            if !missing.remove(&(chunk.plane, chunk.index)) {
                return Err(table.misfit(&chunk, "it was given before, or the table has no such chunk".into()));
            }
            table.write_chunk(&chunk)?;
        }
        match missing.first() {
            None => Ok(table),
            Some(&(plane, index)) => {
                let problem = format!("it is missing, and {} more", missing.len() - 1);
                Err(TableError::Chunk { table: table.spec().name.clone(), plane, index, problem })
            }
        }
    }

    /// Planes in order, values first, and the chunks of each.
    pub(crate) fn chunk_names(&self) -> impl Iterator<Item = (PlaneName, u32)> + use<> {
        let chunks = self.rows().div_ceil(CHUNK_ROWS);
        let slots: Vec<PlaneName> = self.slots().iter().map(|slot| PlaneName::Slot(slot.name)).collect();
        let planes = std::iter::once(PlaneName::Values).chain(slots);
        planes.flat_map(move |plane| (0..chunks).map(move |index| (plane, index)))
    }

    pub(crate) fn read_chunk(&self, plane: PlaneName, index: u32, floats: &mut Vec<f32>) {
        self.assert_settled();
        let rows = self.chunk_rows(index);
        floats.resize(rows.len() * self.dim(), 0.0);
        for (row, out) in rows.zip(floats.chunks_exact_mut(self.dim())) {
            self.read_row(plane, row, out);
        }
    }

    fn write_chunk(&mut self, chunk: &Chunk) -> Result<(), TableError> {
        let rows = self.chunk_rows(chunk.index);
        let row_bytes = self.dim() * size_of::<f32>();
        let expected = rows.len() * row_bytes;
        if chunk.bytes.len() != expected {
            return Err(self.misfit(chunk, format!("expected {expected} bytes, got {}", chunk.bytes.len())));
        }
        let mut values = vec![0.0; self.dim()];
        for (row, bytes) in rows.zip(chunk.bytes.chunks_exact(row_bytes)) {
            for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(4)) {
                *value = f32::from_le_bytes(bytes.try_into().expect("cut into fours"));
            }
            if row == PAD && chunk.plane == PlaneName::Values && values.iter().any(|x| x.to_bits() != 0) {
                return Err(self.misfit(chunk, "the pad row is not zero".into()));
            }
            self.write_row(chunk.plane, row, &values);
        }
        Ok(())
    }

    fn chunk_rows(&self, index: u32) -> std::ops::Range<u32> {
        let first = index * CHUNK_ROWS;
        first..first.saturating_add(CHUNK_ROWS).min(self.rows())
    }

    fn misfit(&self, chunk: &Chunk, problem: String) -> TableError {
        TableError::Chunk { table: self.spec().name.clone(), plane: chunk.plane, index: chunk.index, problem }
    }
}

impl Header {
    /// The same table without its optimiser's slots.
    pub fn without_slots(self) -> Header {
        Header { slots: Vec::new(), ..self }
    }

    fn empty_table(self) -> Result<Table, TableError> {
        self.check()?;
        let mut table = Table::without_rows(self.spec)?;
        table.grow_to(self.rows);
        table.set_slots(self.slots);
        Ok(table)
    }

    fn check(&self) -> Result<(), TableError> {
        let refuse = |problem: String| Err(TableError::Header { table: self.spec.name.clone(), problem });
        if self.rows < 2 {
            return refuse(format!("expected at least the 2 reserved rows, got {}", self.rows));
        }
        let names: BTreeSet<SlotName> = self.slots.iter().map(|slot| slot.name).collect();
        if names.len() < self.slots.len() || self.slots.len() > 2 {
            return refuse(format!("expected at most two slots of different names, got {:?}", self.slots));
        }
        if self.slots.windows(2).any(|pair| pair[0].initial.to_bits() != pair[1].initial.to_bits()) {
            return refuse(format!("expected slots that start from one value, got {:?}", self.slots));
        }
        Ok(())
    }
}
