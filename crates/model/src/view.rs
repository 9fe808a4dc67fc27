//! What a backbone may ask of its parameters.

use crate::{DenseId, Params, TableId, Values};
use perennial_core::Column;
use perennial_nn::{Real, Tape, Var};
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

/// A provider of parameters for one batch. Plain here; generated, masked and adapted views are other implementers,
/// and a backbone cannot tell them apart.
pub trait ParamView<T: Real> {
    /// A dense tensor `[rows, cols]`.
    fn dense(&mut self, tape: &mut Tape<T>, id: DenseId) -> Var;

    /// Inputs side by side, `[batch, sum of widths]`: a table's dim for rows, one for a number.
    fn embed(&mut self, tape: &mut Tape<T>, lookups: &[Lookup]) -> Var;
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
    /// Leaves want gradients; rows touched are recorded.
    Training,
    /// Neither; dense tensors are taken from here, by [`DenseId`], where they are already on the tape.
    Scoring(&'a [Var]),
}

/// Where gradients of rows are to be found after the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct Use {
    /// Table that was looked up.
    pub table: TableId,
    /// The embedded input `[batch, stride]`.
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
}

impl ViewBuffers {
    fn clear(&mut self) {
        self.dense.clear();
        self.uses.clear();
    }
}

impl<'a, V: Values> PlainView<'a, V> {
    /// A view whose leaves want gradients and which records the rows it touches.
    pub fn training(
        values: &'a V,
        columns: &'a [Column],
        index: &'a [u32],
        buffers: &'a mut ViewBuffers,
    ) -> PlainView<'a, V> {
        buffers.clear();
        PlainView { values, columns, index, buffers, purpose: Purpose::Training }
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

    fn width(&self, lookup: &Lookup) -> usize {
        match lookup {
            Lookup::Rows { table, .. } => self.values.dim(*table),
            Lookup::Number { .. } => 1,
        }
    }

    fn is_training(&self) -> bool {
        matches!(self.purpose, Purpose::Training)
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
            Purpose::Training => {
                let var = tape.leaf_of(rows, cols, values);
                self.buffers.dense.push((id, var));
                var
            }
        }
    }

    fn embed(&mut self, tape: &mut Tape<f32>, lookups: &[Lookup]) -> Var {
        let stride: usize = lookups.iter().map(|lookup| self.width(lookup)).sum();
        let first = self.buffers.uses.len();
        // Taken out while the view itself is read; put back below.
        let mut touches = std::mem::take(&mut self.buffers.touches);
        if touches.len() < first + lookups.len() {
            touches.resize_with(first + lookups.len(), Touches::default);
        }
        let fill = |out: &mut [f32]| self.fill(lookups, &mut touches[first..], out, stride);
        let var = match self.is_training() {
            true => tape.leaf(self.index.len(), stride, fill),
            false => tape.constant(self.index.len(), stride, fill),
        };
        self.buffers.touches = touches;
        self.record_uses(lookups, var, stride);
        var
    }
}
