//! What a batch touched.

use crate::shard::SHARDS;

/// The rows that one part of a batch touched through one feature, by shard of the table, in order of position.
///
/// All lists lie in one buffer, cut by a count made beforehand: pushing to sixteen growing lists took a fifth of a
/// gather.
#[derive(Debug, Clone, Default)]
pub struct Touches {
    all: Vec<Touch>,
    /// For each of `all` the id's own weight; empty where ids weigh 1.
    weights: Vec<f32>,
    /// For each position the factor that pooling gives to its ids.
    shares: Vec<f32>,
    /// Where each shard's list begins and ends in `all`.
    starts: [u32; SHARDS],
    ends: [u32; SHARDS],
}

/// One id of one example.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Touch {
    /// Row within the shard: the table's row divided by [`SHARDS`].
    pub(crate) slot: u32,
    /// Position of the example within its part of the batch.
    pub(crate) position: u32,
}

/// What was touched in one shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) touches: &'a [Touch],
    /// As long as `touches`, or empty where ids weigh 1.
    weights: &'a [f32],
    shares: &'a [f32],
}

impl Part<'_> {
    /// Derivative of the pooled vector by the row's, for the touch at `index`: the id's weight, for a mean divided by
    /// the sum of weights.
    #[inline(always)]
    pub(crate) fn weight(&self, index: usize, touch: Touch) -> f32 {
        let share = self.shares[touch.position as usize];
        self.weights.get(index).map_or(share, |weight| weight * share)
    }
}

impl Touches {
    /// Number of ids.
    pub fn len(&self) -> usize {
        self.starts.iter().zip(self.ends).map(|(start, end)| (end - start) as usize).sum()
    }

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit(row, position, weight)` for each touch, shard after shard.
    #[inline(always)]
    pub(crate) fn each(&self, mut visit: impl FnMut(u32, u32, f32)) {
        for shard in 0..SHARDS {
            let part = self.of_shard(shard);
            for (index, &touch) in part.touches.iter().enumerate() {
                visit(touch.slot * SHARDS as u32 + shard as u32, touch.position, part.weight(index, touch));
            }
        }
    }

    #[inline]
    pub(crate) fn of_shard(&self, shard: usize) -> Part<'_> {
        let range = self.starts[shard] as usize..self.ends[shard] as usize;
        let weights = self.weights.get(range.clone()).unwrap_or(&[]);
        Part { touches: &self.all[range], weights, shares: &self.shares }
    }

    /// Starts anew, with room in each shard for as many ids as `counts` says.
    pub(crate) fn recorder(&mut self, counts: [u32; SHARDS], weighted: bool) -> Recorder<'_> {
        let mut end = 0;
        for (start, count) in self.starts.iter_mut().zip(counts) {
            *start = end;
            end += count;
        }
        self.ends = self.starts;
        self.shares.clear();
        // Old content is overwritten before it is read, so the buffer only ever grows.
        if self.all.len() < end as usize {
            self.all.resize(end as usize, Touch::default());
        }
        let weights = if weighted { end as usize } else { 0 };
        self.weights.resize(weights, 0.0);
        Recorder { cursors: self.starts, touches: self }
    }
}

/// Notes touches as they are made.
pub(crate) struct Recorder<'a> {
    /// Where the next touch of each shard goes.
    cursors: [u32; SHARDS],
    touches: &'a mut Touches,
}

impl Recorder<'_> {
    /// Begins the example at the next position, whose ids pooling multiplies by `share`.
    #[inline(always)]
    pub(crate) fn example(&mut self, share: f32) {
        self.touches.shares.push(share);
    }

    #[inline(always)]
    pub(crate) fn id(&mut self, row: u32, position: u32, weight: f32) {
        let cursor = &mut self.cursors[row as usize % SHARDS];
        self.touches.all[*cursor as usize] = Touch { slot: row / SHARDS as u32, position };
        if let Some(own) = self.touches.weights.get_mut(*cursor as usize) {
            *own = weight;
        }
        *cursor += 1;
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        self.touches.ends = self.cursors;
    }
}
