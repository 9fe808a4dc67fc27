//! One step of a recurrent cell, forward and backward, for many coordinates with weights of their own.
//!
//! What is multiplied here are tiny matrices, each coordinate's own: a matrix library has nothing to offer. Vectors
//! run over coordinates instead, and everything of a step happens in registers: gates, activations, state, output.
//! Each element is computed by the same operations wherever it lies, so results depend neither on the other rows nor on
//! the other lanes.
//!
//! The formulas ([`gru`], [`vanilla`], [`lstm`]) are written once, against [`lanes`]; this file cuts a step into
//! columns of a vector's width and these into tiles of a row or two.

#![allow(
    clippy::needless_range_loop,
    reason = "formulas have indices, and iterators may stay calls inside a SIMD dispatch"
)]

mod gru;
mod lanes;
mod lstm;
mod tile;
mod vanilla;
mod weights;

use super::dispatch;
use crate::Real;
use crate::cell::{Cell, CellKind, Step};
use lanes::{Lanes, One, Wide};
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;
use tile::{Rows, RowsMut, Tile};
use weights::{Gradients, Visit, Weights};

/// Hidden units that there may be at most: a coordinate's parameters lie on the stack while it is worked on.
pub(crate) const MOST_HIDDEN: usize = 16;

/// What a forward step writes: [`Cell::forward`].
pub struct Forward<'a, T> {
    pub(crate) after: &'a mut [T],
    pub(crate) y: &'a mut [T],
    pub(crate) kept: &'a mut [T],
}

/// What a backward step reads and writes: [`Cell::backward`].
pub struct Backward<'a, T> {
    pub(crate) kept: &'a [T],
    pub(crate) dy: &'a [T],
    pub(crate) d_after: &'a [T],
    pub(crate) d_before: &'a mut [T],
    pub(crate) d_params: &'a mut [T],
}

/// What a tile's forward pass writes; `kept` may be empty.
struct ForwardTile<'a, L: Lanes> {
    after: RowsMut<'a, L::Real>,
    y: RowsMut<'a, L::Real>,
    kept: RowsMut<'a, L::Real>,
}

/// What a tile's backward pass reads and writes; `d_before` may be empty.
struct BackwardTile<'a, L: Lanes> {
    kept: Rows<'a, L::Real>,
    dy: Rows<'a, L::Real>,
    d_after: Rows<'a, L::Real>,
    d_before: RowsMut<'a, L::Real>,
}

/// A kind of cell. `D` is the room for hidden units.
trait Formulas<const GATES: usize> {
    /// Whether its gates have biases.
    const BIAS: bool;

    fn forward<L: Lanes, const D: usize>(
        tile: &Tile<L, D>,
        weights: &Weights<L::Weight, D, GATES>,
        out: ForwardTile<L>,
    );
    fn backward<L: Lanes, const D: usize>(
        tile: &Tile<L, D>,
        weights: &Weights<L::Weight, D, GATES>,
        pass: BackwardTile<L>,
        gradients: &mut Gradients<L, D, GATES>,
    );
}

/// A vector of lanes over some rows.
#[derive(Clone, Copy)]
struct Column<L> {
    lanes: L,
    lane: usize,
    row: usize,
    tiles: usize,
}

/// Either direction.
trait Pass<T> {
    fn column<F: Formulas<GATES>, L: Lanes<Real = T>, const D: usize, const GATES: usize>(
        &mut self,
        cell: Cell,
        step: &Step<T>,
        column: Column<L>,
    );
}

impl<T: Copy> Pass<T> for Forward<'_, T> {
    #[inline(always)]
    fn column<F: Formulas<GATES>, L: Lanes<Real = T>, const D: usize, const GATES: usize>(
        &mut self,
        cell: Cell,
        step: &Step<T>,
        column: Column<L>,
    ) {
        let weights = column.weights::<F, D, GATES>(cell, step.lanes, step.params);
        for t in 0..column.tiles {
            let at = column.tile(t);
            let out = ForwardTile {
                after: RowsMut::new(self.after, cell.state(), step.lanes, at),
                y: RowsMut::new(self.y, 1, step.lanes, at),
                kept: RowsMut::new(self.kept, cell.kept(), step.lanes, at),
            };
            F::forward(&column.reads(cell, step, at), &weights, out);
        }
    }
}

impl<T: Copy> Pass<T> for Backward<'_, T> {
    #[inline(always)]
    fn column<F: Formulas<GATES>, L: Lanes<Real = T>, const D: usize, const GATES: usize>(
        &mut self,
        cell: Cell,
        step: &Step<T>,
        column: Column<L>,
    ) {
        let weights = column.weights::<F, D, GATES>(cell, step.lanes, step.params);
        let sums = column.weights::<F, D, GATES>(cell, step.lanes, self.d_params);
        let of_features = &mut self.d_params[column.lane..];
        let mut gradients = Gradients { sums, of_features, stride: step.lanes };
        for t in 0..column.tiles {
            let at = column.tile(t);
            let pass = BackwardTile {
                kept: Rows::new(self.kept, cell.kept(), step.lanes, at),
                dy: Rows::new(self.dy, 1, step.lanes, at),
                d_after: Rows::new(self.d_after, cell.state(), step.lanes, at),
                d_before: RowsMut::new(self.d_before, cell.state(), step.lanes, at),
            };
            F::backward(&column.reads(cell, step, at), &weights, pass, &mut gradients);
        }
        let Gradients { mut sums, of_features, stride } = gradients;
        let mut storing = Storing { lanes: column.lanes, to: of_features, stride };
        sums.visit(cell.inputs, cell.hidden, F::BIAS, &mut storing);
    }
}

impl<L: Lanes> Column<L> {
    /// Row and lane of a tile.
    #[inline(always)]
    fn tile(&self, number: usize) -> [usize; 2] {
        [self.row + number * L::ROWS, self.lane]
    }

    #[inline(always)]
    fn reads<'a, const D: usize>(&self, cell: Cell, step: &Step<'a, L::Real>, at: [usize; 2]) -> Tile<'a, L, D> {
        Tile {
            lanes: self.lanes,
            inputs: cell.inputs,
            hidden: cell.hidden,
            x: Rows::new(step.x, cell.inputs, step.lanes, at),
            before: Rows::new(step.before, cell.state(), step.lanes, at),
            params: &step.params[self.lane..],
        }
    }

    /// This column of `[params, lanes]`.
    #[inline(always)]
    fn weights<F: Formulas<GATES>, const D: usize, const GATES: usize>(
        &self,
        cell: Cell,
        stride: usize,
        params: &[L::Real],
    ) -> Weights<L::Weight, D, GATES> {
        let mut weights = Weights::new(self.lanes.zero_weight());
        let mut loading = Loading { lanes: self.lanes, from: &params[self.lane..], stride };
        weights.visit(cell.inputs, cell.hidden, F::BIAS, &mut loading);
        weights
    }
}

struct Loading<'a, L: Lanes> {
    lanes: L,
    from: &'a [L::Real],
    stride: usize,
}

impl<L: Lanes> Visit<L::Weight> for Loading<'_, L> {
    #[inline(always)]
    fn visit(&mut self, param: usize, weight: &mut L::Weight) {
        *weight = self.lanes.load_weight(&self.from[param * self.stride..]);
    }
}

struct Storing<'a, L: Lanes> {
    lanes: L,
    to: &'a mut [L::Real],
    stride: usize,
}

impl<L: Lanes> Visit<L::Weight> for Storing<'_, L> {
    #[inline(always)]
    fn visit(&mut self, param: usize, weight: &mut L::Weight) {
        self.lanes.store_weight(&mut self.to[param * self.stride..], *weight);
    }
}

/// A forward step, coordinate by coordinate.
pub(crate) fn plain_forward<T: Real>(cell: Cell, step: &Step<T>, forward: Forward<T>) {
    plain(cell, step, forward);
}

/// A backward step, coordinate by coordinate.
pub(crate) fn plain_backward<T: Real>(cell: Cell, step: &Step<T>, backward: Backward<T>) {
    plain(cell, step, backward);
}

fn plain<T: Real>(cell: Cell, step: &Step<T>, pass: impl Pass<T>) {
    match cell.kind {
        CellKind::Gru => plain_of::<gru::Gru, T, _, 3>(cell, step, pass),
        CellKind::Vanilla => plain_of::<vanilla::Vanilla, T, _, 1>(cell, step, pass),
        CellKind::Lstm => plain_of::<lstm::Lstm, T, _, 4>(cell, step, pass),
    }
}

fn plain_of<F: Formulas<GATES>, T: Real, P: Pass<T>, const GATES: usize>(cell: Cell, step: &Step<T>, mut pass: P) {
    for lane in 0..step.lanes {
        let column = Column { lanes: One(PhantomData), lane, row: 0, tiles: cell.rows(step) };
        match cell.hidden {
            ..=4 => pass.column::<F, _, 4, GATES>(cell, step, column),
            _ => pass.column::<F, _, MOST_HIDDEN, GATES>(cell, step, column),
        }
    }
}

/// [`plain_forward`] in SIMD.
pub(crate) fn simd_forward(cell: Cell, step: &Step<f32>, forward: Forward<f32>) {
    simd(cell, step, forward);
}

/// [`plain_backward`] in SIMD.
pub(crate) fn simd_backward(cell: Cell, step: &Step<f32>, backward: Backward<f32>) {
    simd(cell, step, backward);
}

fn simd(cell: Cell, step: &Step<f32>, pass: impl Pass<f32>) {
    match cell.kind {
        CellKind::Gru => simd_of::<gru::Gru, _, 3>(cell, step, pass),
        CellKind::Vanilla => simd_of::<vanilla::Vanilla, _, 1>(cell, step, pass),
        CellKind::Lstm => simd_of::<lstm::Lstm, _, 4>(cell, step, pass),
    }
}

/// The sizes that are used most have code of their own, the others are padded.
fn simd_of<F: Formulas<GATES>, P: Pass<f32>, const GATES: usize>(cell: Cell, step: &Step<f32>, pass: P) {
    match cell.hidden {
        1 => dispatch(Columns::<F, P, 1, GATES, true>::new(cell, step, pass)),
        2 => dispatch(Columns::<F, P, 2, GATES, true>::new(cell, step, pass)),
        4 => dispatch(Columns::<F, P, 4, GATES, true>::new(cell, step, pass)),
        8 => dispatch(Columns::<F, P, 8, GATES, true>::new(cell, step, pass)),
        ..8 => dispatch(Columns::<F, P, 8, GATES, false>::new(cell, step, pass)),
        _ => dispatch(Columns::<F, P, MOST_HIDDEN, GATES, false>::new(cell, step, pass)),
    }
}

/// Rows that all columns go through before the next ones are begun: what vectors side by side read of a row lies in
/// one line of cache.
const BLOCK: usize = 64;

/// All columns of a pass. There are exactly `D` hidden units, or at most so many if not `EXACT`.
struct Columns<'a, F, P, const D: usize, const GATES: usize, const EXACT: bool> {
    cell: Cell,
    step: &'a Step<'a, f32>,
    pass: P,
    formulas: PhantomData<F>,
}

impl<'a, F: Formulas<GATES>, P: Pass<f32>, const D: usize, const GATES: usize, const EXACT: bool>
    Columns<'a, F, P, D, GATES, EXACT>
{
    /// Two rows at a time: more of larger cells would not fit into registers.
    const PAIRS: bool = EXACT && D <= 4;

    fn new(cell: Cell, step: &'a Step<'a, f32>, pass: P) -> Self {
        Columns { cell, step, pass, formulas: PhantomData }
    }

    #[inline(always)]
    fn column<L: Lanes<Real = f32>>(&mut self, lanes: L, lane: usize, row: usize, tiles: usize) {
        let cell = Cell { hidden: if EXACT { D } else { self.cell.hidden }, ..self.cell };
        self.pass.column::<F, L, D, GATES>(cell, self.step, Column { lanes, lane, row, tiles });
    }

    /// A full vector over some rows.
    #[inline(always)]
    fn full<S: Simd>(&mut self, simd: S, lane: usize, row: usize, rows: usize) {
        if Self::PAIRS && S::F32_LANES > 1 {
            if rows >= 2 {
                self.column(Wide::<S, 2, true> { simd, width: S::F32_LANES }, lane, row, rows / 2);
            }
            if rows % 2 == 1 {
                // A single tile, for the compiler to see: parameters then need not be kept for another one.
                self.column(Wide::<S, 1, true> { simd, width: S::F32_LANES }, lane, row + rows - 1, 1);
            }
        } else {
            self.column(Wide::<S, 1, true> { simd, width: S::F32_LANES }, lane, row, rows);
        }
    }
}

impl<F: Formulas<GATES>, P: Pass<f32>, const D: usize, const GATES: usize, const EXACT: bool> WithSimd
    for Columns<'_, F, P, D, GATES, EXACT>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (lanes, rows) = (self.step.lanes, self.cell.rows(self.step));
        let whole = lanes - lanes % S::F32_LANES;
        let mut row = 0;
        while row < rows {
            let block = BLOCK.min(rows - row);
            let mut lane = 0;
            while lane < whole {
                self.full(simd, lane, row, block);
                lane += S::F32_LANES;
            }
            if whole < lanes {
                self.column(Wide::<S, 1, false> { simd, width: lanes - whole }, whole, row, block);
            }
            row += block;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::{assert_close, noise, on_every_set, wide};

    const KINDS: [CellKind; 3] = [CellKind::Gru, CellKind::Vanilla, CellKind::Lstm];

    /// Random arguments of a step in both directions.
    struct Case {
        cell: Cell,
        rows: usize,
        lanes: usize,
        params: Vec<f32>,
        x: Vec<f32>,
        before: Vec<f32>,
        kept: Vec<f32>,
        dy: Vec<f32>,
        d_after: Vec<f32>,
        d_params: Vec<f32>,
    }

    impl Case {
        fn new(kind: CellKind, [rows, lanes]: [usize; 2], [inputs, hidden]: [usize; 2]) -> Case {
            let cell = Cell { kind, inputs, hidden };
            let numbers = |n: usize, scale: f32, seed| {
                noise(n * lanes, seed).into_iter().map(|x| x * scale).collect::<Vec<f32>>()
            };
            // Sums of about the same size whatever the number of units is.
            let weight = 1.0 / (hidden as f32).sqrt();
            Case {
                cell,
                rows,
                lanes,
                params: numbers(cell.params(), weight.min(0.5), 1),
                x: numbers(rows * inputs, 0.5, 2),
                before: numbers(rows * cell.state(), 0.25, 3),
                kept: numbers(rows * cell.kept(), 0.25, 4),
                dy: numbers(rows, 0.25, 5),
                d_after: numbers(rows * cell.state(), 0.25, 6),
                d_params: numbers(cell.params(), 1.0, 7),
            }
        }

        fn sizes(&self) -> [usize; 3] {
            [self.cell.state(), 1, self.cell.kept()].map(|n| n * self.rows * self.lanes)
        }

        /// `after`, `y` and `kept`.
        fn forward<T: Real>(&self, real: impl Fn(&[f32]) -> Vec<T>) -> [Vec<T>; 3] {
            let [mut after, mut y, mut kept] = self.sizes().map(|n| vec![T::ONE; n]);
            let (params, x, before) = (real(&self.params), real(&self.x), real(&self.before));
            let step = Step { lanes: self.lanes, params: &params, x: &x, before: &before };
            self.cell.forward(&step, &mut after, &mut y, &mut kept);
            [after, y, kept]
        }

        /// `d_before` and `d_params`.
        fn backward<T: Real>(&self, real: impl Fn(&[f32]) -> Vec<T>, wanted: bool) -> [Vec<T>; 2] {
            let mut d_before = vec![T::ONE; if wanted { self.sizes()[0] } else { 0 }];
            let mut d_params = real(&self.d_params);
            let (params, x, before) = (real(&self.params), real(&self.x), real(&self.before));
            let step = Step { lanes: self.lanes, params: &params, x: &x, before: &before };
            let (kept, dy, d_after) = (real(&self.kept), real(&self.dy), real(&self.d_after));
            self.cell.backward(&step, &kept, &dy, &d_after, &mut d_before, &mut d_params);
            [d_before, d_params]
        }

        /// The same arguments of some rows only, from zero gradients on.
        fn part(&self, rows: std::ops::Range<usize>) -> Case {
            let cut = |x: &[f32]| {
                let row = x.len() / self.rows;
                x[row * rows.start..row * rows.end].to_vec()
            };
            let [x, before, kept] = [&self.x, &self.before, &self.kept].map(|x| cut(x));
            let (dy, d_after) = (cut(&self.dy), cut(&self.d_after));
            let (params, d_params) = (self.params.clone(), self.d_params.clone());
            Case { rows: rows.len(), params, x, before, kept, dy, d_after, d_params, ..*self }
        }
    }

    fn check(kind: CellKind, shape: [usize; 2], sizes: [usize; 2]) {
        let case = Case::new(kind, shape, sizes);
        let name = |what| format!("{what} of {kind:?}, [rows, lanes] = {shape:?}, [inputs, hidden] = {sizes:?}");
        let (got, expected) = (case.forward(<[f32]>::to_vec), case.forward(wide));
        for (what, (got, expected)) in ["after", "y", "kept"].into_iter().zip(got.iter().zip(&expected)) {
            assert_close(got, expected, 3e-6, &name(what));
        }
        let (got, expected) = (case.backward(<[f32]>::to_vec, true), case.backward(wide, true));
        for (what, (got, expected)) in ["d_before", "d_params"].into_iter().zip(got.iter().zip(&expected)) {
            assert_close(got, expected, 1e-5, &name(what));
        }
        let [none, d_params] = case.backward(<[f32]>::to_vec, false);
        assert!(none.is_empty() && d_params == got[1], "{}", name("d_params without d_before"));
    }

    /// Every specialised size and the others, full vectors and tails, blocks of rows and single rows.
    #[test]
    fn fast_equals_plain() {
        on_every_set(|| {
            for kind in KINDS {
                for shape in [[1, 1], [1, 64], [2, 8], [5, 8], [3, 5], [4, 21], [7, 32], [0, 8], [3, 0]] {
                    for sizes in [[1, 1], [1, 2], [1, 3], [1, 4], [3, 4], [1, 8], [3, 7], [2, 9]] {
                        check(kind, shape, sizes);
                    }
                }
            }
        });
    }

    #[test]
    fn rows_and_lanes_do_not_depend_on_each_other() {
        on_every_set(|| {
            for kind in KINDS {
                let case = Case::new(kind, [5, 19], [1, 4]);
                let [after, y, kept] = case.forward(<[f32]>::to_vec);
                let [d_before, _] = case.backward(<[f32]>::to_vec, true);
                let parts: Vec<Case> = [0..1, 1..3, 3..5].map(|rows| case.part(rows)).into();
                let forward: Vec<_> = parts.iter().map(|part| part.forward(<[f32]>::to_vec)).collect();
                for (i, whole) in [after, y, kept].iter().enumerate() {
                    assert_eq!(*whole, forward.iter().flat_map(|part| part[i].clone()).collect::<Vec<_>>());
                }
                let backward = parts.iter().flat_map(|part| part.backward(<[f32]>::to_vec, true)[0].clone());
                assert_eq!(d_before, backward.collect::<Vec<_>>());
            }
        });
    }

    /// Rows that are cut anywhere give the gradient of all of them, since each is added in turn.
    #[test]
    fn gradients_are_summed_row_after_row() {
        on_every_set(|| {
            for kind in KINDS {
                let case = Case::new(kind, [5, 19], [1, 4]);
                let [_, whole] = case.backward(<[f32]>::to_vec, true);
                let mut sum = case.d_params.clone();
                for rows in [0..1, 1..4, 4..5] {
                    let part = Case { d_params: sum, ..case.part(rows) };
                    [_, sum] = part.backward(<[f32]>::to_vec, true);
                }
                assert_eq!(sum, whole, "{kind:?}");
            }
        });
    }

    #[test]
    fn nan_spreads_within_its_coordinate_only() {
        on_every_set(|| {
            for kind in KINDS {
                let (lanes, at) = (17, 17 + 16);
                let mut case = Case::new(kind, [3, lanes], [1, 4]);
                let whole = case.forward(<[f32]>::to_vec);
                case.x[at] = f32::NAN;
                let broken = case.forward(<[f32]>::to_vec);
                for (whole, broken) in whole.iter().zip(&broken) {
                    let row = broken.len() / 3;
                    for (i, (whole, broken)) in whole.iter().zip(broken).enumerate() {
                        let reached = i / row == 1 && i % lanes == 16;
                        assert!(if reached { broken.is_nan() } else { whole == broken }, "{kind:?}, {i}");
                    }
                }
                case.dy[at] = f32::NAN;
                let [d_before, d_params] = case.backward(<[f32]>::to_vec, true);
                assert!(d_params[16..].iter().step_by(lanes).all(|d| d.is_nan()), "{kind:?}");
                assert_eq!(d_params.iter().filter(|d| d.is_nan()).count(), case.cell.params());
                assert_eq!(d_before.iter().filter(|d| d.is_nan()).count(), case.cell.state());
            }
        });
    }
}
