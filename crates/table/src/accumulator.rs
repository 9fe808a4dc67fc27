//! Gradients of the rows that a batch touched, summed by row.

use crate::gather::Place;
use crate::prefetch::prefetch;
use crate::touches::{Part, Touch};

/// Sums by row, in order of first touch, and the place of each row among them.
#[derive(Debug, Clone)]
pub(crate) struct Accumulator {
    dim: usize,
    /// Rows are smaller than this.
    limit: usize,
    rows: Vec<u32>,
    sums: Vec<f32>,
    places: Places,
    /// Place of each touch of the part that is being added.
    found: Vec<u32>,
}

impl Accumulator {
    pub(crate) fn new(dim: usize) -> Accumulator {
        let places = Places::Listed { first: 1, of_row: Vec::new() };
        Accumulator { dim, limit: 0, rows: Vec::new(), sums: Vec::new(), places, found: Vec::new() }
    }

    /// Allows rows below `rows`. Nothing may have been added since the last [`Accumulator::clear`].
    pub(crate) fn grow_to(&mut self, rows: usize) {
        debug_assert!(self.rows.is_empty(), "rows are added between steps");
        self.limit = rows;
    }

    /// The touched rows, in order of first touch.
    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// `[rows, dim]` sums.
    pub(crate) fn sums(&self) -> &[f32] {
        &self.sums
    }

    pub(crate) fn sums_mut(&mut self) -> &mut [f32] {
        &mut self.sums
    }

    /// Adds, for each touch in order, its weight times the gradient at its position to its row's sum. `DIM` is the
    /// width, where the compiler may know it, or 0.
    #[inline(always)]
    pub(crate) fn add<const DIM: usize>(&mut self, part: Part<'_>, grads: &[f32], at: Place) {
        let dim = if DIM == 0 { self.dim } else { DIM };
        self.places.grow_to(self.limit);
        self.places.find(part.touches, &mut self.rows, &mut self.found);
        self.sums.resize(self.rows.len() * dim, 0.0);
        let far = size_of_val(grads) > NEAR;
        for (index, (&touch, &place)) in part.touches.iter().zip(&self.found).enumerate() {
            if far {
                let ahead = part.touches[(index + AHEAD).min(part.touches.len() - 1)];
                prefetch(&grads[at.start(ahead.position as usize)..][..dim]);
            }
            let weight = part.weight(index, touch);
            let gradient = &grads[at.start(touch.position as usize)..][..dim];
            let sum = &mut self.sums[place as usize * dim..][..dim];
            for (sum, &g) in sum.iter_mut().zip(gradient) {
                *sum += weight * g;
            }
        }
    }

    /// Forgets all rows and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.places.clear(self.rows.len());
        self.rows.clear();
        self.sums.clear();
    }
}

/// Gradients of more bytes are not in the nearest cache when their turn comes: those of a wide batch.
const NEAR: usize = 64 << 10;

/// Touches between asking for a gradient, or a place, and using it.
const AHEAD: usize = 12;

/// Most rows of a shard whose places are looked up in a list: its 64 kB stay in a near cache.
const LISTED: usize = 1 << 14;

/// The place of each touched row among the touched rows.
#[derive(Debug, Clone)]
enum Places {
    /// `first` plus the place, for every row; what is smaller is left over from earlier steps. Finding a place needs
    /// no branch, which would be a coin toss: half the time of the search in a table of 50,000 rows.
    Listed { first: u32, of_row: Vec<u32> },
    /// A small open-addressing table of the touched rows alone, place plus one, 0 is free: it stays in the nearest
    /// cache however large the table grows. Its length is a power of two, at most half of it in use.
    Hashed(Vec<u32>),
}

impl Places {
    /// Done when rows are first added, so that snapshots which are never trained cost nothing.
    fn grow_to(&mut self, rows: usize) {
        match self {
            Places::Listed { of_row, .. } if of_row.len() == rows => {}
            Places::Listed { of_row, .. } if rows <= LISTED => of_row.resize(rows, 0),
            Places::Listed { .. } => *self = Places::Hashed(vec![0; 64]),
            Places::Hashed(_) => {}
        }
    }

    /// Writes the place of each touch to `found`, and appends rows that were not touched before to `rows`.
    #[inline(always)]
    fn find(&mut self, touches: &[Touch], rows: &mut Vec<u32>, found: &mut Vec<u32>) {
        found.resize(touches.len(), 0);
        match self {
            Places::Listed { first, of_row } => find_listed(*first, of_row, touches, rows, found),
            Places::Hashed(table) => {
                for (found, touch) in found.iter_mut().zip(touches) {
                    *found = find_hashed(table, touch.slot, rows) as u32;
                }
            }
        }
    }

    fn clear(&mut self, rows: usize) {
        match self {
            Places::Hashed(table) => table.fill(0),
            Places::Listed { first, of_row } => match first.checked_add(rows as u32 + LISTED as u32) {
                Some(_) => *first += rows as u32,
                None => {
                    of_row.fill(0);
                    *first = 1;
                }
            },
        }
    }
}

#[inline(always)]
fn find_listed(first: u32, of_row: &mut [u32], touches: &[Touch], rows: &mut Vec<u32>, found: &mut [u32]) {
    let mut count = rows.len();
    // Each touch writes its row where the next new one goes; only if it is new, the place counts as taken.
    rows.resize(count + touches.len() + 1, 0);
    for (index, (found, touch)) in found.iter_mut().zip(touches).enumerate() {
        let ahead = touches[(index + AHEAD).min(touches.len() - 1)];
        prefetch(&of_row[ahead.slot as usize..][..1]);
        let known = &mut of_row[touch.slot as usize];
        let next = first + count as u32;
        let new = *known < first;
        *known = if new { next } else { *known };
        *found = *known - first;
        rows[count] = touch.slot;
        count += usize::from(new);
    }
    rows.truncate(count);
}

#[inline(always)]
fn find_hashed(table: &mut Vec<u32>, row: u32, rows: &mut Vec<u32>) -> usize {
    let mask = table.len() - 1;
    let mut at = start(row) & mask;
    loop {
        match table[at & mask] {
            0 => {
                rows.push(row);
                table[at & mask] = rows.len() as u32;
                if rows.len() * 2 > table.len() {
                    widen(table, rows);
                }
                return rows.len() - 1;
            }
            place if rows[place as usize - 1] == row => return place as usize - 1,
            _ => at += 1,
        }
    }
}

#[cold]
fn widen(table: &mut Vec<u32>, rows: &[u32]) {
    let mask = table.len() * 2 - 1;
    table.clear();
    table.resize(mask + 1, 0);
    for (place, &row) in (1..).zip(rows) {
        let mut at = start(row) & mask;
        while table[at] != 0 {
            at = (at + 1) & mask;
        }
        table[at] = place;
    }
}

/// Where to look for a row first (Knuth's multiplicative hash, high bits folded down).
#[inline(always)]
fn start(row: u32) -> usize {
    let hash = row.wrapping_mul(0x9e37_79b1);
    (hash ^ (hash >> 15)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::SHARDS;
    use crate::touches::Touches;
    use perennial_core::Stream;

    /// Both ways of finding places, over several steps and parts, against a map.
    #[test]
    fn sums_are_those_of_a_map() {
        for rows in [LISTED, LISTED + 1] {
            let mut accumulator = Accumulator::new(2);
            accumulator.grow_to(900);
            accumulator.grow_to(rows);
            for round in 0..3 {
                let mut stream = Stream::new(&[round]);
                let mut twin = std::collections::HashMap::<u32, [f32; 2]>::new();
                let mut order = Vec::new();
                for _ in 0..2 {
                    let (slots, grads, touches) = part(&mut stream, rows as u64);
                    for (position, &slot) in slots.iter().enumerate() {
                        let sum = twin.entry(slot).or_insert_with(|| {
                            order.push(slot);
                            [0.0; 2]
                        });
                        let weight = 0.5 + position as f32;
                        *sum = [sum[0] + weight * grads[2 * position], sum[1] + weight * grads[2 * position + 1]];
                    }
                    accumulator.add::<0>(touches.of_shard(0), &grads, Place::alone(2));
                }
                assert_eq!(matches!(accumulator.places, Places::Listed { .. }), rows == LISTED);
                assert_eq!(accumulator.rows(), order);
                let expected: Vec<f32> = order.iter().flat_map(|row| twin[row]).collect();
                assert_eq!(accumulator.sums(), expected);
                accumulator.clear();
                assert!(accumulator.rows().is_empty() && accumulator.sums().is_empty());
            }
        }
    }

    /// One id per position, weighted by its position, all in shard 0.
    fn part(stream: &mut Stream, rows: u64) -> (Vec<u32>, Vec<f32>, Touches) {
        let slots: Vec<u32> = (0..3000).map(|_| stream.below(900.min(rows)) as u32).collect();
        let grads = (0..2 * slots.len()).map(|_| stream.unit_f32()).collect();
        let mut touches = Touches::default();
        let mut counts = [0; SHARDS];
        counts[0] = slots.len() as u32;
        let mut recorder = touches.recorder(counts, false);
        for (position, &slot) in slots.iter().enumerate() {
            recorder.example(0.5 + position as f32);
            recorder.id(slot * SHARDS as u32, position as u32, 1.0);
        }
        drop(recorder);
        (slots, grads, touches)
    }
}
