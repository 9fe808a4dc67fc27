//! Activations with a learned slope: PReLU and Dice.

use super::Op;
use crate::optim::dispatch;
use crate::{Real, Tape, Var};

/// `y = gate * x + (1 - gate) * alpha * x`, where the gate is 1 for positive `x` or a sigmoid of `normalised`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prelu {
    x: Var,
    alpha: Var,
    /// For Dice: what the gate is the sigmoid of, and the gate `[n, cols]`.
    soft: Option<(Var, Var)>,
}

impl<T: Real> Tape<T> {
    /// `max(x, 0) + alpha min(x, 0)` with one slope for each column (He et al., ICCV 2015): `x` is `[n, cols]`, `alpha`
    /// `[1, cols]`. The slope by `x` at 0 is `alpha`.
    pub fn prelu(&mut self, x: Var, alpha: Var) -> Var {
        let (n, cols) = self.shape(x);
        assert_eq!(self.shape(alpha), (1, cols), "prelu: one slope for each of {cols} columns");
        let needs_grad = self.needs_grad(x) || self.needs_grad(alpha);
        let y = self.push(n, cols, needs_grad, Op::Prelu(Prelu { x, alpha, soft: None }));
        let (before, out) = self.output(y);
        let (x, alpha) = (before.of(x), before.of(alpha));
        each(x, out, cols, |x, c| if x > T::ZERO { x } else { alpha[c] * x });
        y
    }

    /// `p x + (1 - p) alpha x` with `p = sigmoid(normalised)` (Dice; Zhou et al., KDD 2018): all are `[n, cols]`, `alpha`
    /// is `[1, cols]`. `normalised` is `x` after batch normalisation without scale and shift.
    pub fn dice(&mut self, x: Var, normalised: Var, alpha: Var) -> Var {
        let (n, cols) = self.shape(x);
        assert_eq!(self.shape(normalised), (n, cols), "dice: the normalised matrix has the shape of x");
        assert_eq!(self.shape(alpha), (1, cols), "dice: one slope for each of {cols} columns");
        let needs_grad = [x, normalised, alpha].into_iter().any(|v| self.needs_grad(v));
        let gate = self.push(n, cols, false, Op::Source);
        let (before, out) = self.output(gate);
        out.copy_from_slice(before.of(normalised));
        T::bias_act(out, &[], cols, crate::Act::Sigmoid);
        let y = self.push(n, cols, needs_grad, Op::Prelu(Prelu { x, alpha, soft: Some((normalised, gate)) }));
        let (before, out) = self.output(y);
        let (x, alpha, gate) = (before.of(x), before.of(alpha), before.of(gate));
        out.copy_from_slice(gate);
        each_in_place(out, x, cols, |p, x, c| x * (alpha[c] + p * (T::ONE - alpha[c])));
        y
    }
}

impl Prelu {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let cols = tape.shape(y).1;
        if let Some(flow) = tape.flow(y, self.alpha) {
            let (x, dy, slopes) = (flow.values.of(self.x), flow.dy, flow.dx);
            if !flow.add {
                slopes.fill(T::ZERO);
            }
            match self.soft.map(|(_, gate)| flow.values.of(gate)) {
                Some(gate) => sum_columns(dy, x, gate, slopes, |dy, x, gate| dy * x * (T::ONE - gate)),
                None => sum_columns(dy, x, x, slopes, |dy, x, _| if x > T::ZERO { T::ZERO } else { dy * x }),
            }
        }
        if let Some(flow) = tape.flow(y, self.x) {
            let (alpha, x) = (flow.values.of(self.alpha), flow.values.of(self.x));
            let (dy, add) = (flow.dy, flow.add);
            match self.soft.map(|(_, gate)| flow.values.of(gate)) {
                Some(gate) => {
                    pull_back(dy, [gate, gate], flow.dx, add, cols, |[p, _], c| alpha[c] + p * (T::ONE - alpha[c]))
                }
                None => {
                    pull_back(dy, [x, x], flow.dx, add, cols, |[x, _], c| if x > T::ZERO { T::ONE } else { alpha[c] })
                }
            }
        }
        let Some((normalised, gate)) = self.soft else { return };
        if let Some(flow) = tape.flow(y, normalised) {
            let (alpha, x, gate) = (flow.values.of(self.alpha), flow.values.of(self.x), flow.values.of(gate));
            pull_back(flow.dy, [gate, x], flow.dx, flow.add, cols, |[p, x], c| {
                x * (T::ONE - alpha[c]) * p * (T::ONE - p)
            });
        }
    }
}

/// `y = f(x, column)`.
#[inline(always)]
fn each<T: Real>(x: &[T], y: &mut [T], cols: usize, f: impl Fn(T, usize) -> T) {
    dispatch(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(cols.max(1)).zip(y.chunks_exact_mut(cols.max(1))) {
                for c in 0..cols {
                    y[c] = f(x[c], c);
                }
            }
        },
    );
}

/// `y = f(y, x, column)`.
#[inline(always)]
fn each_in_place<T: Real>(y: &mut [T], x: &[T], cols: usize, f: impl Fn(T, T, usize) -> T) {
    dispatch(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(cols.max(1)).zip(y.chunks_exact_mut(cols.max(1))) {
                for c in 0..cols {
                    y[c] = f(y[c], x[c], c);
                }
            }
        },
    );
}

/// `dx = dy * slope(from, column)`, or `+=`.
#[inline(always)]
fn pull_back<T: Real>(
    dy: &[T],
    from: [&[T]; 2],
    dx: &mut [T],
    add: bool,
    cols: usize,
    slope: impl Fn([T; 2], usize) -> T,
) {
    dispatch(
        #[inline(always)]
        || {
            for (row, dx) in dx.chunks_exact_mut(cols.max(1)).enumerate() {
                let [dy, first, second] = [dy, from[0], from[1]].map(|all| &all[row * cols..][..cols]);
                for c in 0..cols {
                    let g = dy[c] * slope([first[c], second[c]], c);
                    dx[c] = if add { dx[c] + g } else { g };
                }
            }
        },
    );
}

/// `sums += f(dy, x, gate)`, summed over rows.
#[inline(always)]
fn sum_columns<T: Real>(dy: &[T], x: &[T], gate: &[T], sums: &mut [T], f: impl Fn(T, T, T) -> T) {
    let cols = sums.len();
    dispatch(
        #[inline(always)]
        || {
            for (row, dy) in dy.chunks_exact(cols.max(1)).enumerate() {
                let [x, gate] = [x, gate].map(|all| &all[row * cols..][..cols]);
                for c in 0..cols {
                    sums[c] += f(dy[c], x[c], gate[c]);
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Act;
    use crate::op::tests::{check, normal, scalar};

    #[test]
    fn gradients_equal_differences() {
        check(&[(3, 4), (1, 4)], |tape, v| {
            let y = tape.prelu(v[0], v[1]);
            let both = tape.concat(&[y, v[0]]);
            scalar(tape, both)
        });
        check(&[(4, 3), (1, 3)], |tape, v| {
            let normalised = tape.batch_norm(v[0], None, 1e-5);
            let y = tape.dice(v[0], normalised.y, v[1]);
            scalar(tape, y)
        });
    }

    #[test]
    fn values_by_hand() {
        let mut tape = Tape::<f32>::new();
        let x = tape.leaf(2, 2, |x| x.copy_from_slice(&[2.0, -3.0, -1.0, 4.0]));
        let alpha = tape.leaf(1, 2, |a| a.copy_from_slice(&[0.5, 0.1]));
        let prelu = tape.prelu(x, alpha);
        assert_eq!(tape.value(prelu), [2.0, -0.3, -0.5, 4.0]);
        // A gate of one half: x (1 + alpha) / 2.
        let zero = tape.constant(2, 2, |_| {});
        let dice = tape.dice(x, zero, alpha);
        for (got, expected) in tape.value(dice).iter().zip([1.5, -1.65, -0.75, 2.2]) {
            assert!((got - expected).abs() < 1e-6, "{got}, expected {expected}");
        }
    }

    #[test]
    fn with_a_slope_of_zero_prelu_is_relu() {
        let mut tape = Tape::<f32>::new();
        let x = tape.leaf(5, 7, |x| x.iter_mut().zip(normal(35, 1)).for_each(|(x, v)| *x = v as f32));
        let alpha = tape.leaf(1, 7, |_| {});
        let (prelu, relu) = (tape.prelu(x, alpha), tape.activate(x, Act::Relu));
        assert_eq!(tape.value(prelu), tape.value(relu));
    }
}
