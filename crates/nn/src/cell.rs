//! Recurrent cells whose weights are a coordinate's own: the meta generator of ASMG (Peng, Pavlovski, Guo and others,
//! RecSys 2021).
//!
//! A coordinate is one scalar parameter of a recommender. Its values over the last periods are the sequence that a cell
//! reads; after each step `y = w_y . h' + b_y` is the value to be served.
//!
//! ```
//! use perennial_nn::cell::{Cell, CellKind, Step};
//!
//! // Two rows of an embedding table of dimension three, which share a generator per dimension.
//! let cell = Cell { kind: CellKind::Gru, inputs: 1, hidden: 4 };
//! let params = vec![0.1; cell.params() * 3];
//! let (x, before) = ([0.5, -0.5, 1.0, 0.0, 0.2, 0.3], vec![0.0; 2 * cell.state() * 3]);
//! let (mut after, mut y) = (before.clone(), [0.0; 2 * 3]);
//! let step = Step { lanes: 3, params: &params, x: &x, before: &before };
//! cell.forward(&step, &mut after, &mut y, &mut []);
//! assert!(y[0] != y[1] && cell.params() == 65);
//! ```

use crate::Real;
use crate::kernel::cell::{Backward, Forward, MOST_HIDDEN, MOST_INPUTS};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Lanes into which a tensor with a generator for each of its scalars is best cut: the fastest single row.
pub const CHUNK: usize = 64;

/// Which formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellKind {
    /// ASMG's gated recurrent unit: `r = sigm(U_r x + W_r h)`, `z = sigm(U_z x + W_z h)`,
    /// `g = tanh(U_g x + W_g (r * h))`, `h' = (1 - z) * h + z * g`. Gates have no biases.
    Gru,
    /// `h' = tanh(U x + W h + b)`.
    Vanilla,
    /// PyTorch's LSTM, with one bias per gate: `i`, `f`, `o` are sigmoids and `g` the hyperbolic tangent of
    /// `U x + W h + b`; `c' = f * c + i * g`, `h' = o * tanh(c')`. The authors of ASMG squash `c'` by a further
    /// sigmoid; we do not.
    Lstm,
}

/// A recurrent cell with a linear output, `y = w_y . h' + b_y`, for each of many coordinates.
///
/// Coordinates lie side by side in lanes, with which every layout ends. Rows of coordinates share the parameters of
/// their lane: an embedding table has its dimension for lanes, a tensor with a generator per scalar has a single row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// The formulas.
    pub kind: CellKind,
    /// Numbers read per coordinate and step, 1 to 16.
    pub inputs: usize,
    /// Length of the hidden vector, 1 to 16. The paper found 4 best and more to over-fit.
    pub hidden: usize,
}

/// Some parameters of a cell, to be initialised alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// `u_*` and `w_*` are matrices, stored output by output, of a gate; `b_*` are biases.
    pub name: &'static str,
    /// Which of the cell's parameters.
    pub range: Range<usize>,
    /// Numbers that each output is a sum of; 1 for a bias.
    pub fan_in: usize,
    /// Outputs.
    pub fan_out: usize,
}

/// What both passes read of one step.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a, T> {
    /// Coordinates in a row.
    pub lanes: usize,
    /// `[params, lanes]`.
    pub params: &'a [T],
    /// `[rows, inputs, lanes]`.
    pub x: &'a [T],
    /// The state before: `[rows, state, lanes]`.
    pub before: &'a [T],
}

impl Cell {
    /// Parameters of a coordinate; 65 for a GRU of one input and four hidden units.
    pub fn params(&self) -> usize {
        self.gates().len() * self.hidden * (self.inputs + self.hidden + usize::from(self.biased())) + self.hidden + 1
    }

    /// Numbers of state of a coordinate: the hidden vector `h`, with an LSTM then `c`.
    pub fn state(&self) -> usize {
        match self.kind {
            CellKind::Gru | CellKind::Vanilla => self.hidden,
            CellKind::Lstm => 2 * self.hidden,
        }
    }

    /// Numbers per coordinate that a forward step keeps for its backward step.
    pub fn kept(&self) -> usize {
        match self.kind {
            CellKind::Gru => 3 * self.hidden,
            CellKind::Vanilla => self.hidden,
            CellKind::Lstm => 5 * self.hidden,
        }
    }

    /// What the parameters are, in order.
    pub fn blocks(&self) -> impl Iterator<Item = Block> {
        let (inputs, hidden) = (self.inputs, self.hidden);
        let gates = self.gates().iter().flat_map(move |&[u, w, b]| {
            let bias = self.biased().then_some((b, 1, hidden));
            [(u, inputs, hidden), (w, hidden, hidden)].into_iter().chain(bias)
        });
        let mut start = 0;
        gates.chain([("w_y", hidden, 1), ("b_y", 1, 1)]).map(move |(name, fan_in, fan_out)| {
            let range = start..start + fan_in * fan_out;
            start = range.end;
            Block { name, range, fan_in, fan_out }
        })
    }

    fn gates(&self) -> &'static [[&'static str; 3]] {
        match self.kind {
            CellKind::Gru => &[["u_r", "w_r", ""], ["u_z", "w_z", ""], ["u_g", "w_g", ""]],
            CellKind::Vanilla => &[["u", "w", "b"]],
            CellKind::Lstm => {
                &[["u_i", "w_i", "b_i"], ["u_f", "w_f", "b_f"], ["u_g", "w_g", "b_g"], ["u_o", "w_o", "b_o"]]
            }
        }
    }

    fn biased(&self) -> bool {
        self.kind != CellKind::Gru
    }

    /// One step of every row: writes the state `after [rows, state, lanes]`, the outputs `y [rows, lanes]` and what
    /// [`backward`](Cell::backward) needs, `kept [rows, kept, lanes]`; an empty `kept` keeps nothing.
    ///
    /// A row's results depend on no other row, a lane's on no other lane. NaN spreads within its coordinate.
    ///
    /// # Panics
    /// If a length does not fit, or the cell has no or too many inputs or hidden units.
    pub fn forward<T: Real>(&self, step: &Step<T>, after: &mut [T], y: &mut [T], kept: &mut [T]) {
        let rows = self.checked_rows(step);
        let expected = [rows * self.state(), rows, if kept.is_empty() { 0 } else { rows * self.kept() }];
        assert_eq!([after.len(), y.len(), kept.len()], expected.map(|n| n * step.lanes), "after, y, kept of {self:?}");
        T::cell_forward(*self, step, Forward { after, y, kept });
    }

    /// The gradient through one step.
    ///
    /// Reads what [`forward`](Cell::forward) kept, the gradients by `y` of this step (`dy [rows, lanes]`) and by its
    /// state `after` from later steps (`d_after [rows, state, lanes]`, zeros at the last). Writes that by the state
    /// `before` to `d_before`, unless that is empty, and adds that by the parameters to `d_params [params, lanes]`, row
    /// after row.
    ///
    /// # Panics
    /// As [`forward`](Cell::forward).
    pub fn backward<T: Real>(
        &self,
        step: &Step<T>,
        kept: &[T],
        dy: &[T],
        d_after: &[T],
        d_before: &mut [T],
        d_params: &mut [T],
    ) {
        let rows = self.checked_rows(step);
        let wanted = if d_before.is_empty() { 0 } else { rows * self.state() };
        let expected = [rows * self.kept(), rows, rows * self.state(), wanted, self.params()];
        let lengths = [kept.len(), dy.len(), d_after.len(), d_before.len(), d_params.len()];
        assert_eq!(lengths, expected.map(|n| n * step.lanes), "kept, dy, d_after, d_before, d_params of {self:?}");
        T::cell_backward(*self, step, Backward { kept, dy, d_after, d_before, d_params });
    }

    /// Rows of a step whose lengths fit.
    fn checked_rows<T>(&self, step: &Step<T>) -> usize {
        assert!((1..=MOST_INPUTS).contains(&self.inputs), "{self:?} may have 1 to {MOST_INPUTS} inputs");
        assert!((1..=MOST_HIDDEN).contains(&self.hidden), "{self:?} may have 1 to {MOST_HIDDEN} hidden units");
        let rows = self.rows(step);
        let expected = [self.params(), rows * self.inputs, rows * self.state()].map(|n| n * step.lanes);
        assert_eq!([step.params.len(), step.x.len(), step.before.len()], expected, "params, x, before of {self:?}");
        rows
    }

    pub(crate) fn rows<T>(&self, step: &Step<T>) -> usize {
        step.x.len().checked_div(self.inputs * step.lanes).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradient;
    use crate::kernel::tests::{noise, wide};
    use serde::Deserialize;

    const KINDS: [CellKind; 3] = [CellKind::Gru, CellKind::Vanilla, CellKind::Lstm];

    /// A few steps of some rows, with a loss that reads every output and the last state.
    struct Unrolled<T> {
        cell: Cell,
        lanes: usize,
        /// `[steps][rows, inputs, lanes]`.
        x: Vec<Vec<T>>,
        /// Slope of the loss by the output of each step, `[steps][rows, lanes]`.
        dy: Vec<Vec<T>>,
        /// Slope of the loss by the last state.
        d_last: Vec<T>,
    }

    /// What [`Unrolled::run`] finds.
    struct Run<T> {
        y: Vec<Vec<T>>,
        last: Vec<T>,
        d_params: Vec<T>,
        d_first: Vec<T>,
    }

    impl<T: Real> Unrolled<T> {
        fn run(&self, params: &[T], first: &[T]) -> Run<T> {
            let Unrolled { cell, lanes, x, dy, d_last } = self;
            let steps = x.len();
            let (mut states, mut kept, mut y) = (vec![first.to_vec()], vec![], dy.clone());
            for (x, y) in x.iter().zip(&mut y) {
                let mut after = vec![T::ZERO; first.len()];
                let mut keep = vec![T::ZERO; y.len() * cell.kept()];
                let step = Step { lanes: *lanes, params, x, before: states.last().unwrap() };
                cell.forward(&step, &mut after, y, &mut keep);
                states.push(after);
                kept.push(keep);
            }
            let (mut d_after, mut d_params) = (d_last.clone(), vec![T::ZERO; params.len()]);
            for t in (0..steps).rev() {
                let mut d_before = vec![T::ONE; first.len()];
                let step = Step { lanes: *lanes, params, x: &x[t], before: &states[t] };
                cell.backward(&step, &kept[t], &dy[t], &d_after, &mut d_before, &mut d_params);
                d_after = d_before;
            }
            Run { y, last: states.pop().unwrap(), d_params, d_first: d_after }
        }
    }

    fn scaled(len: usize, scale: f64, seed: u64) -> Vec<f64> {
        wide(&noise(len, seed)).iter().map(|x| x * scale).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let (rows, lanes) = (2, 2);
        for kind in KINDS {
            for (inputs, hidden) in [(1, 1), (1, 2), (3, 3), (1, 4), (3, 4), (1, 8), (1, 9)] {
                let cell = Cell { kind, inputs, hidden };
                let many = |len, scale, seed: u64| (0..3).map(|t| scaled(len, scale, seed + t)).collect();
                let unrolled = Unrolled {
                    cell,
                    lanes,
                    x: many(rows * inputs * lanes, 0.3, 10),
                    dy: many(rows * lanes, 0.5, 20),
                    d_last: scaled(rows * cell.state() * lanes, 0.3, 30),
                };
                // One parameter of the check for each block, so that a failure names it; the last is the state.
                let params = scaled(cell.params() * lanes, 0.2, 1);
                let mut point: Vec<Vec<f64>> = cell.blocks().map(|b| params[lanes_of(&b, lanes)].to_vec()).collect();
                point.push(scaled(rows * cell.state() * lanes, 0.2, 2));
                let worst = check_gradient(&point, |point| {
                    let (first, params) = point.split_last().unwrap();
                    let run = unrolled.run(&params.concat(), first);
                    let by_y: f64 = run.y.iter().zip(&unrolled.dy).map(|(y, dy)| dot(y, dy)).sum();
                    let mut gradients: Vec<_> =
                        cell.blocks().map(|b| run.d_params[lanes_of(&b, lanes)].to_vec()).collect();
                    gradients.push(run.d_first);
                    (by_y + dot(&run.last, &unrolled.d_last), gradients)
                });
                assert!(worst.error < 1e-8, "{cell:?}: {worst}");
            }
        }
    }

    fn lanes_of(block: &Block, lanes: usize) -> Range<usize> {
        block.range.start * lanes..block.range.end * lanes
    }

    #[test]
    fn a_gru_of_four_has_65_parameters() {
        let count = |kind, inputs, hidden| Cell { kind, inputs, hidden }.params();
        // 3 d^2 + 3 d + d + 1; 4 (d^2 + 2 d) + d + 1; d^2 + 2 d + d + 1
        assert_eq!(count(CellKind::Gru, 1, 4), 65);
        assert_eq!(count(CellKind::Lstm, 1, 4), 101);
        assert_eq!(count(CellKind::Vanilla, 1, 4), 29);
        assert_eq!(count(CellKind::Gru, 3, 2), 3 * (3 * 2 + 2 * 2) + 3);
    }

    #[test]
    fn blocks_cover_all_parameters() {
        for kind in KINDS {
            let cell = Cell { kind, inputs: 3, hidden: 5 };
            let mut end = 0;
            for block in cell.blocks() {
                assert_eq!(block.range.start, end, "{block:?}");
                assert_eq!(block.range.len(), block.fan_in * block.fan_out, "{block:?}");
                end = block.range.end;
            }
            assert_eq!(end, cell.params());
        }
        let names: Vec<_> = Cell { kind: CellKind::Gru, inputs: 1, hidden: 4 }.blocks().map(|b| b.name).collect();
        assert_eq!(names, ["u_r", "w_r", "u_z", "w_z", "u_g", "w_g", "w_y", "b_y"]);
    }

    #[derive(Deserialize)]
    struct Golden {
        inputs: usize,
        hidden: usize,
        lanes: usize,
        params: Vec<f64>,
        first: Vec<f64>,
        x: Vec<Vec<f64>>,
        dy: Vec<Vec<f64>>,
        d_last: Vec<f64>,
        y: Vec<Vec<f64>>,
        last: Vec<f64>,
        d_params: Vec<f64>,
        d_first: Vec<f64>,
    }

    /// The largest difference between what PyTorch found (`fixtures/cell.py`) and what we find.
    fn error_of<T: Real>(kind: CellKind, golden: &Golden) -> f64 {
        let real = |x: &[f64]| x.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>();
        let unrolled = Unrolled {
            cell: Cell { kind, inputs: golden.inputs, hidden: golden.hidden },
            lanes: golden.lanes,
            x: golden.x.iter().map(|x| real(x)).collect(),
            dy: golden.dy.iter().map(|x| real(x)).collect(),
            d_last: real(&golden.d_last),
        };
        let run = unrolled.run(&real(&golden.params), &real(&golden.first));
        let got = [run.y.concat(), run.last, run.d_params, run.d_first].concat();
        let expected = [&golden.y.concat(), &golden.last, &golden.d_params, &golden.d_first].map(|x| &x[..]).concat();
        assert_eq!(got.len(), expected.len());
        let errors = got.iter().zip(&expected).map(|(got, x)| (got.to_f64() - x).abs());
        errors.fold(0.0, |worst, error| if error > worst || error.is_nan() { error } else { worst })
    }

    #[test]
    fn cells_agree_with_pytorch() {
        let golden: Vec<(CellKind, Golden)> = serde_json::from_str(include_str!("cell/fixtures/cell.json")).unwrap();
        for (kind, golden) in &golden {
            let errors = [error_of::<f64>(*kind, golden), error_of::<f32>(*kind, golden)];
            assert!(errors[0] < 1e-13 && errors[1] < 3e-6, "{kind:?}: {errors:?}");
        }
        assert_eq!(golden.len(), 3);
    }

    #[test]
    fn a_kind_is_written_in_snake_case() {
        assert_eq!(serde_json::to_string(&KINDS).unwrap(), r#"["gru","vanilla","lstm"]"#);
    }

    #[test]
    #[should_panic(expected = "after, y, kept")]
    fn lengths_must_fit() {
        let cell = Cell { kind: CellKind::Vanilla, inputs: 1, hidden: 1 };
        let step = Step { lanes: 1, params: &[0.0; 5], x: &[0.0], before: &[0.0] };
        cell.forward(&step, &mut [0.0], &mut [0.0, 0.0], &mut []);
    }
}
