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

use super::Formulas;
use super::lanes::{Lanes, Value};
use super::tile::{BackwardTile, ForwardTile, Gate, Tile, product, sigmoid, tanh};

pub(super) struct Gru;

const R: Gate = Gate { number: 0, bias: false };
const Z: Gate = Gate { number: 1, bias: false };
const G: Gate = Gate { number: 2, bias: false };

/// `h' = h + z (g - h)`.
#[inline(always)]
fn mix<V: Value, const D: usize>(mut h: [V; D], z: &[V; D], g: &[V; D]) -> [V; D] {
    for j in 0..D {
        h[j] = h[j].plus_product(z[j], g[j] - h[j]);
    }
    h
}

impl Formulas for Gru {
    const GATES: usize = 3;
    const BIAS: bool = false;
    const STATE: usize = 1;
    const KEPT: usize = 3;

    #[inline(always)]
    fn forward<L: Lanes, const D: usize>(tile: &Tile<L, D>, mut out: ForwardTile<L>) {
        let h = tile.units(tile.before, 0);
        let r = sigmoid(R.forward(tile, &h));
        let z = sigmoid(Z.forward(tile, &h));
        let g = tanh(G.forward(tile, &product(r, &h)));
        let after = mix(h, &z, &g);
        tile.put_units(&mut out.after, 0, &after);
        tile.put(&mut out.y, 0, tile.output(Self::GATES, Self::BIAS, &after));
        if !out.kept.all.is_empty() {
            tile.put_units(&mut out.kept, 0, &r);
            tile.put_units(&mut out.kept, 1, &z);
            tile.put_units(&mut out.kept, 2, &g);
        }
    }

    #[inline(always)]
    fn backward<L: Lanes, const D: usize>(tile: &Tile<L, D>, mut pass: BackwardTile<L>) {
        let h = tile.units(tile.before, 0);
        let [r, z, g] = [tile.units(pass.kept, 0), tile.units(pass.kept, 1), tile.units(pass.kept, 2)];
        let dy = tile.get(pass.dy, 0);
        let dh = tile.units(pass.d_after, 0);
        let mut dh = tile.output_backward(Self::GATES, Self::BIAS, dy, &mix(h, &z, &g), dh, &mut pass.d_params);

        // By the sums under z and g.
        let (mut dz, mut dg) = (tile.zeros(), tile.zeros());
        for j in 0..D {
            let by_g = dh[j] * z[j];
            dg[j] = by_g.minus_product(by_g * g[j], g[j]);
            dz[j] = dh[j] * (g[j] - h[j]) * z[j].minus_product(z[j], z[j]);
            dh[j] = dh[j] - by_g;
        }
        let by_rh = G.pull_back(tile, &dg, tile.zeros());
        let mut dr = tile.zeros();
        for j in 0..D {
            dr[j] = by_rh[j] * h[j] * r[j].minus_product(r[j], r[j]);
        }
        R.add_gradients(tile, &dr, &h, &mut pass);
        Z.add_gradients(tile, &dz, &h, &mut pass);
        G.add_gradients(tile, &dg, &product(r, &h), &mut pass);
        if !pass.d_before.all.is_empty() {
            for j in 0..D {
                dh[j] = dh[j].plus_product(by_rh[j], r[j]);
            }
            dh = R.pull_back(tile, &dr, Z.pull_back(tile, &dz, dh));
            tile.put_units(&mut pass.d_before, 0, &dh);
        }
    }
}
