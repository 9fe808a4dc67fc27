//! Long short-term memory with a forget gate (Gers, Schmidhuber and Cummins, 2000), as PyTorch has it.
//!
//! ```text
//! i = sigm(U_i x + W_i h + b_i)        g = tanh(U_g x + W_g h + b_g)
//! f = sigm(U_f x + W_f h + b_f)        o = sigm(U_o x + W_o h + b_o)
//! c' = f * c + i * g                   h' = o * tanh(c')
//! ```
//!
//! The state is `h`, then `c`. A step keeps `i`, `f`, `g`, `o` and `tanh(c')`.

use super::Formulas;
use super::lanes::{Lanes, Value};
use super::tile::{BackwardTile, ForwardTile, Gate, Tile, product, sigmoid, tanh};

pub(super) struct Lstm;

const I: Gate = Gate { number: 0, bias: true };
const F: Gate = Gate { number: 1, bias: true };
const G: Gate = Gate { number: 2, bias: true };
const O: Gate = Gate { number: 3, bias: true };

impl Formulas for Lstm {
    const GATES: usize = 4;
    const BIAS: bool = true;
    const STATE: usize = 2;
    const KEPT: usize = 5;

    #[inline(always)]
    fn forward<L: Lanes, const D: usize>(tile: &Tile<L, D>, mut out: ForwardTile<L>) {
        let h = tile.units(tile.before, 0);
        let mut c = tile.units(tile.before, 1);
        let i = sigmoid(I.forward(tile, &h));
        let f = sigmoid(F.forward(tile, &h));
        let g = tanh(G.forward(tile, &h));
        let o = sigmoid(O.forward(tile, &h));
        for j in 0..D {
            c[j] = (f[j] * c[j]).plus_product(i[j], g[j]);
        }
        let squashed = tanh(c);
        let after = product(o, &squashed);
        tile.put_units(&mut out.after, 0, &after);
        tile.put_units(&mut out.after, 1, &c);
        tile.put(&mut out.y, 0, tile.output(Self::GATES, Self::BIAS, &after));
        if !out.kept.all.is_empty() {
            tile.put_units(&mut out.kept, 0, &i);
            tile.put_units(&mut out.kept, 1, &f);
            tile.put_units(&mut out.kept, 2, &g);
            tile.put_units(&mut out.kept, 3, &o);
            tile.put_units(&mut out.kept, 4, &squashed);
        }
    }

    #[inline(always)]
    fn backward<L: Lanes, const D: usize>(tile: &Tile<L, D>, mut pass: BackwardTile<L>) {
        let [h, c] = [tile.units(tile.before, 0), tile.units(tile.before, 1)];
        let [i, f, g] = [tile.units(pass.kept, 0), tile.units(pass.kept, 1), tile.units(pass.kept, 2)];
        let [o, squashed] = [tile.units(pass.kept, 3), tile.units(pass.kept, 4)];
        let dy = tile.get(pass.dy, 0);
        let [dh, mut dc] = [tile.units(pass.d_after, 0), tile.units(pass.d_after, 1)];
        let h_after = product(o, &squashed);
        let dh = tile.output_backward(Self::GATES, Self::BIAS, dy, &h_after, dh, &mut pass.d_params);

        // By the sums under the gates.
        let [mut di, mut df, mut dg, mut d_o] = [tile.zeros(); 4];
        for j in 0..D {
            let by_squashed = dh[j] * o[j];
            dc[j] = dc[j] + by_squashed.minus_product(by_squashed * squashed[j], squashed[j]);
            let by_g = dc[j] * i[j];
            di[j] = dc[j] * g[j] * i[j].minus_product(i[j], i[j]);
            df[j] = dc[j] * c[j] * f[j].minus_product(f[j], f[j]);
            dg[j] = by_g.minus_product(by_g * g[j], g[j]);
            d_o[j] = dh[j] * squashed[j] * o[j].minus_product(o[j], o[j]);
            dc[j] = dc[j] * f[j];
        }
        I.add_gradients(tile, &di, &h, &mut pass);
        F.add_gradients(tile, &df, &h, &mut pass);
        G.add_gradients(tile, &dg, &h, &mut pass);
        O.add_gradients(tile, &d_o, &h, &mut pass);
        if !pass.d_before.all.is_empty() {
            let dh = G.pull_back(tile, &dg, O.pull_back(tile, &d_o, tile.zeros()));
            let dh = I.pull_back(tile, &di, F.pull_back(tile, &df, dh));
            tile.put_units(&mut pass.d_before, 0, &dh);
            tile.put_units(&mut pass.d_before, 1, &dc);
        }
    }
}
