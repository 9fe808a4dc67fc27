//! The cross layer of DCN.

use super::Op;
use crate::optim::dispatch;
use crate::{Real, Tape, Var};

/// `dots` holds `x . w` of each row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cross {
    x0: Var,
    x: Var,
    w: Var,
    b: Var,
    dots: Var,
}

impl<T: Real> Tape<T> {
    /// `x0 (x . w) + b + x` (Wang et al., ADKDD 2017): `x0` and `x` are `[n, cols]`, `w` is `[cols, 1]`, `b` is
    /// `[1, cols]`; returns `[n, cols]`. The first layer takes one matrix for `x0` and `x`.
    ///
    /// With `t = dy . x0` per row: `dx = dy + t w^T`, `dx0 = dy (x . w)`, `dw = x^T t`, `db` = column sums of `dy`.
    pub fn cross(&mut self, x0: Var, x: Var, w: Var, b: Var) -> Var {
        let (n, cols) = self.shape(x);
        assert_eq!(self.shape(x0), (n, cols), "cross: x0 has the shape of x");
        assert_eq!(self.shape(w), (cols, 1), "cross: one weight for each of {cols} columns");
        assert_eq!(self.shape(b), (1, cols), "cross: one bias for each of {cols} columns");
        let needs_grad = [x0, x, w, b].into_iter().any(|v| self.needs_grad(v));
        let dots = self.push(n, 1, false, Op::Source);
        let mut scratch = std::mem::take(&mut self.scratch);
        let (before, out) = self.output(dots);
        T::matmul([n, cols, 1], before.of(x), before.of(w), out, false, &mut scratch.panels);
        self.scratch = scratch;
        let y = self.push(n, cols, needs_grad, Op::Cross(Cross { x0, x, w, b, dots }));
        let (before, out) = self.output(y);
        let (x0, x, b, dots) = (before.of(x0), before.of(x), before.of(b), before.of(dots));
        dispatch(
            #[inline(always)]
            || {
                for (i, &dot) in dots.iter().enumerate() {
                    let (x0, x, y) = (&x0[i * cols..][..cols], &x[i * cols..][..cols], &mut out[i * cols..][..cols]);
                    for c in 0..cols {
                        y[c] = x0[c] * dot + b[c] + x[c];
                    }
                }
            },
        );
        y
    }
}

impl Cross {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let (n, cols) = tape.shape(y);
        let mut scratch = std::mem::take(&mut tape.scratch);
        scratch.dz.resize(scratch.dz.len().max(n), T::ZERO);
        let t = &mut scratch.dz[..n];
        row_dots(tape.result(y).1, tape.value(self.x0), t);
        if let Some(flow) = tape.flow(y, self.b) {
            T::column_sum(flow.dy, flow.dx, flow.add);
        }
        if let Some(flow) = tape.flow(y, self.w) {
            T::matmul_at([cols, n, 1], flow.values.of(self.x), t, flow.dx, flow.add, &mut scratch.panels);
        }
        if let Some(flow) = tape.flow(y, self.x0) {
            let dots = flow.values.of(self.dots);
            each_element(flow.dy, flow.dx, flow.add, cols, |dy, i, _| dy * dots[i]);
        }
        if let Some(flow) = tape.flow(y, self.x) {
            let w = flow.values.of(self.w);
            each_element(flow.dy, flow.dx, flow.add, cols, |dy, i, c| dy + t[i] * w[c]);
        }
        tape.scratch = scratch;
    }
}

/// `dx = f(dy, row, column)`, or `+=`.
fn each_element<T: Real>(dy: &[T], dx: &mut [T], add: bool, cols: usize, f: impl Fn(T, usize, usize) -> T) {
    dispatch(
        #[inline(always)]
        || {
            for (i, (dy, dx)) in dy.chunks_exact(cols.max(1)).zip(dx.chunks_exact_mut(cols.max(1))).enumerate() {
                for c in 0..cols {
                    let g = f(dy[c], i, c);
                    dx[c] = if add { dx[c] + g } else { g };
                }
            }
        },
    );
}

fn row_dots<T: Real>(a: &[T], b: &[T], dots: &mut [T]) {
    let cols = a.len().checked_div(dots.len()).unwrap_or(0).max(1);
    for ((dot, a), b) in dots.iter_mut().zip(a.chunks_exact(cols)).zip(b.chunks_exact(cols)) {
        *dot = T::ZERO;
        a.iter().zip(b).for_each(|(&a, &b)| *dot += a * b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, scalar};

    /// By hand: x0 = (1, 2), x = (3, -1), w = (2, 1), so x . w = 5; b = (0.5, 0).
    #[test]
    fn values_by_hand() {
        let mut tape = Tape::<f32>::new();
        let x0 = tape.leaf(1, 2, |x| x.copy_from_slice(&[1.0, 2.0]));
        let x = tape.leaf(1, 2, |x| x.copy_from_slice(&[3.0, -1.0]));
        let w = tape.leaf(2, 1, |w| w.copy_from_slice(&[2.0, 1.0]));
        let b = tape.leaf(1, 2, |b| b.copy_from_slice(&[0.5, 0.0]));
        let y = tape.cross(x0, x, w, b);
        assert_eq!(tape.value(y), [8.5, 9.0]);
    }

    #[test]
    fn gradients_equal_differences() {
        for n in [0, 1, 3] {
            check(&[(n, 4), (n, 4), (4, 1), (1, 4)], |tape, v| {
                let y = tape.cross(v[0], v[1], v[2], v[3]);
                scalar(tape, y)
            });
        }
    }

    /// Two layers of one weight, the first with one matrix for both inputs: every gradient is a sum.
    #[test]
    fn gradients_of_shared_inputs_add_up() {
        check(&[(3, 4), (4, 1), (1, 4)], |tape, v| {
            let first = tape.cross(v[0], v[0], v[1], v[2]);
            let second = tape.cross(v[0], first, v[1], v[2]);
            scalar(tape, second)
        });
    }
}
