//! The gated recurrent unit of ASMG (section 3.2): no gate has a bias, and `z` multiplies the new content.
//!
//! ```text
//! r = sigm(U_r x + W_r h)
//! z = sigm(U_z x + W_z h)
//! g = tanh(U_g x + W_g (r * h))
//! h' = (1 - z) * h + z * g
//! ```
//!
//! A step keeps `r`, `z` and `g`.

use super::lanes::{Lanes, Value};
use super::tile::{Tile, product, sigmoid, tanh};
use super::weights::{Gradients, Weights};
use super::{BackwardTile, Formulas, ForwardTile};

pub(super) struct Gru;

/// `h' = h + z (g - h)`.
#[inline(always)]
fn mix<W, V: Value<W>, const D: usize>(mut h: [V; D], z: &[V; D], g: &[V; D]) -> [V; D] {
    for j in 0..D {
        h[j] = h[j].plus_product(z[j], g[j] - h[j]);
    }
    h
}

impl Formulas<3> for Gru {
    const BIAS: bool = false;

    #[inline(always)]
    fn forward<L: Lanes, const D: usize>(
        tile: &Tile<L, D>,
        weights: &Weights<L::Weight, D, 3>,
        mut out: ForwardTile<L>,
    ) {
        let [to_r, to_z, to_g] = &weights.gates;
        let h = tile.load_units(tile.before, 0);
        let r = sigmoid(to_r.forward(tile, &h, false));
        let z = sigmoid(to_z.forward(tile, &h, false));
        let g = tanh(to_g.forward(tile, &product(r, &h), false));
        let after = mix(h, &z, &g);
        tile.store_units(&mut out.after, 0, &after);
        tile.store(&mut out.y, 0, weights.output.forward(tile, &after));
        if !out.kept.is_empty() {
            tile.store_units(&mut out.kept, 0, &r);
            tile.store_units(&mut out.kept, 1, &z);
            tile.store_units(&mut out.kept, 2, &g);
        }
    }

    #[inline(always)]
    fn backward<L: Lanes, const D: usize>(
        tile: &Tile<L, D>,
        weights: &Weights<L::Weight, D, 3>,
        mut pass: BackwardTile<L>,
        gradients: &mut Gradients<L, D, 3>,
    ) {
        let [to_r, to_z, to_g] = &weights.gates;
        let h = tile.load_units(tile.before, 0);
        let r = tile.load_units(pass.kept, 0);
        let z = tile.load_units(pass.kept, 1);
        let g = tile.load_units(pass.kept, 2);
        let dy = tile.load(pass.dy, 0);
        gradients.add_output(tile.lanes, dy, &mix(h, &z, &g));
        let mut dh = weights.output.pull_back(dy, tile.load_units(pass.d_after, 0));

        // By the sums under z and g.
        let (mut dz, mut dg) = (tile.zeros(), tile.zeros());
        for j in 0..D {
            let by_g = dh[j] * z[j];
            dg[j] = by_g.minus_product(by_g * g[j], g[j]);
            dz[j] = dh[j] * (g[j] - h[j]) * z[j].minus_product(z[j], z[j]);
            dh[j] = dh[j] - by_g;
        }
        let by_rh = to_g.pull_back(&dg, tile.zeros());
        let mut dr = tile.zeros();
        for j in 0..D {
            dr[j] = by_rh[j] * h[j] * r[j].minus_product(r[j], r[j]);
        }
        gradients.add_gate(0, tile, &dr, &h, false);
        gradients.add_gate(1, tile, &dz, &h, false);
        gradients.add_gate(2, tile, &dg, &product(r, &h), false);
        if !pass.d_before.is_empty() {
            for j in 0..D {
                dh[j] = dh[j].plus_product(by_rh[j], r[j]);
            }
            dh = to_r.pull_back(&dr, to_z.pull_back(&dz, dh));
            tile.store_units(&mut pass.d_before, 0, &dh);
        }
    }
}
