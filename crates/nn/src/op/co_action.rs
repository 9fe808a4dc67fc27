//! The co-action unit: one id's row as a small network for another id's.

use super::Op;
use crate::kernel::Act;
use crate::tape::runs;
use crate::{Groups, Real, Tape, Var};

/// Most layers of a co-action unit.
pub const CO_ACTION_LAYERS: usize = 4;

/// The form of a co-action unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoActionShape {
    /// Columns of the inputs.
    pub inputs: usize,
    /// Outputs of each layer; those of layers that are not there are 0.
    pub widths: [usize; CO_ACTION_LAYERS],
    /// Powers that inputs are raised to: 1 to `orders`.
    pub orders: usize,
    /// Whether each power has a network of its own.
    pub independent: bool,
}

impl CoActionShape {
    /// Inputs and outputs of each layer that is there.
    fn layers(&self) -> impl DoubleEndedIterator<Item = (usize, usize)> + ExactSizeIterator + use<> {
        let count = self.widths.iter().take_while(|width| **width > 0).count();
        let (inputs, widths) = (self.inputs, self.widths);
        (0..count).map(move |layer| (if layer == 0 { inputs } else { widths[layer - 1] }, widths[layer]))
    }

    /// Floats of one network.
    fn network(&self) -> usize {
        self.layers().map(|(inputs, outputs)| inputs * outputs).sum()
    }

    /// Floats of a row of parameters.
    pub fn parameters(&self) -> usize {
        self.network() * if self.independent { self.orders } else { 1 }
    }

    /// Outputs of all layers of one power.
    fn outputs_of_a_power(&self) -> usize {
        self.layers().map(|(_, outputs)| outputs).sum()
    }

    /// Columns of the result.
    pub fn outputs(&self) -> usize {
        self.outputs_of_a_power() * self.orders
    }

    /// Where the network of a power begins in a row of parameters.
    fn start(&self, order: usize) -> usize {
        if self.independent { order * self.network() } else { 0 }
    }
}

/// `hidden` holds the powers, then what each layer makes of them: `[m * orders, width]`, a group's rows together, power
/// by power.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CoAction {
    parameters: Var,
    rows: Var,
    groups: Groups,
    shape: CoActionShape,
    hidden: [Var; CO_ACTION_LAYERS + 1],
}

impl<T: Real> Tape<T> {
    /// The co-action unit (CAN; Bian et al., WSDM 2022). Each row of `parameters`, `[groups, shape.parameters()]`, is cut
    /// into the weights `[in, out]` of a network without biases, row-major, layer after layer. The rows of the group,
    /// `rows` being `[m, inputs]`, are raised to the powers 1, ..., `orders` and each goes through it, with tanh after
    /// each layer but the last. The outputs of every layer, power after power, are summed over the group:
    /// `[groups, shape.outputs()]`. An empty group gives zeros.
    pub fn co_action(&mut self, parameters: Var, rows: Var, groups: Groups, shape: CoActionShape) -> Var {
        let ((n, floats), (m, inputs)) = (self.shape(parameters), self.shape(rows));
        assert_eq!(floats, shape.parameters(), "co_action: a row of parameters holds {shape:?}");
        assert_eq!(inputs, shape.inputs, "co_action: rows are inputs of {shape:?}");
        assert!(shape.layers().len() > 0 && shape.orders > 0, "co_action: at least one layer and one power");
        assert_eq!(self.group_sizes(groups), (n, m), "co_action: a group for each row of parameters");
        let powers = self.push(m * shape.orders, inputs, false, Op::Source);
        let (ends, range) = (std::mem::take(&mut self.ends), self.range(groups));
        let ends_here = &ends[range];
        let (before, out) = self.output(powers);
        raise(before.of(rows), out, ends_here, &shape);
        let mut hidden = [powers; CO_ACTION_LAYERS + 1];
        let mut offset = 0;
        for (at, layer) in shape.layers().enumerate() {
            let act = if at + 1 < shape.layers().len() { Act::Tanh } else { Act::Identity };
            hidden[at + 1] = self.co_action_layer(parameters, hidden[at], ends_here, &shape, (layer, offset), act);
            offset += layer.0 * layer.1;
        }
        let needs_grad = self.needs_grad(parameters) || self.needs_grad(rows);
        let op = CoAction { parameters, rows, groups, shape, hidden };
        let y = self.push(n, shape.outputs(), needs_grad, Op::CoAction(op));
        let (before, out) = self.output(y);
        out.fill(T::ZERO);
        let mut column = 0;
        for (at, (_, width)) in shape.layers().enumerate() {
            let x = before.of(hidden[at + 1]);
            each_power(ends_here, &shape, |group, order, rows| {
                let start = group * shape.outputs() + order * shape.outputs_of_a_power() + column;
                T::column_sum(&x[rows.start * width..rows.end * width], &mut out[start..start + width], false);
            });
            column += width;
        }
        self.ends = ends;
        y
    }

    /// What a layer, whose weights begin at an offset of a network, makes of the rows of `x`.
    fn co_action_layer(
        &mut self,
        parameters: Var,
        x: Var,
        ends: &[u32],
        shape: &CoActionShape,
        ((fan_in, fan_out), offset): ((usize, usize), usize),
        act: Act,
    ) -> Var {
        let (rows, floats) = (self.shape(x).0, shape.parameters());
        let y = self.push(rows, fan_out, false, Op::Source);
        let mut scratch = std::mem::take(&mut self.scratch);
        let (before, out) = self.output(y);
        let (parameters, x) = (before.of(parameters), before.of(x));
        each_network(ends, shape, |group, order, rows| {
            let weights = &parameters[group * floats + shape.start(order) + offset..][..fan_in * fan_out];
            let x = &x[rows.start * fan_in..rows.end * fan_in];
            let y = &mut out[rows.start * fan_out..rows.end * fan_out];
            T::matmul([rows.len(), fan_in, fan_out], x, weights, y, false, &mut scratch.panels);
        });
        T::bias_act(out, &[], fan_out, act);
        self.scratch = scratch;
        y
    }
}

/// Powers of the rows of each group, power by power.
fn raise<T: Real>(rows: &[T], powers: &mut [T], ends: &[u32], shape: &CoActionShape) {
    for run in runs(ends) {
        let stretch = &rows[run.start * shape.inputs..run.end * shape.inputs];
        let all = &mut powers[run.start * shape.orders * shape.inputs..][..stretch.len() * shape.orders];
        let mut done = 0;
        for _ in 0..shape.orders {
            let (before, now) = all.split_at_mut(done);
            let now = &mut now[..stretch.len()];
            match before.len().checked_sub(stretch.len()) {
                None => now.copy_from_slice(stretch),
                Some(last) => {
                    for ((now, &before), &x) in now.iter_mut().zip(&before[last..]).zip(stretch) {
                        *now = before * x;
                    }
                }
            }
            done += stretch.len();
        }
    }
}

/// Calls `visit(group, order, rows)` for the rows of each power of each group that is not empty.
fn each_power(ends: &[u32], shape: &CoActionShape, mut visit: impl FnMut(usize, usize, std::ops::Range<usize>)) {
    for (group, run) in runs(ends).enumerate().filter(|(_, run)| !run.is_empty()) {
        for order in 0..shape.orders {
            let start = run.start * shape.orders + order * run.len();
            visit(group, order, start..start + run.len());
        }
    }
}

/// The same for rows that go through one network: those of all powers at once unless each has its own.
fn each_network(ends: &[u32], shape: &CoActionShape, mut visit: impl FnMut(usize, usize, std::ops::Range<usize>)) {
    if shape.independent {
        return each_power(ends, shape, visit);
    }
    for (group, run) in runs(ends).enumerate().filter(|(_, run)| !run.is_empty()) {
        visit(group, 0, run.start * shape.orders..run.end * shape.orders);
    }
}

impl CoAction {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let CoAction { shape, .. } = self;
        let (m, n) = (tape.shape(self.rows).0, tape.shape(y).0);
        let widest = shape.layers().map(|(a, b)| a.max(b)).max().unwrap_or(0) * m * shape.orders;
        let (of_parameters, of_rows) = (n * shape.parameters(), m * shape.inputs);
        let mut scratch = std::mem::take(&mut tape.scratch);
        scratch.dz.resize(scratch.dz.len().max(2 * widest + of_parameters + of_rows), T::ZERO);
        let (upper, rest) = scratch.dz.split_at_mut(widest);
        let (lower, rest) = rest.split_at_mut(widest);
        let (d_parameters, rest) = rest.split_at_mut(of_parameters);
        let d_rows = &mut rest[..of_rows];
        d_parameters.fill(T::ZERO);
        let (ends, range) = (std::mem::take(&mut tape.ends), tape.range(self.groups));
        let ends_here = &ends[range];
        self.layers_backward(tape, y, ends_here, [upper, lower], d_parameters, &mut scratch.panels);
        let last = if shape.layers().len().is_multiple_of(2) { &*upper } else { &*lower };
        powers_backward(tape.value(self.hidden[0]), last, d_rows, ends_here, &shape);
        for (input, gradient) in [(self.parameters, &*d_parameters), (self.rows, &*d_rows)] {
            let Some(flow) = tape.flow(y, input) else { continue };
            match flow.add {
                true => flow.dx.iter_mut().zip(gradient).for_each(|(dx, &g)| *dx += g),
                false => flow.dx.copy_from_slice(gradient),
            }
        }
        tape.ends = ends;
        tape.scratch = scratch;
    }

    /// Back through all layers, by turns between two buffers: the gradient by powers ends in the one that was not
    /// written in the last turn.
    fn layers_backward<T: Real>(
        self,
        tape: &Tape<T>,
        y: Var,
        ends: &[u32],
        [mut above, mut below]: [&mut [T]; 2],
        d_parameters: &mut [T],
        panels: &mut [Vec<T>; 2],
    ) {
        let CoAction { shape, .. } = self;
        let (parameters, dy) = (tape.value(self.parameters), tape.result(y).1);
        let (floats, layers) = (shape.parameters(), shape.layers().len());
        let (mut offset, mut column) = (shape.network(), shape.outputs_of_a_power());
        for (at, (fan_in, fan_out)) in shape.layers().enumerate().rev() {
            offset -= fan_in * fan_out;
            column -= fan_out;
            let value = tape.value(self.hidden[at + 1]);
            each_power(ends, &shape, |group, order, rows| {
                let start = group * shape.outputs() + order * shape.outputs_of_a_power() + column;
                let dy = &dy[start..start + fan_out];
                for above in above[rows.start * fan_out..rows.end * fan_out].chunks_exact_mut(fan_out) {
                    for (above, &dy) in above.iter_mut().zip(dy) {
                        // Above the last layer there is nothing yet.
                        *above = if at + 1 == layers { dy } else { *above + dy };
                    }
                }
            });
            if at + 1 < layers {
                for (above, &value) in above.iter_mut().zip(value) {
                    *above = *above * (T::ONE - value * value);
                }
            }
            let x = tape.value(self.hidden[at]);
            each_network(ends, &shape, |group, order, rows| {
                let from = group * floats + shape.start(order) + offset;
                let weights = &parameters[from..from + fan_in * fan_out];
                let d_weights = &mut d_parameters[from..from + fan_in * fan_out];
                let (x, dz) =
                    (&x[rows.start * fan_in..rows.end * fan_in], &above[rows.start * fan_out..rows.end * fan_out]);
                T::matmul_at([fan_in, rows.len(), fan_out], x, dz, d_weights, true, panels);
                let dx = &mut below[rows.start * fan_in..rows.end * fan_in];
                T::matmul_bt([rows.len(), fan_out, fan_in], dz, weights, dx, false, panels);
            });
            std::mem::swap(&mut above, &mut below);
        }
    }
}

/// From gradients by powers to those by rows: `d(x^o) = o x^(o-1) dx`.
fn powers_backward<T: Real>(powers: &[T], d_powers: &[T], d_rows: &mut [T], ends: &[u32], shape: &CoActionShape) {
    let width = shape.inputs;
    for run in runs(ends) {
        let len = run.len() * width;
        let d_rows = &mut d_rows[run.start * width..run.end * width];
        let from = run.start * shape.orders * width;
        d_rows.copy_from_slice(&d_powers[from..from + len]);
        for order in 1..shape.orders {
            let factor = T::from_f64(order as f64 + 1.0);
            let before = &powers[from + (order - 1) * len..][..len];
            let dy = &d_powers[from + order * len..][..len];
            for ((dx, &before), &dy) in d_rows.iter_mut().zip(before).zip(dy) {
                *dx += factor * before * dy;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, normal, scalar};

    fn shape(inputs: usize, widths: &[usize], orders: usize, independent: bool) -> CoActionShape {
        let mut all = [0; CO_ACTION_LAYERS];
        all[..widths.len()].copy_from_slice(widths);
        CoActionShape { inputs, widths: all, orders, independent }
    }

    /// 16 -> 8 -> 4 without biases and three powers: rows of 160 and results of 36, as published; 480 if apart.
    #[test]
    fn sizes_are_those_published() {
        let published = shape(16, &[8, 4], 3, false);
        assert_eq!((published.parameters(), published.outputs()), (160, 36));
        assert_eq!(CoActionShape { independent: true, ..published }.parameters(), 480);
    }

    /// The published formula by loops over groups, rows, powers and layers.
    #[test]
    fn equals_loops() {
        for (widths, orders, independent) in
            [(&[3, 2][..], 3, false), (&[3, 2], 2, true), (&[4], 2, false), (&[2, 3, 2], 1, false)]
        {
            let shape = shape(3, widths, orders, independent);
            let lens = [2, 0, 3];
            let (p, q) = (normal(3 * shape.parameters(), 1), normal(5 * 3, 2));
            let mut tape = Tape::<f64>::new();
            let parameters = tape.leaf(3, shape.parameters(), |x| x.copy_from_slice(&p));
            let rows = tape.leaf(5, 3, |x| x.copy_from_slice(&q));
            let groups = tape.groups(lens);
            let y = tape.co_action(parameters, rows, groups, shape);
            let mut next = 0;
            for (i, len) in lens.into_iter().enumerate() {
                let mut expected = vec![0.0; shape.outputs()];
                for _ in 0..len {
                    let (row, mut at) = (&q[next * 3..][..3], 0);
                    next += 1;
                    for order in 1..=orders {
                        let mut h: Vec<f64> = row.iter().map(|x| x.powi(order as i32)).collect();
                        let network = shape.parameters() / if independent { orders } else { 1 };
                        let mut from = i * shape.parameters() + if independent { (order - 1) * network } else { 0 };
                        for (layer, &width) in widths.iter().enumerate() {
                            let z =
                                (0..width).map(|b| (0..h.len()).map(|a| h[a] * p[from + a * width + b]).sum::<f64>());
                            let z: Vec<f64> = z.map(|z| if layer + 1 < widths.len() { z.tanh() } else { z }).collect();
                            from += h.len() * width;
                            z.iter().for_each(|z| {
                                expected[at] += z;
                                at += 1;
                            });
                            h = z;
                        }
                    }
                }
                for (got, expected) in tape.value(y)[i * shape.outputs()..].iter().zip(expected) {
                    assert!((got - expected).abs() < 1e-11, "{shape:?}: {got}, expected {expected}");
                }
            }
        }
    }

    #[test]
    fn gradients_equal_differences() {
        for (widths, orders, independent) in [(&[3, 2][..], 3, false), (&[3, 2], 2, true), (&[2], 2, false)] {
            let shape = shape(2, widths, orders, independent);
            check(&[(3, shape.parameters()), (4, 2)], |tape, v| {
                let groups = tape.groups([3, 0, 1]);
                let y = tape.co_action(v[0], v[1], groups, shape);
                scalar(tape, y)
            });
        }
    }

    /// One power, one layer: rows times the matrix, summed.
    #[test]
    fn one_power_and_one_layer_of_identity_is_the_sum() {
        let shape = shape(2, &[2], 1, false);
        let mut tape = Tape::<f32>::new();
        let parameters = tape.leaf(1, 4, |x| x.copy_from_slice(&[1.0, 0.0, 0.0, 1.0]));
        let rows = tape.leaf(3, 2, |x| x.copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let groups = tape.groups([3]);
        let y = tape.co_action(parameters, rows, groups, shape);
        assert_eq!(tape.value(y), [9.0, 12.0]);
    }

    #[test]
    fn a_row_of_zeros_acts_on_nothing() {
        let shape = shape(16, &[8, 4], 3, false);
        let mut tape = Tape::<f32>::new();
        let parameters = tape.leaf(2, 160, |_| {});
        let rows = tape.leaf(4, 16, |x| x.fill(0.7));
        let groups = tape.groups([1, 3]);
        let y = tape.co_action(parameters, rows, groups, shape);
        assert_eq!(tape.value(y), [0.0; 72]);
    }

    #[test]
    fn f32_follows_f64() {
        let shape = shape(16, &[8, 4], 3, false);
        fn run<T: Real>(shape: CoActionShape) -> [Vec<f64>; 3] {
            let mut tape = Tape::<T>::new();
            let mut leaf = |rows: usize, cols: usize, seed| {
                let x = normal(rows * cols, seed);
                tape.leaf(rows, cols, |leaf| leaf.iter_mut().zip(x).for_each(|(x, v)| *x = T::from_f64(0.3 * v)))
            };
            let (parameters, rows) = (leaf(3, 160, 1), leaf(11, 16, 2));
            let groups = tape.groups([4, 0, 7]);
            let y = tape.co_action(parameters, rows, groups, shape);
            let loss = scalar(&mut tape, y);
            tape.backward(loss);
            let f64s = |x: &[T]| x.iter().map(|x| x.to_f64()).collect();
            [f64s(tape.value(y)), f64s(tape.grad(parameters)), f64s(tape.grad(rows))]
        }
        let (fast, slow) = (run::<f32>(shape), run::<f64>(shape));
        for (fast, slow) in fast.iter().flatten().zip(slow.iter().flatten()) {
            assert!((fast - slow).abs() < 2e-5 * slow.abs().max(1.0), "{fast} against {slow}");
        }
    }
}
