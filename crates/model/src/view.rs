//! What a backbone may ask of its parameters.

use crate::sequence::{Entries, Sequence};
use crate::{DenseId, Params, StatisticId, TableId, Values};
use perennial_core::Column;
use perennial_nn::{Groups, Real, Tape, Var};
use perennial_table::{Place, Pool, Touches};

/// One block of columns of an embedded input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The pooled rows of a feature.
    Rows {
        /// Table.
        table: TableId,
        /// Position of the feature among the batch's columns.
        feature: usize,
        /// How several rows become one.
        pool: Pool,
    },
    /// A number as it is, one column wide.
    Number {
        /// Position of the feature among the batch's columns.
        feature: usize,
    },
}

/// A place inside a backbone that others may watch, or add to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tap {
    /// The values `[batch, width]` of a tower's hidden layer, counted from 0.
    Hidden(usize),
    /// What the last linear map reads, `[batch, width]`.
    LastHidden,
    /// The logits `[batch, 1]` of a part that is trained by a loss of its own.
    BranchLogits,
}

/// What makes a pass in training differ from one in scoring.
#[derive(Debug, Clone, Copy)]
pub struct Noise<'a> {
    /// Key of the random choices of this step.
    pub key: u64,
    /// Name of each example of the batch.
    pub rows: &'a [u32],
}

/// A provider of parameters for one batch. Plain here; generated, masked and adapted views are other implementers,
/// and a backbone cannot tell them apart.
pub trait ParamView<T: Real> {
    /// A dense tensor `[rows, cols]`.
    fn dense(&mut self, tape: &mut Tape<T>, id: DenseId) -> Var;

    /// Inputs side by side, `[batch, sum of widths]`: a table's dim for rows, one for a number.
    fn embed(&mut self, tape: &mut Tape<T>, lookups: &[Lookup]) -> Var;

    /// Histories entry by entry, `[entries, sum of widths]`, and how many of them are each example's.
    fn sequence(&mut self, tape: &mut Tape<T>, sequence: &Sequence) -> (Var, Groups);

    /// A running statistic, `[1, cols]`, without a gradient.
    fn statistic(&mut self, tape: &mut Tape<T>, id: StatisticId) -> Var;

    /// `None` where layers shall behave as in scoring: nothing is dropped, and running statistics are gone by. Else
    /// layers drop, and go by the statistics of their batch, which they report to [`ParamView::observe`].
    fn noise(&self) -> Option<Noise<'_>>;

    /// Reports what a layer saw of a running statistic, `[1, cols]`, over so many rows.
    fn observe(&mut self, id: StatisticId, seen: Var, rows: usize);

    /// Called by a backbone at each [`Tap`] that it has, with the matrix there; the backbone goes on with what is
    /// returned, which must have the same shape.
    fn tap(&mut self, _tape: &mut Tape<T>, _tap: Tap, var: Var) -> Var {
        var
    }
}

/// Copies all dense tensors to the tape, where [`PlainView::scoring`] finds them by [`DenseId`].
pub(crate) fn place_dense(params: &Params, tape: &mut Tape<f32>) -> Vec<Var> {
    params.dense.iter().map(|dense| tape.constant_of(dense.rows, dense.cols, &dense.values)).collect()
}

/// Values as they are, over the examples `index` of `columns`. Gradients end here: what the values were made of, if
/// anything, is the caller's business.
pub struct PlainView<'a, V> {
    values: &'a V,
    columns: &'a [Column],
    index: &'a [u32],
    buffers: &'a mut ViewBuffers,
    purpose: Purpose<'a>,
}

/// What a pass is for.
enum Purpose<'a> {
    /// Leaves want gradients; rows touched are recorded. Random choices are keyed by this, if anything.
    Training(Option<u64>),
    /// Neither; dense tensors are taken from here, by [`DenseId`], where they are already on the tape.
    Scoring(&'a [Var]),
}

/// Where gradients of rows are to be found after the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct Use {
    /// Table that was looked up.
    pub table: TableId,
    /// The embedded input `[batch, stride]`, or entries of histories `[entries, stride]`.
    pub var: Var,
    /// This table's block of columns.
    pub place: Place,
}

/// What a view remembers of a forward pass, reused from step to step.
#[derive(Debug, Default)]
pub struct ViewBuffers {
    /// Dense leaves in order of use.
    pub dense: Vec<(DenseId, Var)>,
    /// Table lookups in order of use.
    pub uses: Vec<Use>,
    /// Rows touched by each of `uses`; may be longer than it.
    pub touches: Vec<Touches>,
    /// Taps in order of use.
    pub taps: Vec<(Tap, Var)>,
    /// What layers saw of running statistics, and over how many rows.
    pub seen: Vec<(StatisticId, Var, usize)>,
    entries: Entries,
}

impl ViewBuffers {
    fn clear(&mut self) {
        self.dense.clear();
        self.uses.clear();
        self.taps.clear();
        self.seen.clear();
    }
}

impl<'a, V: Values> PlainView<'a, V> {
    /// A view whose leaves want gradients and which records the rows it touches. `noise` is the key of a training
    /// step's random choices; without one, layers behave as in scoring.
    pub fn training(
        values: &'a V,
        columns: &'a [Column],
        index: &'a [u32],
        noise: Option<u64>,
        buffers: &'a mut ViewBuffers,
    ) -> PlainView<'a, V> {
        buffers.clear();
        PlainView { values, columns, index, buffers, purpose: Purpose::Training(noise) }
    }

    /// A view for scoring only. `placed` are the dense tensors, by [`DenseId`], that the tape already holds; see
    /// [`place_dense`]. The others are copied to the tape when they are asked for.
    pub fn scoring(
        values: &'a V,
        columns: &'a [Column],
        index: &'a [u32],
        buffers: &'a mut ViewBuffers,
        placed: &'a [Var],
    ) -> PlainView<'a, V> {
        buffers.clear();
        PlainView { values, columns, index, buffers, purpose: Purpose::Scoring(placed) }
    }

    /// The lists of touches, with room for so many more; taken out while the view itself is read.
    fn take_touches(&mut self, more: usize) -> Vec<Touches> {
        let mut touches = std::mem::take(&mut self.buffers.touches);
        let needed = self.buffers.uses.len() + more;
        if touches.len() < needed {
            touches.resize_with(needed, Touches::default);
        }
        touches
    }

    fn width(&self, lookup: &Lookup) -> usize {
        match lookup {
            Lookup::Rows { table, .. } => self.values.dim(*table),
            Lookup::Number { .. } => 1,
        }
    }

    fn is_training(&self) -> bool {
        matches!(self.purpose, Purpose::Training(_))
    }

    fn leaf(&self, tape: &mut Tape<f32>, rows: usize, cols: usize, fill: impl FnOnce(&mut [f32])) -> Var {
        match self.is_training() {
            true => tape.leaf(rows, cols, fill),
            false => tape.constant(rows, cols, fill),
        }
    }

    /// Fills the blocks of an embedded input, whose first lookup of rows records its touches in `touches[0]`.
    fn fill(&self, lookups: &[Lookup], touches: &mut [Touches], out: &mut [f32], stride: usize) {
        let (mut offset, mut touches) = (0, touches.iter_mut());
        for lookup in lookups {
            match *lookup {
                Lookup::Number { feature } => self.fill_number(feature, out, stride, offset),
                Lookup::Rows { table, feature, pool } => {
                    let record = if self.is_training() { touches.next() } else { None };
                    let column = &self.columns[feature];
                    self.values.gather(table, column, self.index, pool, out, Place { stride, offset }, record);
                }
            }
            offset += self.width(lookup);
        }
    }

    fn fill_number(&self, feature: usize, out: &mut [f32], stride: usize, offset: usize) {
        let Column::Numeric(numbers) = &self.columns[feature] else {
            panic!("feature {feature} was declared as a number")
        };
        for (row, &example) in out.chunks_exact_mut(stride).zip(self.index) {
            row[offset] = numbers[example as usize];
        }
    }

    /// Records where gradients of the rows of an embedded input will be found.
    fn record_uses(&mut self, lookups: &[Lookup], var: Var, stride: usize) {
        let mut offset = 0;
        for lookup in lookups {
            if let Lookup::Rows { table, .. } = *lookup {
                self.buffers.uses.push(Use { table, var, place: Place { stride, offset } });
            }
            offset += self.width(lookup);
        }
    }
}

impl<V: Values> ParamView<f32> for PlainView<'_, V> {
    fn dense(&mut self, tape: &mut Tape<f32>, id: DenseId) -> Var {
        let ([rows, cols], values) = self.values.dense(id);
        match self.purpose {
            Purpose::Scoring(placed) => {
                placed.get(id.0).copied().unwrap_or_else(|| tape.constant_of(rows, cols, values))
            }
            Purpose::Training(_) => {
                let var = tape.leaf_of(rows, cols, values);
                self.buffers.dense.push((id, var));
                var
            }
        }
    }

    fn embed(&mut self, tape: &mut Tape<f32>, lookups: &[Lookup]) -> Var {
        let stride: usize = lookups.iter().map(|lookup| self.width(lookup)).sum();
        let first = self.buffers.uses.len();
        let mut touches = self.take_touches(lookups.len());
        let var = self.leaf(tape, self.index.len(), stride, |out| {
            self.fill(lookups, &mut touches[first..], out, stride);
        });
        self.buffers.touches = touches;
        self.record_uses(lookups, var, stride);
        var
    }

    fn sequence(&mut self, tape: &mut Tape<f32>, sequence: &Sequence) -> (Var, Groups) {
        let mut entries = std::mem::take(&mut self.buffers.entries);
        entries.select(sequence, self.columns, self.index);
        let groups = tape.groups(entries.lengths().iter().copied());
        let stride = sequence.parts.iter().map(|(table, _)| self.values.dim(*table)).sum();
        let mut touches = self.take_touches(sequence.parts.len());
        let mut touched = touches[self.buffers.uses.len()..].iter_mut();
        let var = self.leaf(tape, entries.len(), stride, |out| {
            let mut offset = 0;
            for &(table, feature) in &sequence.parts {
                let record = if self.is_training() { touched.next() } else { None };
                entries.with_ids(&self.columns[feature], |ids, positions| {
                    self.values.gather(table, ids, positions, Pool::Sum, out, Place { stride, offset }, record);
                });
                offset += self.values.dim(table);
            }
        });
        self.buffers.touches = touches;
        self.buffers.entries = entries;
        let mut offset = 0;
        for &(table, _) in &sequence.parts {
            self.buffers.uses.push(Use { table, var, place: Place { stride, offset } });
            offset += self.values.dim(table);
        }
        (var, groups)
    }

    fn statistic(&mut self, tape: &mut Tape<f32>, id: StatisticId) -> Var {
        let values = self.values.statistic(id);
        tape.constant(1, values.len(), |out| out.copy_from_slice(values))
    }

    fn noise(&self) -> Option<Noise<'_>> {
        match self.purpose {
            Purpose::Training(noise) => noise.map(|key| Noise { key, rows: self.index }),
            Purpose::Scoring(_) => None,
        }
    }

    fn observe(&mut self, id: StatisticId, seen: Var, rows: usize) {
        self.buffers.seen.push((id, seen, rows));
    }

    fn tap(&mut self, _tape: &mut Tape<f32>, tap: Tap, var: Var) -> Var {
        self.buffers.taps.push((tap, var));
        var
    }
}
