//! Long short-term memory with a forget gate (Gers, Schmidhuber and Cummins, 2000), as PyTorch has it.
//!
//! ```text
//! i = sigm(U_i x + W_i h + b_i)        g = tanh(U_g x + W_g h + b_g)
//! f = sigm(U_f x + W_f h + b_f)        o = sigm(U_o x + W_o h + b_o)
//! c' = f * c + i * g                   h' = o * tanh(c')
//! ```
//!
//! The state is `h`, then `c`. A step keeps `i`, `f`, `g`, `o` and `tanh(c')`.

use super::lanes::{Lanes, Value};
use super::tile::{Tile, product, sigmoid, tanh};
use super::weights::{Gradients, Weights};
use super::{BackwardTile, Formulas, ForwardTile};

pub(super) struct Lstm;

impl Formulas<4> for Lstm {
    const BIAS: bool = true;

    #[inline(always)]
    fn forward<L: Lanes, const D: usize>(
        tile: &Tile<L, D>,
        weights: &Weights<L::Weight, D, 4>,
        mut out: ForwardTile<L>,
    ) {
        let [to_i, to_f, to_g, to_o] = &weights.gates;
        let h = tile.load_units(tile.before, 0);
        let mut c = tile.load_units(tile.before, 1);
        let i = sigmoid(to_i.forward(tile, &h, true));
        let f = sigmoid(to_f.forward(tile, &h, true));
        let g = tanh(to_g.forward(tile, &h, true));
        let o = sigmoid(to_o.forward(tile, &h, true));
        for j in 0..D {
            c[j] = (f[j] * c[j]).plus_product(i[j], g[j]);
        }
        let squashed = tanh(c);
        let after = product(o, &squashed);
        tile.store_units(&mut out.after, 0, &after);
        tile.store_units(&mut out.after, 1, &c);
        tile.store(&mut out.y, 0, weights.output.forward(tile, &after));
        if !out.kept.is_empty() {
            tile.store_units(&mut out.kept, 0, &i);
            tile.store_units(&mut out.kept, 1, &f);
            tile.store_units(&mut out.kept, 2, &g);
            tile.store_units(&mut out.kept, 3, &o);
            tile.store_units(&mut out.kept, 4, &squashed);
        }
    }

    #[inline(always)]
    fn backward<L: Lanes, const D: usize>(
        tile: &Tile<L, D>,
        weights: &Weights<L::Weight, D, 4>,
        mut pass: BackwardTile<L>,
        gradients: &mut Gradients<L, D, 4>,
    ) {
        let h = tile.load_units(tile.before, 0);
        let c = tile.load_units(tile.before, 1);
        let i = tile.load_units(pass.kept, 0);
        let f = tile.load_units(pass.kept, 1);
        let g = tile.load_units(pass.kept, 2);
        let o = tile.load_units(pass.kept, 3);
        let squashed = tile.load_units(pass.kept, 4);
        let dy = tile.load(pass.dy, 0);
        gradients.add_output(tile.lanes, dy, &product(o, &squashed));
        let dh = weights.output.pull_back(dy, tile.load_units(pass.d_after, 0));
        let mut dc = tile.load_units(pass.d_after, 1);

        // By the sums under the gates i, f, g, o.
        let mut da = [tile.zeros(); 4];
        for j in 0..D {
            let by_squashed = dh[j] * o[j];
            dc[j] = dc[j] + by_squashed.minus_product(by_squashed * squashed[j], squashed[j]);
            let by_g = dc[j] * i[j];
            da[0][j] = dc[j] * g[j] * i[j].minus_product(i[j], i[j]);
            da[1][j] = dc[j] * c[j] * f[j].minus_product(f[j], f[j]);
            da[2][j] = by_g.minus_product(by_g * g[j], g[j]);
            da[3][j] = dh[j] * squashed[j] * o[j].minus_product(o[j], o[j]);
            dc[j] = dc[j] * f[j];
        }
        for gate in 0..4 {
            gradients.add_gate(gate, tile, &da[gate], &h, true);
        }
        if !pass.d_before.is_empty() {
            let mut dh = tile.zeros();
            for gate in 0..4 {
                dh = weights.gates[gate].pull_back(&da[gate], dh);
            }
            tile.store_units(&mut pass.d_before, 0, &dh);
            tile.store_units(&mut pass.d_before, 1, &dc);
        }
    }
}
