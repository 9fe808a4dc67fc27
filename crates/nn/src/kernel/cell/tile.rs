//! Some lanes of some rows: what a cell's formulas see of memory.

use super::lanes::{Lanes, Value};

/// Numbers of rows, `[rows, elements, lanes]`, from a tile's first row and lane on.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    from: &'a [T],
    /// From a row to the next.
    row: usize,
    /// From an element to the next.
    lanes: usize,
}

/// [`Rows`] to be written, or nothing.
pub(super) struct RowsMut<'a, T> {
    to: &'a mut [T],
    row: usize,
    lanes: usize,
}

impl<'a, T> Rows<'a, T> {
    /// `all[rows, elements, lanes]` from `row` and `lane` on.
    #[inline(always)]
    pub(super) fn new(all: &'a [T], elements: usize, lanes: usize, [row, lane]: [usize; 2]) -> Rows<'a, T> {
        Rows { from: &all[row * elements * lanes + lane..], row: elements * lanes, lanes }
    }
}

impl<'a, T> RowsMut<'a, T> {
    /// As [`Rows::new`]; nothing of nothing.
    #[inline(always)]
    pub(super) fn new(all: &'a mut [T], elements: usize, lanes: usize, [row, lane]: [usize; 2]) -> RowsMut<'a, T> {
        let first = if all.is_empty() { 0 } else { row * elements * lanes + lane };
        RowsMut { to: &mut all[first..], row: elements * lanes, lanes }
    }

    /// Whether there is nothing to be written.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.to.is_empty()
    }
}

/// A tile: what both passes read of it, and how.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a, L: Lanes, const D: usize> {
    pub(super) lanes: L,
    pub(super) inputs: usize,
    pub(super) hidden: usize,
    pub(super) x: Rows<'a, L::Real>,
    pub(super) before: Rows<'a, L::Real>,
    /// `[params, lanes]` from the tile's first lane on.
    pub(super) params: &'a [L::Real],
}

impl<L: Lanes, const D: usize> Tile<'_, L, D> {
    #[inline(always)]
    pub(super) fn weight(&self, param: usize) -> L::Weight {
        self.lanes.load_weight(&self.params[param * self.x.lanes..])
    }

    #[inline(always)]
    pub(super) fn load(&self, rows: Rows<L::Real>, element: usize) -> L::Value {
        self.lanes.load(&rows.from[element * rows.lanes..], rows.row)
    }

    #[inline(always)]
    pub(super) fn store(&self, rows: &mut RowsMut<L::Real>, element: usize, value: L::Value) {
        self.lanes.store(&mut rows.to[element * rows.lanes..], rows.row, value);
    }

    /// The `part`th number of each hidden unit; zero for units that there are not.
    #[inline(always)]
    pub(super) fn load_units(&self, rows: Rows<L::Real>, part: usize) -> [L::Value; D] {
        let mut units = self.zeros();
        for j in 0..D {
            if j < self.hidden {
                units[j] = self.load(rows, part * self.hidden + j);
            }
        }
        units
    }

    /// The opposite of [`Tile::load_units`].
    #[inline(always)]
    pub(super) fn store_units(&self, rows: &mut RowsMut<L::Real>, part: usize, units: &[L::Value; D]) {
        for j in 0..D {
            if j < self.hidden {
                self.store(rows, part * self.hidden + j, units[j]);
            }
        }
    }

    #[inline(always)]
    pub(super) fn zeros(&self) -> [L::Value; D] {
        [self.lanes.zero(); D]
    }
}

/// The sigmoid of each.
#[inline(always)]
pub(super) fn sigmoid<W, V: Value<W>, const D: usize>(mut units: [V; D]) -> [V; D] {
    for j in 0..D {
        units[j] = units[j].sigmoid();
    }
    units
}

/// The hyperbolic tangent of each.
#[inline(always)]
pub(super) fn tanh<W, V: Value<W>, const D: usize>(mut units: [V; D]) -> [V; D] {
    for j in 0..D {
        units[j] = units[j].tanh();
    }
    units
}

/// Unit by unit.
#[inline(always)]
pub(super) fn product<W, V: Value<W>, const D: usize>(mut a: [V; D], b: &[V; D]) -> [V; D] {
    for j in 0..D {
        a[j] = a[j] * b[j];
    }
    a
}
