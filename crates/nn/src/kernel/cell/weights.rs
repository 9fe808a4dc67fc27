//! The parameters of a vector of coordinates, loaded once for all of its rows, or the sums of gradients by them.
//!
//! Everything is sized by the number of hidden units, so loops over them are unrolled and need no checks. Numbers of
//! units that are not to be had are padded: a unit whose parameters are zero has state zero and disturbs nobody.

use super::lanes::{Lanes, Value};
use super::tile::Tile;

/// All parameters of a cell, but for those that multiply further inputs ([`Gate`]).
#[derive(Clone, Copy)]
pub(super) struct Weights<W, const D: usize, const GATES: usize> {
    pub(super) gates: [Gate<W, D>; GATES],
    pub(super) output: Output<W, D>,
}

/// `a_j = U_j . x + W_j . v + b_j`: from the step's inputs `x` and `D` further values `v` to `D` sums.
///
/// Its parameters lie together: `U [d, inputs]`, `W [d, d]` and perhaps `b [d]`. Of `U` only the first column is here.
/// The others, of which there can be any number, are read where they lie; usually there are none.
#[derive(Clone, Copy)]
pub(super) struct Gate<W, const D: usize> {
    first: usize,
    u: [W; D],
    w: [[W; D]; D],
    b: [W; D],
}

/// `y = w . h + b`.
#[derive(Clone, Copy)]
pub(super) struct Output<W, const D: usize> {
    w: [W; D],
    b: W,
}

/// What is done with each parameter.
pub(super) trait Visit<W> {
    fn visit(&mut self, param: usize, weight: &mut W);
}

impl<W: Copy, const D: usize, const GATES: usize> Weights<W, D, GATES> {
    #[inline(always)]
    pub(super) fn new(zero: W) -> Self {
        let gate = Gate { first: 0, u: [zero; D], w: [[zero; D]; D], b: [zero; D] };
        Weights { gates: [gate; GATES], output: Output { w: [zero; D], b: zero } }
    }

    /// Visits the parameters of a cell in their order.
    #[inline(always)]
    pub(super) fn visit(&mut self, inputs: usize, hidden: usize, bias: bool, visitor: &mut impl Visit<W>) {
        let mut first = 0;
        for gate in &mut self.gates {
            first = gate.visit(first, inputs, hidden, bias, visitor);
        }
        for j in 0..hidden.min(D) {
            visitor.visit(first + j, &mut self.output.w[j]);
        }
        visitor.visit(first + hidden, &mut self.output.b);
    }
}

impl<W: Copy, const D: usize> Gate<W, D> {
    /// Returns where the next parameters start.
    #[inline(always)]
    fn visit(&mut self, first: usize, inputs: usize, hidden: usize, bias: bool, visitor: &mut impl Visit<W>) -> usize {
        self.first = first;
        for j in 0..hidden.min(D) {
            visitor.visit(first + j * inputs, &mut self.u[j]);
        }
        let first = first + hidden * inputs;
        for j in 0..hidden.min(D) {
            for i in 0..hidden.min(D) {
                visitor.visit(first + j * hidden + i, &mut self.w[j][i]);
            }
        }
        let first = first + hidden * hidden;
        if !bias {
            return first;
        }
        for j in 0..hidden.min(D) {
            visitor.visit(first + j, &mut self.b[j]);
        }
        first + hidden
    }

    /// The sums. Without `bias` there is none.
    #[inline(always)]
    pub(super) fn forward<L>(&self, tile: &Tile<L, D>, v: &[L::Value; D], bias: bool) -> [L::Value; D]
    where
        L: Lanes<Weight = W>,
    {
        let x = tile.load(tile.x, 0);
        let mut sums = [x; D];
        for j in 0..D {
            let mut sum = x.times(self.u[j]);
            if bias {
                sum = sum + tile.lanes.spread(self.b[j]);
            }
            for i in 0..D {
                sum = sum.plus_times(self.w[j][i], v[i]);
            }
            sums[j] = sum;
        }
        for i in 1..tile.inputs {
            let x = tile.load(tile.x, i);
            for j in 0..tile.hidden.min(D) {
                sums[j] = sums[j].plus_times(tile.weight(self.first + j * tile.inputs + i), x);
            }
        }
        sums
    }

    /// `dv + W^T da`.
    #[inline(always)]
    pub(super) fn pull_back<V: Value<W>>(&self, da: &[V; D], mut dv: [V; D]) -> [V; D] {
        for j in 0..D {
            for i in 0..D {
                dv[i] = dv[i].plus_times(self.w[j][i], da[j]);
            }
        }
        dv
    }
}

impl<W: Copy, const D: usize> Output<W, D> {
    #[inline(always)]
    pub(super) fn forward<L: Lanes<Weight = W>>(&self, tile: &Tile<L, D>, h: &[L::Value; D]) -> L::Value {
        let mut y = tile.lanes.spread(self.b);
        for j in 0..D {
            y = y.plus_times(self.w[j], h[j]);
        }
        y
    }

    /// `dh + w dy`.
    #[inline(always)]
    pub(super) fn pull_back<V: Value<W>>(&self, dy: V, mut dh: [V; D]) -> [V; D] {
        for j in 0..D {
            dh[j] = dh[j].plus_times(self.w[j], dy);
        }
        dh
    }
}

/// Sums of gradients by the parameters.
pub(super) struct Gradients<'a, L: Lanes, const D: usize, const GATES: usize> {
    pub(super) sums: Weights<L::Weight, D, GATES>,
    /// Those by the parameters of further inputs: `[params, lanes]` from the tile's first lane on.
    pub(super) of_features: &'a mut [L::Real],
    pub(super) stride: usize,
}

impl<L: Lanes, const D: usize, const GATES: usize> Gradients<'_, L, D, GATES> {
    /// From the gradient by a gate's sums, `da`, to that by its parameters.
    #[inline(always)]
    pub(super) fn add_gate(
        &mut self,
        gate: usize,
        tile: &Tile<L, D>,
        da: &[L::Value; D],
        v: &[L::Value; D],
        bias: bool,
    ) {
        let lanes = tile.lanes;
        let sums = &mut self.sums.gates[gate];
        let x = tile.load(tile.x, 0);
        for j in 0..D {
            sums.u[j] = lanes.sum_products(sums.u[j], da[j], x);
            if bias {
                sums.b[j] = lanes.sum_rows(sums.b[j], da[j]);
            }
            for i in 0..D {
                sums.w[j][i] = lanes.sum_products(sums.w[j][i], da[j], v[i]);
            }
        }
        for i in 1..tile.inputs {
            let x = tile.load(tile.x, i);
            for j in 0..tile.hidden.min(D) {
                let sum = &mut self.of_features[(sums.first + j * tile.inputs + i) * self.stride..];
                lanes.store_weight(sum, lanes.sum_products(lanes.load_weight(sum), da[j], x));
            }
        }
    }

    #[inline(always)]
    pub(super) fn add_output(&mut self, lanes: L, dy: L::Value, h: &[L::Value; D]) {
        let sums = &mut self.sums.output;
        for j in 0..D {
            sums.w[j] = lanes.sum_products(sums.w[j], dy, h[j]);
        }
        sums.b = lanes.sum_rows(sums.b, dy);
    }
}
