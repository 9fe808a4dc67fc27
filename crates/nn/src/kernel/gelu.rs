//! GELU, in its exact form and in the one by a sigmoid.

use super::{dispatch, math};
use crate::Real;
use pulp::{Simd, WithSimd};
use serde::{Deserialize, Serialize};

/// Which curve is called GELU (Hendrycks and Gimpel, 2016): `x` times the probability that a normal variable stays below
/// it, or an approximation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gelu {
    /// `x (1 + erf(x / sqrt 2)) / 2`.
    #[default]
    Erf,
    /// `x / (1 + exp(-1.702 x))`: off by up to 0.02.
    Sigmoid,
}

/// The factor in the approximation by a sigmoid, from the paper.
const STEEPNESS: f64 = 1.702;
/// `sqrt(1 / 2)`.
const HALF_ROOT: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// Height of the normal density: `1 / sqrt(2 pi)`.
const DENSITY: f64 = 0.398_942_280_401_432_7;

impl Gelu {
    /// The share of `x` that passes, and its slope.
    fn gate<T: Real>(self, x: T) -> (T, T) {
        match self {
            Gelu::Erf => {
                let x = x.to_f64();
                let share = 0.5 * (1.0 + erf(x * HALF_ROOT));
                (T::from_f64(share), T::from_f64(DENSITY * (-0.5 * x * x).exp()))
            }
            Gelu::Sigmoid => {
                let steepness = T::from_f64(STEEPNESS);
                let share = (steepness * x).sigmoid();
                (share, steepness * share * (T::ONE - share))
            }
        }
    }
}

/// The error function within some units of the last place: `2 / sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!`, whose
/// terms have one sign, so that nothing cancels. From 6 on it is 1 in `f64`.
fn erf(x: f64) -> f64 {
    /// Terms that are needed at 6: they grow up to the 36th and then fall below 2^-53 of the sum.
    const TERMS: u32 = 200;
    if x.abs() >= 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..TERMS {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
        if term.abs() <= f64::EPSILON * 0.25 * sum.abs() {
            break;
        }
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// `y = gelu(x)`.
pub(crate) fn plain<T: Real>(x: &[T], y: &mut [T], form: Gelu) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = x * form.gate(x).0;
    }
}

/// `dx = dy * gelu'(x)`, or `+=` with `add`.
pub(crate) fn plain_backward<T: Real>(x: &[T], dy: &[T], dx: &mut [T], form: Gelu, add: bool) {
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        let (share, slope) = form.gate(x);
        let g = dy * (share + x * slope);
        *dx = if add { *dx + g } else { g };
    }
}

/// [`plain`] in SIMD.
pub(crate) fn simd(x: &[f32], y: &mut [f32], form: Gelu) {
    dispatch(Forward { x, y, form });
}

/// [`plain_backward`] in SIMD.
pub(crate) fn simd_backward(x: &[f32], dy: &[f32], dx: &mut [f32], form: Gelu, add: bool) {
    dispatch(Backward { x, dy, dx, form, add });
}

impl Gelu {
    /// The share of `x` that passes, and its slope.
    #[inline(always)]
    fn gate_simd<S: Simd>(self, simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
        match self {
            Gelu::Erf => normal(simd, x),
            Gelu::Sigmoid => {
                let steepness = simd.splat_f32s(STEEPNESS as f32);
                let z = simd.mul_f32s(steepness, x);
                let share = math::sigmoid_from(simd, z, math::exp_minus_abs(simd, z));
                let rest = simd.sub_f32s(simd.splat_f32s(1.0), share);
                (share, simd.mul_f32s(steepness, simd.mul_f32s(share, rest)))
            }
        }
    }
}

/// The normal distribution function within 1e-7, and the density: one exponential serves both.
///
/// Abramowitz and Stegun, formula 7.1.26, for the tail beyond `|x|`, so that small shares keep their digits.
#[inline(always)]
fn normal<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    const POLYNOMIAL: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_72, 0.254_829_6];
    let (one, half) = (simd.splat_f32s(1.0), simd.splat_f32s(0.5));
    let magnitude = simd.mul_f32s(simd.abs_f32s(x), simd.splat_f32s(HALF_ROOT as f32));
    let e = math::exp_negative(simd, simd.neg_f32s(simd.mul_f32s(magnitude, magnitude)));
    let t = simd.div_f32s(one, simd.mul_add_e_f32s(magnitude, simd.splat_f32s(0.327_591_1), one));
    let series = simd.mul_f32s(t, math::polynomial(simd, t, &POLYNOMIAL));
    let tail = simd.mul_f32s(half, simd.mul_f32s(series, e));
    let share = simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(0.0)), tail, simd.sub_f32s(one, tail));
    (share, simd.mul_f32s(e, simd.splat_f32s(DENSITY as f32)))
}

struct Forward<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
    form: Gelu,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (x, x_tail) = S::as_simd_f32s(self.x);
        let (y, y_tail) = S::as_mut_simd_f32s(self.y);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = simd.mul_f32s(x, self.form.gate_simd(simd, x).0);
        }
        let x = simd.partial_load_f32s(x_tail);
        simd.partial_store_f32s(y_tail, simd.mul_f32s(x, self.form.gate_simd(simd, x).0));
    }
}

struct Backward<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    form: Gelu,
    add: bool,
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Backward { form, add, .. } = self;
        let (x, x_tail) = S::as_simd_f32s(self.x);
        let (dy, dy_tail) = S::as_simd_f32s(self.dy);
        let (dx, dx_tail) = S::as_mut_simd_f32s(self.dx);
        let old = |dx| if add { dx } else { simd.splat_f32s(0.0) };
        let slope = |x, dy, dx| {
            let (share, slope) = form.gate_simd(simd, x);
            simd.mul_add_e_f32s(dy, simd.mul_add_e_f32s(x, slope, share), old(dx))
        };
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            *dx = slope(x, dy, *dx);
        }
        let [x, dy, before] = [x_tail, dy_tail, &*dx_tail].map(|tail| simd.partial_load_f32s(tail));
        simd.partial_store_f32s(dx_tail, slope(x, dy, before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::{assert_close, noise, on_every_set, wide};

    const FORMS: [Gelu; 2] = [Gelu::Erf, Gelu::Sigmoid];
    const EXTREMES: [f32; 11] = [0.0, -0.0, 1e-30, -1e-6, 0.5, -0.75, -6.0, 9.0, -40.0, 1e15, -1e15];

    /// Values of Python 3's `math.erf`.
    #[test]
    fn the_error_function_is_precise() {
        for (x, expected) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (-1.0, -0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (-4.5, -0.999_999_999_803_383_9),
            (7.0, 1.0),
        ] {
            assert!((erf(x) - expected).abs() <= 4.0 * f64::EPSILON, "erf({x}) is {}, expected {expected}", erf(x));
        }
        assert!(erf(f64::NAN).is_nan());
    }

    /// By PyTorch 2.15: `torch.nn.functional.gelu` in float64 at -1 and 2; the other form by hand.
    #[test]
    fn known_values() {
        let mut y = [0.0; 2];
        plain(&[-1.0, 2.0], &mut y, Gelu::Erf);
        assert!((y[0] + 0.158_655_253_931_457_05).abs() < 1e-15 && (y[1] - 1.954_499_736_103_641_6).abs() < 1e-15);
        plain(&[-1.0, 2.0], &mut y, Gelu::Sigmoid);
        assert!((y[0] + 1.0 / (1.0 + 1.702f64.exp())).abs() < 1e-15);
        assert!((y[1] - 2.0 / (1.0 + (-3.404f64).exp())).abs() < 1e-15);
    }

    #[test]
    fn fast_equals_plain() {
        on_every_set(|| {
            for form in FORMS {
                for x in [noise(0, 1), noise(1, 1), noise(16, 1), noise(37, 1), EXTREMES.to_vec()] {
                    let (mut expected, mut got) = (vec![0.0; x.len()], vec![f32::NAN; x.len()]);
                    plain(&wide(&x), &mut expected, form);
                    simd(&x, &mut got, form);
                    assert_close(&got, &expected, 5e-7, &format!("{form:?}"));
                }
            }
        });
    }

    #[test]
    fn fast_equals_plain_backward() {
        on_every_set(|| {
            for (form, add) in FORMS.into_iter().flat_map(|form| [(form, false), (form, true)]) {
                for x in [noise(0, 1), noise(16, 1), noise(37, 1), EXTREMES.to_vec()] {
                    let (dy, old) = (noise(x.len(), 2), noise(x.len(), 3));
                    let (mut expected, mut got) = (wide(&old), old);
                    plain_backward(&wide(&x), &wide(&dy), &mut expected, form, add);
                    simd_backward(&x, &dy, &mut got, form, add);
                    assert_close(&got, &expected, 2e-6, &format!("{form:?}, add {add}"));
                }
            }
        });
    }

    #[test]
    fn nan_stays_nan() {
        on_every_set(|| {
            for form in FORMS {
                let (x, mut y, mut dx) = ([f32::NAN; 17], [0.0; 17], [0.0; 17]);
                simd(&x, &mut y, form);
                simd_backward(&x, &[1.0; 17], &mut dx, form, false);
                assert!(y.iter().chain(&dx).all(|x| x.is_nan()), "fast {form:?}");
                plain(&x, &mut y, form);
                assert!(y.iter().all(|y| y.is_nan()), "plain {form:?}");
            }
        });
    }
}
