//! Bias and activation, in one pass after a matrix product.

use super::{dispatch, math};
use crate::Real;
use pulp::{Simd, WithSimd};

/// What follows a linear map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Identity,
    /// `max(x, 0)`; its slope at 0 is 0, as in PyTorch.
    Relu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `exp(min(x, 20))`: what would grow past 4.9e8 stays there, without a slope.
    Exp,
}

/// Largest exponent of [`Act::Exp`]: squares of its values are still far from the largest `f32`.
const LARGEST_EXPONENT: f32 = 20.0;

impl Act {
    fn apply<T: Real>(self, x: T) -> T {
        match self {
            Act::Identity => x,
            Act::Relu => x.relu(),
            Act::Sigmoid => x.sigmoid(),
            Act::Tanh => x.tanh(),
            Act::Exp => {
                let largest = T::from_f32(LARGEST_EXPONENT);
                if x > largest { largest.exp() } else { x.exp() }
            }
        }
    }

    /// `dy` times the slope where the value is `y`: each of these slopes is a function of the value.
    fn pull_back<T: Real>(self, y: T, dy: T) -> T {
        match self {
            Act::Identity => dy,
            // Written so that a NaN value passes its gradient on.
            Act::Relu => {
                if y <= T::ZERO {
                    T::ZERO
                } else {
                    dy
                }
            }
            Act::Sigmoid => dy * (y * (T::ONE - y)),
            Act::Tanh => dy * (T::ONE - y * y),
            Act::Exp => {
                if y >= T::from_f32(LARGEST_EXPONENT).exp() {
                    T::ZERO
                } else {
                    dy * y
                }
            }
        }
    }
}

/// `y = act(y + bias)`, rows of `cols`; an empty `bias` is none.
pub(crate) fn plain<T: Real>(y: &mut [T], bias: &[T], cols: usize, act: Act) {
    for row in y.chunks_exact_mut(cols.max(1)) {
        for (y, &bias) in row.iter_mut().zip(bias) {
            *y += bias;
        }
        for y in row {
            *y = act.apply(*y);
        }
    }
}

/// `dz = dy * act'`.
pub(crate) fn plain_backward<T: Real>(y: &[T], dy: &[T], dz: &mut [T], act: Act) {
    for ((dz, &y), &dy) in dz.iter_mut().zip(y).zip(dy) {
        *dz = act.pull_back(y, dy);
    }
}

/// [`plain`] in SIMD.
pub(crate) fn simd(y: &mut [f32], bias: &[f32], cols: usize, act: Act) {
    match act {
        Act::Identity if bias.is_empty() => {}
        _ => dispatch(BiasAct { y, bias, cols, act }),
    }
}

/// [`plain_backward`] in SIMD.
pub(crate) fn simd_backward(y: &[f32], dy: &[f32], dz: &mut [f32], act: Act) {
    dispatch(ActBackward { y, dy, dz, act });
}

impl Act {
    #[inline(always)]
    fn apply_simd<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        match self {
            Act::Identity => x,
            Act::Relu => math::relu(simd, x),
            Act::Sigmoid => math::sigmoid_from(simd, x, math::exp_minus_abs(simd, x)),
            Act::Tanh => math::tanh(simd, x),
            Act::Exp => {
                let largest = simd.splat_f32s(LARGEST_EXPONENT);
                math::exp(simd, simd.select_f32s(simd.less_than_f32s(largest, x), largest, x))
            }
        }
    }

    #[inline(always)]
    fn pull_back_simd<S: Simd>(self, simd: S, y: S::f32s, dy: S::f32s) -> S::f32s {
        let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
        match self {
            Act::Identity => dy,
            Act::Relu => simd.select_f32s(simd.less_than_or_equal_f32s(y, zero), zero, dy),
            Act::Sigmoid => simd.mul_f32s(dy, simd.mul_f32s(y, simd.sub_f32s(one, y))),
            Act::Tanh => simd.mul_f32s(dy, simd.sub_f32s(one, simd.mul_f32s(y, y))),
            Act::Exp => {
                let largest = math::exp(simd, simd.splat_f32s(LARGEST_EXPONENT));
                simd.select_f32s(simd.less_than_or_equal_f32s(largest, y), zero, simd.mul_f32s(dy, y))
            }
        }
    }
}

struct BiasAct<'a> {
    y: &'a mut [f32],
    bias: &'a [f32],
    cols: usize,
    act: Act,
}

impl WithSimd for BiasAct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let BiasAct { y, bias, cols, act } = self;
        if bias.is_empty() {
            let (vectors, tail) = S::as_mut_simd_f32s(y);
            for y in vectors {
                *y = act.apply_simd(simd, *y);
            }
            let last = act.apply_simd(simd, simd.partial_load_f32s(tail));
            return simd.partial_store_f32s(tail, last);
        }
        let (bias, bias_tail) = S::as_simd_f32s(bias);
        let bias_tail = simd.partial_load_f32s(bias_tail);
        for row in y.chunks_exact_mut(cols) {
            let (vectors, tail) = S::as_mut_simd_f32s(row);
            for (y, &bias) in vectors.iter_mut().zip(bias) {
                *y = act.apply_simd(simd, simd.add_f32s(*y, bias));
            }
            if !tail.is_empty() {
                let last = simd.add_f32s(simd.partial_load_f32s(tail), bias_tail);
                simd.partial_store_f32s(tail, act.apply_simd(simd, last));
            }
        }
    }
}

struct ActBackward<'a> {
    y: &'a [f32],
    dy: &'a [f32],
    dz: &'a mut [f32],
    act: Act,
}

impl WithSimd for ActBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (y, y_tail) = S::as_simd_f32s(self.y);
        let (dy, dy_tail) = S::as_simd_f32s(self.dy);
        let (dz, dz_tail) = S::as_mut_simd_f32s(self.dz);
        for ((dz, &y), &dy) in dz.iter_mut().zip(y).zip(dy) {
            *dz = self.act.pull_back_simd(simd, y, dy);
        }
        let (y, dy) = (simd.partial_load_f32s(y_tail), simd.partial_load_f32s(dy_tail));
        simd.partial_store_f32s(dz_tail, self.act.pull_back_simd(simd, y, dy));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::{assert_close, noise, on_every_set, wide};

    const ACTS: [Act; 5] = [Act::Identity, Act::Relu, Act::Sigmoid, Act::Tanh, Act::Exp];
    const EXTREMES: [f32; 11] = [0.0, -0.0, 1e-30, -1e-6, 0.624, 0.626, -20.0, 90.0, -90.0, 1e30, -1e30];

    #[test]
    fn fast_equals_plain_forward() {
        on_every_set(|| {
            for act in ACTS {
                for (rows, cols) in [(0, 5), (1, 1), (3, 16), (5, 37)] {
                    for bias in [noise(cols, 2), Vec::new()] {
                        let y = noise(rows * cols, 1);
                        let (mut expected, mut got) = (wide(&y), y);
                        plain(&mut expected, &wide(&bias), cols, act);
                        simd(&mut got, &bias, cols, act);
                        // A sum below 8 is rounded by up to 2.4e-7, which an exponential takes for relative.
                        let tolerance = if act == Act::Exp { 1e-6 } else { 3e-7 };
                        assert_close(&got, &expected, tolerance, &format!("{act:?} of [{rows}, {cols}]"));
                    }
                }
            }
        });
    }

    #[test]
    fn fast_equals_plain_at_extremes() {
        on_every_set(|| {
            for act in ACTS {
                let (mut expected, mut got) = (wide(&EXTREMES), EXTREMES.to_vec());
                plain(&mut expected, &[], EXTREMES.len(), act);
                simd(&mut got, &[], EXTREMES.len(), act);
                assert_close(&got, &expected, 2e-7, &format!("{act:?}"));
            }
        });
    }

    #[test]
    fn fast_equals_plain_backward() {
        on_every_set(|| {
            for act in ACTS {
                for len in [0, 1, 16, 37] {
                    let (y, dy) = (noise(len, 1), noise(len, 2));
                    let (mut expected, mut got) = (vec![0.0; len], vec![0.0; len]);
                    plain_backward(&wide(&y), &wide(&dy), &mut expected, act);
                    simd_backward(&y, &dy, &mut got, act);
                    assert_close(&got, &expected, 1e-6, &format!("{act:?} backward, {len}"));
                }
            }
        });
    }

    #[test]
    fn nan_stays_nan() {
        on_every_set(|| {
            for act in ACTS {
                let mut y = vec![f32::NAN; 17];
                simd(&mut y, &[], 17, act);
                assert!(y.iter().all(|y| y.is_nan()), "fast {act:?}");
                plain(&mut y, &[], 17, act);
                assert!(y.iter().all(|y| y.is_nan()), "plain {act:?}");
                let (dy, mut dz) = (vec![1.0; 17], vec![0.0; 17]);
                simd_backward(&y, &dy, &mut dz, act);
                assert!(dz.iter().all(|&dz| dz != 0.0), "gradient of {act:?} at NaN");
            }
        });
    }

    #[test]
    fn relu_has_no_slope_at_zero() {
        for zero in [0.0, -0.0] {
            let mut dz = [1.0];
            simd_backward(&[zero], &[1.0], &mut dz, Act::Relu);
            assert_eq!(dz, [0.0]);
        }
    }
}
