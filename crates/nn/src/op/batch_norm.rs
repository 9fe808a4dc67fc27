//! Batch normalisation.

use super::Op;
use crate::optim::dispatch;
use crate::{Real, Tape, Var};

/// `mean` and `inverse` (of the standard deviation) are `[1, cols]` each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchNorm {
    x: Var,
    mean: Var,
    inverse: Var,
    affine: Option<(Var, Var)>,
    /// Whether mean and deviation are those of `x` itself, so that gradients go through them.
    of_batch: bool,
}

/// A normalised matrix and what it was normalised by.
#[derive(Debug, Clone, Copy)]
pub struct Normalised {
    /// The result `[n, cols]`.
    pub y: Var,
    /// Means of the columns, `[1, cols]`; no gradient.
    pub mean: Var,
    /// Variances of the columns with divisor `n - 1`, `[1, cols]`: what running statistics are made of; no gradient.
    pub variance: Var,
}

impl<T: Real> Tape<T> {
    /// Batch normalisation in training (Ioffe and Szegedy, ICML 2015): `(x - mean) / sqrt(var + epsilon) * scale +
    /// shift` by columns, with the batch's own mean and variance (divisor `n`). `x` is `[n, cols]` with at least two
    /// rows; `affine` is (scale, shift), `[1, cols]` each. As in PyTorch, the variance handed on has divisor `n - 1`.
    ///
    /// With `g = dy * scale` and `h` the normalised `x`: `dx = (g - mean(g) - h mean(g h)) / sqrt(var + epsilon)`.
    pub fn batch_norm(&mut self, x: Var, affine: Option<(Var, Var)>, epsilon: f64) -> Normalised {
        let (n, cols) = self.shape(x);
        assert!(n > 1, "batch_norm: {n} rows have no variance; normalise by running statistics");
        let mean = self.push(1, cols, false, Op::Source);
        let (before, out) = self.output(mean);
        let share = T::ONE / T::from_f64(n as f64);
        T::column_sum(before.of(x), out, false);
        out.iter_mut().for_each(|sum| *sum = *sum * share);
        let variance = self.push(1, cols, false, Op::Source);
        let (before, out) = self.output(variance);
        squares(before.of(x), before.of(mean), out);
        let biased = self.push(1, cols, false, Op::Source);
        let (_, [variance_out, biased_out]) = self.output_pair(variance, biased);
        for (variance, biased) in variance_out.iter_mut().zip(biased_out) {
            *biased = *variance * share;
            *variance = *variance * (T::ONE / T::from_f64((n - 1) as f64));
        }
        let y = self.normalise(x, mean, biased, affine, epsilon, true);
        Normalised { y, mean, variance }
    }

    /// The same by given statistics, `[1, cols]` each, which get no gradient: batch normalisation in serving.
    pub fn normalise_by(&mut self, x: Var, mean: Var, variance: Var, affine: Option<(Var, Var)>, epsilon: f64) -> Var {
        self.normalise(x, mean, variance, affine, epsilon, false)
    }

    fn normalise(
        &mut self,
        x: Var,
        mean: Var,
        variance: Var,
        affine: Option<(Var, Var)>,
        epsilon: f64,
        of_batch: bool,
    ) -> Var {
        let (n, cols) = self.shape(x);
        for row in [mean, variance].into_iter().chain(affine.into_iter().flat_map(|(scale, shift)| [scale, shift])) {
            assert_eq!(self.shape(row), (1, cols), "batch_norm: one number for each of {cols} columns");
        }
        let inverse = self.push(1, cols, false, Op::Source);
        let (before, out) = self.output(inverse);
        let epsilon = T::from_f64(epsilon);
        for (inverse, &variance) in out.iter_mut().zip(before.of(variance)) {
            *inverse = T::ONE / (variance + epsilon).sqrt();
        }
        let inputs = [Some(x), affine.map(|(scale, _)| scale), affine.map(|(_, shift)| shift)];
        let needs_grad = inputs.into_iter().flatten().any(|v| self.needs_grad(v));
        let y = self.push(n, cols, needs_grad, Op::BatchNorm(BatchNorm { x, mean, inverse, affine, of_batch }));
        let (before, out) = self.output(y);
        let (x, mean, inverse) = (before.of(x), before.of(mean), before.of(inverse));
        let affine = affine.map(|(scale, shift)| (before.of(scale), before.of(shift)));
        dispatch(
            #[inline(always)]
            || {
                for (x, y) in x.chunks_exact(cols.max(1)).zip(out.chunks_exact_mut(cols.max(1))) {
                    for c in 0..cols {
                        y[c] = (x[c] - mean[c]) * inverse[c];
                    }
                    if let Some((scale, shift)) = affine {
                        for c in 0..cols {
                            y[c] = y[c] * scale[c] + shift[c];
                        }
                    }
                }
            },
        );
        y
    }
}

/// Column sums of `(x - mean)^2`.
fn squares<T: Real>(x: &[T], mean: &[T], sums: &mut [T]) {
    sums.fill(T::ZERO);
    let cols = sums.len();
    dispatch(
        #[inline(always)]
        || {
            for row in x.chunks_exact(cols.max(1)) {
                for c in 0..cols {
                    let off = row[c] - mean[c];
                    sums[c] += off * off;
                }
            }
        },
    );
}

impl BatchNorm {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let (n, cols) = tape.shape(y);
        let mut scratch = std::mem::take(&mut tape.scratch);
        scratch.dz.resize(scratch.dz.len().max(2 * cols), T::ZERO);
        let (sums, products) = scratch.dz[..2 * cols].split_at_mut(cols);
        let [x, mean, inverse] = [self.x, self.mean, self.inverse].map(|v| tape.value(v));
        sums_and_products(tape.result(y).1, (x, mean, inverse), sums, products);
        if let Some((scale, shift)) = self.affine {
            for (parameter, sums) in [(scale, &*products), (shift, &*sums)] {
                let Some(flow) = tape.flow(y, parameter) else { continue };
                for (dx, &sum) in flow.dx.iter_mut().zip(sums) {
                    *dx = if flow.add { *dx + sum } else { sum };
                }
            }
        }
        let share = if self.of_batch { T::ONE / T::from_f64(n as f64) } else { T::ZERO };
        sums.iter_mut().chain(products.iter_mut()).for_each(|sum| *sum = *sum * share);
        if let Some(flow) = tape.flow(y, self.x) {
            let [x, mean, inverse] = [self.x, self.mean, self.inverse].map(|v| flow.values.of(v));
            let scale = self.affine.map(|(scale, _)| flow.values.of(scale));
            let way = Way { x, mean, inverse, scale, sums, products };
            way.back(flow.dy, flow.dx, flow.add);
        }
        tape.scratch = scratch;
    }
}

/// What the gradient by the input is made of: column means of `dy` and of its products go off, where they are the
/// batch's own.
struct Way<'a, T> {
    x: &'a [T],
    mean: &'a [T],
    inverse: &'a [T],
    scale: Option<&'a [T]>,
    sums: &'a [T],
    products: &'a [T],
}

impl<T: Real> Way<'_, T> {
    fn back(self, dy: &[T], dx: &mut [T], add: bool) {
        let Way { x, mean, inverse, scale, sums, products } = self;
        let cols = mean.len();
        dispatch(
            #[inline(always)]
            || {
                let rows = x.chunks_exact(cols.max(1)).zip(dy.chunks_exact(cols.max(1)));
                for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(cols.max(1))) {
                    for c in 0..cols {
                        let h = (x[c] - mean[c]) * inverse[c];
                        let scale = scale.map_or(T::ONE, |scale| scale[c]);
                        let g = (dy[c] - sums[c] - h * products[c]) * inverse[c] * scale;
                        dx[c] = if add { dx[c] + g } else { g };
                    }
                }
            },
        );
    }
}

/// Column sums of `dy` and of `dy` times the normalised `x`.
fn sums_and_products<T: Real>(dy: &[T], (x, mean, inverse): (&[T], &[T], &[T]), sums: &mut [T], products: &mut [T]) {
    let cols = sums.len();
    sums.fill(T::ZERO);
    products.fill(T::ZERO);
    dispatch(
        #[inline(always)]
        || {
            for (x, dy) in x.chunks_exact(cols.max(1)).zip(dy.chunks_exact(cols.max(1))) {
                for c in 0..cols {
                    sums[c] += dy[c];
                    products[c] += dy[c] * ((x[c] - mean[c]) * inverse[c]);
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, normal, scalar};

    #[test]
    fn gradients_equal_differences() {
        check(&[(5, 3), (1, 3), (1, 3)], |tape, v| {
            let normalised = tape.batch_norm(v[0], Some((v[1], v[2])), 1e-5);
            let both = tape.concat(&[normalised.y, v[0]]);
            scalar(tape, both)
        });
        check(&[(2, 3)], |tape, v| {
            let normalised = tape.batch_norm(v[0], None, 0.1);
            scalar(tape, normalised.y)
        });
    }

    #[test]
    fn gradients_by_given_statistics_equal_differences() {
        check(&[(1, 3), (1, 3), (1, 3)], |tape, v| {
            let mean = tape.constant(1, 3, |mean| mean.copy_from_slice(&[0.1, -0.5, 2.0]));
            let variance = tape.constant(1, 3, |variance| variance.copy_from_slice(&[1.5, 0.2, 3.0]));
            let y = tape.normalise_by(v[0], mean, variance, Some((v[1], v[2])), 1e-5);
            scalar(tape, y)
        });
    }

    /// Columns (1, 3) and (0, 4): means 2 and 2, variances 1 and 4 by n, 2 and 8 by n - 1.
    #[test]
    fn values_by_hand() {
        let mut tape = Tape::<f64>::new();
        let x = tape.leaf(2, 2, |x| x.copy_from_slice(&[1.0, 0.0, 3.0, 4.0]));
        let normalised = tape.batch_norm(x, None, 0.0);
        assert_eq!(tape.value(normalised.y), [-1.0, -1.0, 1.0, 1.0]);
        assert_eq!(tape.value(normalised.mean), [2.0, 2.0]);
        assert_eq!(tape.value(normalised.variance), [2.0, 8.0]);
    }

    /// By the batch's own statistics both ways agree.
    #[test]
    fn serving_by_the_statistics_of_the_batch_is_training() {
        let mut tape = Tape::<f64>::new();
        let x = tape.leaf(6, 4, |x| x.copy_from_slice(&normal(24, 1)));
        let normalised = tape.batch_norm(x, None, 1e-5);
        let variance: Vec<f64> = tape.value(normalised.variance).iter().map(|v| v * 5.0 / 6.0).collect();
        let variance = tape.constant(1, 4, |out| out.copy_from_slice(&variance));
        let y = tape.normalise_by(x, normalised.mean, variance, None, 1e-5);
        for (a, b) in tape.value(y).iter().zip(tape.value(normalised.y)) {
            assert!((a - b).abs() < 1e-14);
        }
    }

    #[test]
    fn a_constant_column_becomes_zero() {
        let mut tape = Tape::<f32>::new();
        let x = tape.leaf(4, 1, |x| x.fill(3.0));
        let normalised = tape.batch_norm(x, None, 1e-5);
        assert_eq!(tape.value(normalised.y), [0.0; 4]);
    }

    #[test]
    #[should_panic(expected = "batch_norm: 1 rows have no variance")]
    fn one_row_is_refused() {
        let mut tape = Tape::<f32>::new();
        let x = tape.leaf(1, 2, |_| {});
        tape.batch_norm(x, None, 1e-5);
    }
}
