//! One row of one vector of coordinates: what a cell's formulas work on.

use super::lanes::{Lanes, Value};

/// Every `stride`th vector of some, from number `first` on.
///
/// Lengths and strides are mostly known when the program is compiled, and then no access needs a check.
#[derive(Clone, Copy)]
pub(super) struct Strided<T> {
    pub(super) all: T,
    pub(super) stride: usize,
    /// Below `stride`.
    pub(super) first: usize,
}

impl<T> Strided<T> {
    #[inline(always)]
    fn at(&self, element: usize) -> usize {
        // The remainder changes nothing but tells the compiler so.
        element * self.stride + self.first % self.stride
    }
}

/// What both passes read of a tile.
pub(super) struct Tile<'a, L: Lanes, const D: usize> {
    pub(super) lanes: L,
    /// Those of the first input, padded to `D` hidden units: see [`Gate`].
    pub(super) params: Strided<&'a [L::Vector]>,
    pub(super) further: Further<'a, L>,
    /// `[inputs]`.
    pub(super) x: Strided<&'a [L::Vector]>,
    /// `[state]`.
    pub(super) before: Strided<&'a [L::Vector]>,
}

/// What a tile's forward pass writes.
pub(super) struct ForwardTile<'a, L: Lanes> {
    pub(super) after: Strided<&'a mut [L::Vector]>,
    pub(super) y: Strided<&'a mut [L::Vector]>,
    /// Empty if nothing is to be kept.
    pub(super) kept: Strided<&'a mut [L::Vector]>,
}

/// What a tile's backward pass reads and writes.
pub(super) struct BackwardTile<'a, L: Lanes> {
    pub(super) kept: Strided<&'a [L::Vector]>,
    pub(super) dy: Strided<&'a [L::Vector]>,
    pub(super) d_after: Strided<&'a [L::Vector]>,
    /// Empty if it is not wanted.
    pub(super) d_before: Strided<&'a mut [L::Vector]>,
    /// As [`Tile::params`].
    pub(super) d_params: Strided<&'a mut [L::Vector]>,
    /// All of `d_params [params, lanes]`, unless there is but one input.
    pub(super) further: &'a mut [L::Real],
}

/// The parameters that multiply the second input and those after it are read where they lie; mostly there are none.
#[derive(Clone, Copy)]
pub(super) struct Further<'a, L: Lanes> {
    pub(super) params: &'a [L::Real],
    pub(super) at: Place,
}

/// Where the numbers of a vector of coordinates lie in `[.., lanes]`.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) inputs: usize,
    pub(super) hidden: usize,
    /// From an element to the next.
    pub(super) lanes: usize,
    /// The first.
    pub(super) lane: usize,
    /// How many, at most a vector.
    pub(super) width: usize,
}

impl Place {
    #[inline(always)]
    pub(super) fn of<T>(self, all: &[T], element: usize) -> &[T] {
        &all[element * self.lanes + self.lane..][..self.width]
    }

    #[inline(always)]
    pub(super) fn of_mut<T>(self, all: &mut [T], element: usize) -> &mut [T] {
        &mut all[element * self.lanes + self.lane..][..self.width]
    }
}

impl<L: Lanes, const D: usize> Tile<'_, L, D> {
    #[inline(always)]
    pub(super) fn get(&self, from: Strided<&[L::Vector]>, element: usize) -> L::Value {
        self.lanes.value(from.all[from.at(element)])
    }

    #[inline(always)]
    pub(super) fn put(&self, to: &mut Strided<&mut [L::Vector]>, element: usize, value: L::Value) {
        to.all[to.at(element)] = self.lanes.vector(value);
    }

    /// `sum + a`.
    #[inline(always)]
    fn add(&self, sum: &mut Strided<&mut [L::Vector]>, element: usize, a: L::Value) {
        let sum = &mut sum.all[sum.at(element)];
        *sum = self.lanes.vector(self.lanes.value(*sum) + a);
    }

    /// `sum + a b`.
    #[inline(always)]
    fn add_product(&self, sum: &mut Strided<&mut [L::Vector]>, element: usize, a: L::Value, b: L::Value) {
        let sum = &mut sum.all[sum.at(element)];
        *sum = self.lanes.vector(self.lanes.value(*sum).plus_product(a, b));
    }

    /// The numbers of all hidden units, from the `part`th `D` of them.
    #[inline(always)]
    pub(super) fn units(&self, from: Strided<&[L::Vector]>, part: usize) -> [L::Value; D] {
        let mut units = self.zeros();
        for j in 0..D {
            units[j] = self.get(from, part * D + j);
        }
        units
    }

    /// The opposite of [`Tile::units`].
    #[inline(always)]
    pub(super) fn put_units(&self, to: &mut Strided<&mut [L::Vector]>, part: usize, units: &[L::Value; D]) {
        for j in 0..D {
            self.put(to, part * D + j, units[j]);
        }
    }

    #[inline(always)]
    pub(super) fn zeros(&self) -> [L::Value; D] {
        [self.lanes.zero(); D]
    }

    /// `y = w_y . h + b_y`; its parameters follow those of the gates.
    #[inline(always)]
    pub(super) fn output(&self, gates: usize, bias: bool, h: &[L::Value; D]) -> L::Value {
        let first = gates * Gate::size(D, bias);
        let mut y = self.get(self.params, first + D);
        for j in 0..D {
            y = y.plus_product(self.get(self.params, first + j), h[j]);
        }
        y
    }

    /// Adds the output's gradients and returns `dh + w_y dy`.
    #[inline(always)]
    pub(super) fn output_backward(
        &self,
        gates: usize,
        bias: bool,
        dy: L::Value,
        h: &[L::Value; D],
        mut dh: [L::Value; D],
        d_params: &mut Strided<&mut [L::Vector]>,
    ) -> [L::Value; D] {
        let first = gates * Gate::size(D, bias);
        for j in 0..D {
            self.add_product(d_params, first + j, dy, h[j]);
            dh[j] = dh[j].plus_product(self.get(self.params, first + j), dy);
        }
        self.add(d_params, first + D, dy);
        dh
    }
}

/// `a_j = U_j . x + W_j . v + b_j`: from the step's inputs `x` and `D` further values `v` to `D` sums.
///
/// Its parameters lie together: the first column of `U`, `W [D, D]` row by row, and perhaps `b`.
#[derive(Clone, Copy)]
pub(super) struct Gate {
    pub(super) number: usize,
    pub(super) bias: bool,
}

impl Gate {
    /// Parameters of a gate of one input.
    pub(super) const fn size(d: usize, bias: bool) -> usize {
        d * (1 + d + bias as usize)
    }

    #[inline(always)]
    fn u(self, d: usize, j: usize) -> usize {
        self.number * Gate::size(d, self.bias) + j
    }

    #[inline(always)]
    fn w(self, d: usize, j: usize, i: usize) -> usize {
        self.u(d, d + j * d + i)
    }

    #[inline(always)]
    fn b(self, d: usize, j: usize) -> usize {
        self.u(d, d + d * d + j)
    }

    /// Where the parameter of input `i >= 1` and unit `j` lies in `[params, lanes]`.
    #[inline(always)]
    fn further(self, Place { inputs, hidden, .. }: Place, j: usize, i: usize) -> usize {
        self.number * hidden * (inputs + hidden + usize::from(self.bias)) + j * inputs + i
    }

    /// The sums.
    #[inline(always)]
    pub(super) fn forward<L: Lanes, const D: usize>(self, tile: &Tile<L, D>, v: &[L::Value; D]) -> [L::Value; D] {
        let x = tile.get(tile.x, 0);
        let mut sums = [x; D];
        for j in 0..D {
            let u = tile.get(tile.params, self.u(D, j));
            let mut sum = if self.bias { tile.get(tile.params, self.b(D, j)).plus_product(u, x) } else { u * x };
            for i in 0..D {
                sum = sum.plus_product(tile.get(tile.params, self.w(D, j, i)), v[i]);
            }
            sums[j] = sum;
        }
        let Further { params, at } = tile.further;
        for i in 1..at.inputs {
            for j in 0..at.hidden {
                let u = tile.lanes.load(at.of(params, self.further(at, j, i)));
                sums[j] = sums[j].plus_product(tile.lanes.value(u), tile.get(tile.x, i));
            }
        }
        sums
    }

    /// From the gradient by the sums, `da`, to that by the parameters.
    #[inline(always)]
    pub(super) fn add_gradients<L: Lanes, const D: usize>(
        self,
        tile: &Tile<L, D>,
        da: &[L::Value; D],
        v: &[L::Value; D],
        pass: &mut BackwardTile<L>,
    ) {
        let x = tile.get(tile.x, 0);
        for j in 0..D {
            tile.add_product(&mut pass.d_params, self.u(D, j), da[j], x);
            for i in 0..D {
                tile.add_product(&mut pass.d_params, self.w(D, j, i), da[j], v[i]);
            }
            if self.bias {
                tile.add(&mut pass.d_params, self.b(D, j), da[j]);
            }
        }
        let at = tile.further.at;
        for i in 1..at.inputs {
            for j in 0..at.hidden {
                let sum = at.of_mut(pass.further, self.further(at, j, i));
                let new = tile.lanes.value(tile.lanes.load(sum)).plus_product(da[j], tile.get(tile.x, i));
                tile.lanes.store(sum, tile.lanes.vector(new));
            }
        }
    }

    /// `dv + W^T da`.
    #[inline(always)]
    pub(super) fn pull_back<L: Lanes, const D: usize>(
        self,
        tile: &Tile<L, D>,
        da: &[L::Value; D],
        mut dv: [L::Value; D],
    ) -> [L::Value; D] {
        for j in 0..D {
            for i in 0..D {
                dv[i] = dv[i].plus_product(tile.get(tile.params, self.w(D, j, i)), da[j]);
            }
        }
        dv
    }
}

/// The sigmoid of each.
#[inline(always)]
pub(super) fn sigmoid<V: Value, const D: usize>(mut units: [V; D]) -> [V; D] {
    for j in 0..D {
        units[j] = units[j].sigmoid();
    }
    units
}

/// The hyperbolic tangent of each.
#[inline(always)]
pub(super) fn tanh<V: Value, const D: usize>(mut units: [V; D]) -> [V; D] {
    for j in 0..D {
        units[j] = units[j].tanh();
    }
    units
}

/// Unit by unit.
#[inline(always)]
pub(super) fn product<V: Value, const D: usize>(mut a: [V; D], b: &[V; D]) -> [V; D] {
    for j in 0..D {
        a[j] = a[j] * b[j];
    }
    a
}
