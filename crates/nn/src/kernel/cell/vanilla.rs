//! The plain recurrent cell (Elman, 1990): `h' = tanh(U x + W h + b)`.
//!
//! A step keeps `h'`.

use super::lanes::{Lanes, Value};
use super::tile::{Tile, tanh};
use super::weights::{Gradients, Weights};
use super::{BackwardTile, Formulas, ForwardTile};

pub(super) struct Vanilla;

impl Formulas<1> for Vanilla {
    const BIAS: bool = true;

    #[inline(always)]
    fn forward<L: Lanes, const D: usize>(
        tile: &Tile<L, D>,
        weights: &Weights<L::Weight, D, 1>,
        mut out: ForwardTile<L>,
    ) {
        let h = tile.load_units(tile.before, 0);
        let after = tanh(weights.gates[0].forward(tile, &h, true));
        tile.store_units(&mut out.after, 0, &after);
        tile.store(&mut out.y, 0, weights.output.forward(tile, &after));
        if !out.kept.is_empty() {
            tile.store_units(&mut out.kept, 0, &after);
        }
    }

    #[inline(always)]
    fn backward<L: Lanes, const D: usize>(
        tile: &Tile<L, D>,
        weights: &Weights<L::Weight, D, 1>,
        mut pass: BackwardTile<L>,
        gradients: &mut Gradients<L, D, 1>,
    ) {
        let h = tile.load_units(tile.before, 0);
        let after = tile.load_units(pass.kept, 0);
        let dy = tile.load(pass.dy, 0);
        gradients.add_output(tile.lanes, dy, &after);
        let mut da = weights.output.pull_back(dy, tile.load_units(pass.d_after, 0));
        for j in 0..D {
            da[j] = da[j].minus_product(da[j] * after[j], after[j]);
        }
        gradients.add_gate(0, tile, &da, &h, true);
        if !pass.d_before.is_empty() {
            let dh = weights.gates[0].pull_back(&da, tile.zeros());
            tile.store_units(&mut pass.d_before, 0, &dh);
        }
    }
}
