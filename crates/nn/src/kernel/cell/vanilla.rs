//! The plain recurrent cell (Elman, 1990): `h' = tanh(U x + W h + b)`.
//!
//! A step keeps `h'`.

use super::Formulas;
use super::lanes::{Lanes, Value};
use super::tile::{BackwardTile, ForwardTile, Gate, Tile, tanh};

pub(super) struct Vanilla;

const GATE: Gate = Gate { number: 0, bias: true };

impl Formulas for Vanilla {
    const GATES: usize = 1;
    const BIAS: bool = true;
    const STATE: usize = 1;
    const KEPT: usize = 1;

    #[inline(always)]
    fn forward<L: Lanes, const D: usize>(tile: &Tile<L, D>, mut out: ForwardTile<L>) {
        let h = tile.units(tile.before, 0);
        let after = tanh(GATE.forward(tile, &h));
        tile.put_units(&mut out.after, 0, &after);
        tile.put(&mut out.y, 0, tile.output(Self::GATES, Self::BIAS, &after));
        if !out.kept.all.is_empty() {
            tile.put_units(&mut out.kept, 0, &after);
        }
    }

    #[inline(always)]
    fn backward<L: Lanes, const D: usize>(tile: &Tile<L, D>, mut pass: BackwardTile<L>) {
        let h = tile.units(tile.before, 0);
        let after = tile.units(pass.kept, 0);
        let dy = tile.get(pass.dy, 0);
        let dh = tile.units(pass.d_after, 0);
        let mut da = tile.output_backward(Self::GATES, Self::BIAS, dy, &after, dh, &mut pass.d_params);
        for j in 0..D {
            da[j] = da[j].minus_product(da[j] * after[j], after[j]);
        }
        GATE.add_gradients(tile, &da, &h, &mut pass);
        if !pass.d_before.all.is_empty() {
            let dh = GATE.pull_back(tile, &da, tile.zeros());
            tile.put_units(&mut pass.d_before, 0, &dh);
        }
    }
}
