//! Reading the rows of a batch.

use crate::shard::SHARDS;
use crate::table::{PAD, Table};
use crate::touches::{Recorder, Touches};
use perennial_core::Column;
use perennial_nn::optim::dispatch;

/// How the rows of one example become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// The weighted sum.
    Sum,
    /// The weighted sum divided by the sum of weights; zeros where that is zero or there is no id.
    Mean,
}

/// Where one feature's vectors lie in a batch's matrix: example `i` at `[i * stride + offset..][..dim]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Columns of the matrix.
    pub stride: usize,
    /// First column of the feature.
    pub offset: usize,
}

impl Place {
    /// A matrix of nothing but this feature.
    pub fn alone(dim: usize) -> Place {
        Place { stride: dim, offset: 0 }
    }

    #[inline(always)]
    pub(crate) fn start(&self, position: usize) -> usize {
        position * self.stride + self.offset
    }
}

/// Rows to gather from.
pub trait Rows: Sync {
    /// Width of a row.
    fn dim(&self) -> usize;

    /// A row's values. Panics if there is no such row.
    fn row(&self, id: u32) -> &[f32];

    /// Starts loading rows that will be needed soon, where that pays.
    #[inline(always)]
    fn ask_for(&self, _ids: &[u32]) {}

    /// Writes the pooled row of each of the examples `index` of `column` to its place in `out`, and replaces the
    /// content of `touches` by what contributed. The pad row contributes nothing and is not touched. An id column
    /// has one id of weight 1 per example, whatever the pooling.
    ///
    /// Panics if the column is numeric, if an id is no row, or if `out` is too short.
    fn gather(
        &self,
        column: &Column,
        index: &[u32],
        pool: Pool,
        out: &mut [f32],
        place: Place,
        touches: Option<&mut Touches>,
    ) {
        let dim = self.dim();
        assert!(place.offset + dim <= place.stride, "{dim} columns from {} on exceed {}", place.offset, place.stride);
        let mut recorder = touches.map(|touches| recorder(touches, column, index));
        let recorder = &mut recorder;
        dispatch(
            #[inline(always)]
            || match dim {
                1 => gather_fixed::<1>(self, column, index, pool, (out, place), recorder),
                8 => gather_fixed::<8>(self, column, index, pool, (out, place), recorder),
                16 => gather_fixed::<16>(self, column, index, pool, (out, place), recorder),
                32 => gather_fixed::<32>(self, column, index, pool, (out, place), recorder),
                64 => gather_fixed::<64>(self, column, index, pool, (out, place), recorder),
                _ => gather_any(self, column, index, pool, (out, place), recorder),
            },
        );
    }
}

impl Rows for Table {
    fn dim(&self) -> usize {
        Table::dim(self)
    }

    #[inline(always)]
    fn row(&self, id: u32) -> &[f32] {
        Table::row(self, id)
    }

    #[inline(always)]
    fn ask_for(&self, ids: &[u32]) {
        if self.outgrows_cache() {
            for &id in ids {
                self.prefetch_row(id);
            }
        }
    }
}

/// Lists what [`Rows::gather`] would touch, without reading a row.
pub(crate) fn touch(column: &Column, index: &[u32], pool: Pool, touches: &mut Touches) {
    let mut recorder = recorder(touches, column, index);
    for (position, &example) in (0..).zip(index) {
        let bag = Bag::of(column, example, pool);
        recorder.example(bag.share);
        bag.each(|row, weight| recorder.id(row, position, weight));
    }
}

/// For widths known to the compiler the sum stays in registers.
#[inline(always)]
fn gather_fixed<const DIM: usize>(
    rows: &(impl Rows + ?Sized),
    column: &Column,
    index: &[u32],
    pool: Pool,
    (out, place): (&mut [f32], Place),
    recorder: &mut Option<Recorder<'_>>,
) {
    for (position, &example) in index.iter().enumerate() {
        ask_ahead(rows, column, index, position);
        let bag = Bag::of(column, example, pool);
        recorder.iter_mut().for_each(|recorder| recorder.example(bag.share));
        let mut sum = [0f32; DIM];
        bag.each(
            #[inline(always)]
            |row, weight| {
                let values: &[f32; DIM] = rows.row(row).try_into().expect("a row has the table's width");
                for (sum, x) in sum.iter_mut().zip(values) {
                    *sum += weight * x;
                }
                if let Some(recorder) = recorder {
                    recorder.id(row, position as u32, weight);
                }
            },
        );
        for (out, sum) in out[place.start(position)..][..DIM].iter_mut().zip(sum) {
            *out = sum * bag.share;
        }
    }
}

#[inline(always)]
fn gather_any(
    rows: &(impl Rows + ?Sized),
    column: &Column,
    index: &[u32],
    pool: Pool,
    (out, place): (&mut [f32], Place),
    recorder: &mut Option<Recorder<'_>>,
) {
    for (position, &example) in index.iter().enumerate() {
        ask_ahead(rows, column, index, position);
        let bag = Bag::of(column, example, pool);
        recorder.iter_mut().for_each(|recorder| recorder.example(bag.share));
        let sum = &mut out[place.start(position)..][..rows.dim()];
        sum.fill(0.0);
        bag.each(
            #[inline(always)]
            |row, weight| {
                for (sum, x) in sum.iter_mut().zip(rows.row(row)) {
                    *sum += weight * x;
                }
                if let Some(recorder) = recorder {
                    recorder.id(row, position as u32, weight);
                }
            },
        );
        sum.iter_mut().for_each(|sum| *sum *= bag.share);
    }
}

/// Asks for rows while those before them are summed: the next bag, or the next few single ids.
#[inline(always)]
fn ask_ahead(rows: &(impl Rows + ?Sized), column: &Column, index: &[u32], position: usize) {
    let together = if matches!(column, Column::Id(_)) { 16 } else { 1 };
    if position.is_multiple_of(together) {
        let (start, count) = if position == 0 { (0, 2 * together) } else { (position + together, together) };
        for &example in index.get(start..).unwrap_or_default().iter().take(count) {
            rows.ask_for(ids_of(column, example));
        }
    }
}

/// A recorder with room for every id of the examples.
fn recorder<'t>(touches: &'t mut Touches, column: &Column, index: &[u32]) -> Recorder<'t> {
    let mut counts = [0; SHARDS];
    for &example in index {
        for &id in ids_of(column, example) {
            counts[id as usize % SHARDS] += 1;
        }
    }
    touches.recorder(counts, matches!(column, Column::Bag { weights: Some(_), .. }))
}

/// The ids of one example, pads included.
#[inline(always)]
pub(crate) fn ids_of(column: &Column, example: u32) -> &[u32] {
    match column {
        Column::Id(ids) => std::slice::from_ref(&ids[example as usize]),
        Column::Bag { spans, ids, .. } => &ids[spans.range(example as usize)],
        Column::Numeric(_) => panic!("a numeric column has no rows to gather"),
    }
}

/// The ids of one example and what they count.
struct Bag<'a> {
    ids: &'a [u32],
    weights: Option<&'a [f32]>,
    /// Factor of the weighted sum.
    share: f32,
}

impl<'a> Bag<'a> {
    #[inline(always)]
    fn of(column: &'a Column, example: u32, pool: Pool) -> Bag<'a> {
        let mut bag = Bag { ids: ids_of(column, example), weights: None, share: 1.0 };
        if let Column::Bag { spans, weights, .. } = column {
            bag.weights = weights.as_ref().map(|weights| &weights[spans.range(example as usize)]);
            if pool == Pool::Mean {
                bag.share = bag.mean_share();
            }
        }
        bag
    }

    /// One over the sum of weights. Where that is zero the ids count for nothing, and are left out.
    #[inline(always)]
    fn mean_share(&mut self) -> f32 {
        let sum: f32 = match self.weights {
            None => {
                let mut count = 0;
                for &id in self.ids {
                    count += u32::from(id != PAD);
                }
                count as f32
            }
            Some(weights) => self.ids.iter().zip(weights).filter(|(id, _)| **id != PAD).map(|(_, w)| w).sum(),
        };
        if sum == 0.0 {
            self.ids = &[];
            return 1.0;
        }
        1.0 / sum
    }

    /// Each row but the pad, with its weight.
    #[inline(always)]
    fn each(&self, mut visit: impl FnMut(u32, f32)) {
        // Loops, not iterator adapters: those may stay calls, which are compiled without wide instructions.
        match self.weights {
            None => {
                for &id in self.ids {
                    if id != PAD {
                        visit(id, 1.0);
                    }
                }
            }
            Some(weights) => {
                for (&id, &weight) in self.ids.iter().zip(weights) {
                    if id != PAD {
                        visit(id, weight);
                    }
                }
            }
        }
    }
}
