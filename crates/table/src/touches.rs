//! What a batch touched.

use crate::shard::SHARDS;

/// The rows that one part of a batch touched through one feature, by shard of the table, in order of position.
#[derive(Debug, Clone, Default)]
pub struct Touches {
    lists: [Vec<Touch>; SHARDS],
}

/// One id of one example.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Touch {
    /// Row within the shard: the table's row divided by [`SHARDS`].
    pub slot: u32,
    /// Position of the example within its part of the batch.
    pub position: u32,
    /// Derivative of the pooled vector by the row's: the id's weight, for a mean divided by the sum of weights.
    pub weight: f32,
}

impl Touches {
    /// What was touched in the shard at this position.
    #[inline]
    pub fn of_shard(&self, shard: usize) -> &[Touch] {
        &self.lists[shard]
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.lists.iter().map(Vec::len).sum()
    }

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn clear(&mut self) {
        self.lists.iter_mut().for_each(Vec::clear);
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, row: u32, position: u32, weight: f32) {
        let touch = Touch { slot: row / SHARDS as u32, position, weight };
        self.lists[row as usize % SHARDS].push(touch);
    }
}
