//! One step of a recurrent cell, forward and backward, for many coordinates with weights of their own.
//!
//! What is multiplied here are tiny matrices, each coordinate's own: a matrix library has nothing to offer. Vectors
//! run over coordinates instead, and everything of a step happens at once: gates, activations, state, output. Each
//! element is computed by the same operations wherever it lies, so results depend neither on the other rows nor on the
//! other lanes.
//!
//! The formulas ([`gru`], [`vanilla`], [`lstm`]) are written once, against [`lanes`], for one row of one vector of
//! coordinates: a [`tile`]. This file cuts a step into tiles. Where rows are exactly a vector or [`CHUNK`] lanes, tiles
//! are worked on where they lie; all others, and sizes that have no code of their own, are copied to and fro.

#![allow(
    clippy::needless_range_loop,
    reason = "formulas have indices, and iterators may stay calls inside a SIMD dispatch"
)]

mod gru;
mod lanes;
mod lstm;
mod tile;
mod vanilla;

use super::dispatch;
use crate::Real;
use crate::cell::{CHUNK, Cell, CellKind, Step};
use lanes::{Lanes, One, Wide};
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;
use tile::{BackwardTile, ForwardTile, Further, Gate, Place, Strided, Tile};

/// Hidden units that there may be at most, since parameters lie on the stack while they are worked on.
pub(crate) const MOST_HIDDEN: usize = 16;
/// Inputs that there may be at most.
pub(crate) const MOST_INPUTS: usize = 16;

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

/// A kind of cell. `D` is the number of hidden units, padding included.
trait Formulas {
    const GATES: usize;
    /// Whether gates have biases.
    const BIAS: bool;
    /// Numbers of state for each hidden unit.
    const STATE: usize;
    /// Numbers kept for each hidden unit.
    const KEPT: usize;

    fn forward<L: Lanes, const D: usize>(tile: &Tile<L, D>, out: ForwardTile<L>);
    fn backward<L: Lanes, const D: usize>(tile: &Tile<L, D>, pass: BackwardTile<L>);
}

/// Parameters of a cell of one input and `d` hidden units: what a tile reads.
const fn params_of<F: Formulas>(d: usize) -> usize {
    F::GATES * Gate::size(d, F::BIAS) + d + 1
}

/// Dispatches to one of the sizes that have code of their own; others are padded.
macro_rules! sized {
    ($formulas:ty, $cell:expr, $step:expr, $pass:expr) => {
        match $cell.hidden {
            ..=4 => sized!($formulas, $cell, $step, $pass, 4),
            5..=8 => sized!($formulas, $cell, $step, $pass, 8),
            _ => sized!($formulas, $cell, $step, $pass, MOST_HIDDEN),
        }
    };
    ($formulas:ty, $cell:expr, $step:expr, $pass:expr, $hidden:expr) => {
        dispatch(Columns::<$formulas, _, { $hidden }, { params_of::<$formulas>($hidden) }> {
            cell: $cell,
            step: $step,
            pass: $pass,
            formulas: PhantomData,
        })
    };
}

/// A vector of lanes of a step.
#[derive(Clone, Copy)]
struct Column<L> {
    lanes: L,
    at: Place,
    /// Nothing is padded and all lanes of the step are vectors: tiles are worked on where they lie.
    direct: bool,
    /// Vectors from an element to the next, if `direct`; else 1.
    stride: usize,
    /// Which of these is the column.
    first: usize,
}

/// How rows of an array are made up: `[rows, parts, units, lanes]`.
#[derive(Clone, Copy)]
struct Row {
    parts: usize,
    units: usize,
}

/// One number a row.
const SINGLE: Row = Row { parts: 1, units: 1 };

impl<L: Lanes> Column<L> {
    #[inline(always)]
    fn units(&self, parts: usize) -> Row {
        Row { parts, units: self.at.hidden }
    }

    #[inline(always)]
    fn inputs(&self) -> Row {
        Row { parts: self.at.inputs, units: 1 }
    }

    /// A row in place, or copied to `copy [parts, D]`.
    #[inline(always)]
    fn read<'a, const D: usize>(
        &self,
        all: &'a [L::Real],
        Row { parts, units }: Row,
        row: usize,
        copy: &'a mut [[L::Vector; D]],
    ) -> Strided<&'a [L::Vector]> {
        if self.direct {
            let size = parts * D * self.stride;
            return self.strided(&L::vectors(all)[row * size..][..size]);
        }
        for part in 0..parts {
            for j in 0..units {
                copy[part][j] = self.lanes.load(self.at.of(all, (row * parts + part) * units + j));
            }
        }
        self.strided(&copy.as_flattened()[..parts * D])
    }

    /// Where a row is to be written; nothing of nothing.
    #[inline(always)]
    fn write<'a, const D: usize>(
        &self,
        all: &'a mut [L::Real],
        Row { parts, .. }: Row,
        row: usize,
        copy: &'a mut [[L::Vector; D]],
    ) -> Strided<&'a mut [L::Vector]> {
        if all.is_empty() {
            self.strided(&mut [])
        } else if self.direct {
            let size = parts * D * self.stride;
            self.strided(&mut L::vectors_mut(all)[row * size..][..size])
        } else {
            self.strided(&mut copy.as_flattened_mut()[..parts * D])
        }
    }

    /// Brings back what was written to a copy.
    #[inline(always)]
    fn finish<const D: usize>(
        &self,
        all: &mut [L::Real],
        Row { parts, units }: Row,
        row: usize,
        copy: &[[L::Vector; D]],
    ) {
        if self.direct || all.is_empty() {
            return;
        }
        for part in 0..parts {
            for j in 0..units {
                self.lanes.store(self.at.of_mut(all, (row * parts + part) * units + j), copy[part][j]);
            }
        }
    }

    #[inline(always)]
    fn strided<T>(&self, all: T) -> Strided<T> {
        Strided { all, stride: self.stride, first: self.first }
    }

    /// Whether parameters are read where they lie.
    #[inline(always)]
    fn direct_params(&self) -> bool {
        self.direct && self.at.inputs == 1
    }

    /// A copy of the parameters as a tile reads them, padded with zeros.
    #[inline(always)]
    fn pack<F: Formulas, const D: usize, const N: usize>(&self, params: &[L::Real]) -> [L::Vector; N] {
        let mut packed = [self.lanes.vector(self.lanes.zero()); N];
        for n in 0..N {
            if let Some(param) = param::<F, D>(self.at, n) {
                packed[n] = self.lanes.load(self.at.of(params, param));
            }
        }
        packed
    }

    /// The opposite of [`Column::pack`].
    #[inline(always)]
    fn unpack<F: Formulas, const D: usize, const N: usize>(&self, packed: &[L::Vector; N], params: &mut [L::Real]) {
        for n in 0..N {
            if let Some(param) = param::<F, D>(self.at, n) {
                self.lanes.store(self.at.of_mut(params, param), packed[n]);
            }
        }
    }
}

/// Which of the cell's parameters is number `n` of a tile's, those of one input and `D` hidden units; none if it is
/// padding.
fn param<F: Formulas, const D: usize>(Place { inputs, hidden, .. }: Place, n: usize) -> Option<usize> {
    let (gate, n) = (n / Gate::size(D, F::BIAS), n % Gate::size(D, F::BIAS));
    let first = gate * hidden * (inputs + hidden + usize::from(F::BIAS));
    let of_unit = |unit: usize, inside: usize| (unit < hidden).then_some(first + inside);
    if gate == F::GATES {
        return if n == D { Some(first + hidden) } else { of_unit(n, n) };
    }
    match n.checked_sub(D) {
        None => of_unit(n, n * inputs),
        Some(n) if n < D * D => of_unit((n / D).max(n % D), hidden * inputs + n / D * hidden + n % D),
        Some(n) => of_unit(n - D * D, hidden * (inputs + hidden) + n - D * D),
    }
}

/// Either direction.
trait Pass<T> {
    /// Some rows of a column. `N` is [`params_of`] `D`.
    fn column<F: Formulas, L: Lanes<Real = T>, const D: usize, const N: usize>(
        &mut self,
        step: &Step<T>,
        column: Column<L>,
        row: usize,
        rows: usize,
    );
}

impl<T: Copy> Pass<T> for Forward<'_, T> {
    #[inline(always)]
    fn column<F: Formulas, L: Lanes<Real = T>, const D: usize, const N: usize>(
        &mut self,
        step: &Step<T>,
        column: Column<L>,
        row: usize,
        rows: usize,
    ) {
        let packed;
        let params = if column.direct_params() {
            &L::vectors(step.params)[..N * column.stride]
        } else {
            packed = column.pack::<F, D, N>(step.params);
            &packed
        };
        let (state, kept) = (column.units(F::STATE), column.units(F::KEPT));
        let zero = column.lanes.vector(column.lanes.zero());
        let (mut x, mut y) = ([[zero]; MOST_INPUTS], [[zero]]);
        let (mut before, mut after, mut keep) = ([[zero; D]; 2], [[zero; D]; 2], [[zero; D]; 5]);
        for row in row..row + rows {
            let tile = Tile {
                lanes: column.lanes,
                params: column.strided(params),
                further: Further { params: step.params, at: column.at },
                x: column.read(step.x, column.inputs(), row, &mut x),
                before: column.read(step.before, state, row, &mut before),
            };
            let out = ForwardTile {
                after: column.write(self.after, state, row, &mut after),
                y: column.write(self.y, SINGLE, row, &mut y),
                kept: column.write(self.kept, kept, row, &mut keep),
            };
            F::forward::<L, D>(&tile, out);
            column.finish(self.after, state, row, &after);
            column.finish(self.y, SINGLE, row, &y);
            column.finish(self.kept, kept, row, &keep);
        }
    }
}

impl<T: Copy> Pass<T> for Backward<'_, T> {
    #[inline(always)]
    fn column<F: Formulas, L: Lanes<Real = T>, const D: usize, const N: usize>(
        &mut self,
        step: &Step<T>,
        column: Column<L>,
        row: usize,
        rows: usize,
    ) {
        let zero = column.lanes.vector(column.lanes.zero());
        let direct = column.direct_params();
        let packed;
        let mut sums = [zero; N];
        let (params, d_params, further): (_, _, &mut [T]) = if direct {
            let size = N * column.stride;
            (&L::vectors(step.params)[..size], &mut L::vectors_mut(self.d_params)[..size], &mut [])
        } else {
            packed = column.pack::<F, D, N>(step.params);
            sums = column.pack::<F, D, N>(self.d_params);
            (&packed[..], &mut sums[..], &mut *self.d_params)
        };
        let (state, kept) = (column.units(F::STATE), column.units(F::KEPT));
        let (mut x, mut dy, mut keep) = ([[zero]; MOST_INPUTS], [[zero]], [[zero; D]; 5]);
        let (mut before, mut d_before, mut d_after) = ([[zero; D]; 2], [[zero; D]; 2], [[zero; D]; 2]);
        for row in row..row + rows {
            let tile = Tile {
                lanes: column.lanes,
                params: column.strided(params),
                further: Further { params: step.params, at: column.at },
                x: column.read(step.x, column.inputs(), row, &mut x),
                before: column.read(step.before, state, row, &mut before),
            };
            let pass = BackwardTile {
                kept: column.read(self.kept, kept, row, &mut keep),
                dy: column.read(self.dy, SINGLE, row, &mut dy),
                d_after: column.read(self.d_after, state, row, &mut d_after),
                d_before: column.write(self.d_before, state, row, &mut d_before),
                d_params: column.strided(&mut *d_params),
                further: &mut *further,
            };
            F::backward::<L, D>(&tile, pass);
            column.finish(self.d_before, state, row, &d_before);
        }
        if !direct {
            column.unpack::<F, D, N>(&sums, further);
        }
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
    const D: usize = MOST_HIDDEN;
    match cell.kind {
        CellKind::Gru => plain_of::<gru::Gru, T, { params_of::<gru::Gru>(D) }>(cell, step, pass),
        CellKind::Vanilla => plain_of::<vanilla::Vanilla, T, { params_of::<vanilla::Vanilla>(D) }>(cell, step, pass),
        CellKind::Lstm => plain_of::<lstm::Lstm, T, { params_of::<lstm::Lstm>(D) }>(cell, step, pass),
    }
}

fn plain_of<F: Formulas, T: Real, const N: usize>(cell: Cell, step: &Step<T>, mut pass: impl Pass<T>) {
    for lane in 0..step.lanes {
        let at = Place { inputs: cell.inputs, hidden: cell.hidden, lanes: step.lanes, lane, width: 1 };
        let column = Column { lanes: One(PhantomData), at, direct: false, stride: 1, first: 0 };
        pass.column::<F, _, MOST_HIDDEN, N>(step, column, 0, cell.rows(step));
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
        CellKind::Gru => sized!(gru::Gru, cell, step, pass),
        CellKind::Vanilla => sized!(vanilla::Vanilla, cell, step, pass),
        CellKind::Lstm => sized!(lstm::Lstm, cell, step, pass),
    }
}

/// Rows that all columns go through before the next ones are begun: what vectors side by side read of a row lies in
/// one line of cache.
const BLOCK: usize = 64;

/// All columns of a pass, with room for `D` hidden units.
struct Columns<'a, F, P, const D: usize, const N: usize> {
    cell: Cell,
    step: &'a Step<'a, f32>,
    pass: P,
    formulas: PhantomData<F>,
}

impl<F: Formulas, P: Pass<f32>, const D: usize, const N: usize> WithSimd for Columns<'_, F, P, D, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (lanes, rows, exact) = (self.step.lanes, self.cell.rows(self.step), self.cell.hidden == D);
        if S::F32_LANES > 1 && D == 4 && exact && lanes == CHUNK && rows == 1 && self.cell.inputs == 1 {
            return self.chunk(simd);
        }
        let mut row = 0;
        while row < rows {
            let block = if lanes == S::F32_LANES { rows } else { BLOCK.min(rows - row) };
            let mut lane = 0;
            while lane < lanes {
                let width = S::F32_LANES.min(lanes - lane);
                let at = Place { inputs: self.cell.inputs, hidden: self.cell.hidden, lanes, lane, width };
                let direct = exact && lanes == S::F32_LANES;
                let column = Column { lanes: Wide(simd), at, direct, stride: 1, first: 0 };
                self.pass.column::<F, _, D, N>(self.step, column, row, block);
                lane += width;
            }
            row += block;
        }
    }
}

impl<F: Formulas, P: Pass<f32>, const D: usize, const N: usize> Columns<'_, F, P, D, N> {
    /// One row of [`CHUNK`] lanes, of the commonest size.
    #[inline(always)]
    fn chunk<S: Simd>(&mut self, simd: S) {
        let stride = CHUNK / S::F32_LANES;
        let mut first = 0;
        while first < stride {
            let at = Place { inputs: 1, hidden: D, lanes: CHUNK, lane: first * S::F32_LANES, width: S::F32_LANES };
            let column = Column { lanes: Wide(simd), at, direct: true, stride, first };
            self.pass.column::<F, _, D, N>(self.step, column, 0, 1);
            first += 1;
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
