//! Elementary functions on vectors of `f32`. NaN in, NaN out.

use pulp::Simd;

/// `exp(x)` for `x <= 0`, within 2 units of the last place; below -87 it stays at `exp(-87)`, about 1.6e-38.
///
/// Cephes `expf` (Moshier): `x = n ln 2 + r` and a polynomial of degree 7 in `r`.
#[inline(always)]
pub(crate) fn exp_negative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const POLYNOMIAL: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
    // Added to a small number, it leaves the nearest integer in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    let lowest = simd.splat_f32s(-87.0);
    let x = simd.select_f32s(simd.less_than_f32s(x, lowest), lowest, x);
    let shifted = simd.mul_add_e_f32s(x, simd.splat_f32s(std::f32::consts::LOG2_E), simd.splat_f32s(ROUND));
    let n = simd.sub_f32s(shifted, simd.splat_f32s(ROUND));
    // ln 2 in two parts, the first of which is exact times n.
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-0.693_359_4), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(2.121_944_4e-4), r);
    let series = polynomial(simd, r, &POLYNOMIAL);
    let value = simd.mul_add_e_f32s(series, simd.mul_f32s(r, r), simd.add_f32s(r, simd.splat_f32s(1.0)));
    let exponent = simd.add_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(127));
    let power = simd.wrapping_dyn_shl_u32s(exponent, simd.splat_u32s(23));
    simd.mul_f32s(value, simd.transmute_f32s_u32s(power))
}

/// `ln(1 + x)` for `0 <= x <= 1`, with a small relative error also near 0.
///
/// `2 artanh(x / (2 + x))` by its series, whose argument is at most 1/3: eight terms leave 1e-9.
#[inline(always)]
pub(crate) fn ln_1p_unit<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const POLYNOMIAL: [f32; 8] = [2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0, 2.0];
    let s = simd.div_f32s(x, simd.add_f32s(x, simd.splat_f32s(2.0)));
    simd.mul_f32s(s, polynomial(simd, simd.mul_f32s(s, s), &POLYNOMIAL))
}

/// `1 / (1 + exp(-x))`, from `e = exp(-|x|)`.
#[inline(always)]
pub(crate) fn sigmoid_from<S: Simd>(simd: S, x: S::f32s, e: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let small = simd.div_f32s(e, simd.add_f32s(one, e));
    simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(0.0)), small, simd.sub_f32s(one, small))
}

/// `exp(-|x|)`.
#[inline(always)]
pub(crate) fn exp_minus_abs<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    exp_negative(simd, simd.neg_f32s(simd.abs_f32s(x)))
}

/// Hyperbolic tangent: Cephes `tanhf`'s polynomial up to 0.625, where the quotient of exponentials would cancel.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const POLYNOMIAL: [f32; 5] = [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1];
    let (one, magnitude) = (simd.splat_f32s(1.0), simd.abs_f32s(x));
    let square = simd.mul_f32s(x, x);
    let series = polynomial(simd, square, &POLYNOMIAL);
    let near = simd.mul_add_e_f32s(simd.mul_f32s(series, square), x, x);
    let e = exp_negative(simd, simd.mul_f32s(magnitude, simd.splat_f32s(-2.0)));
    let far = simd.div_f32s(simd.sub_f32s(one, e), simd.add_f32s(one, e));
    let far = simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(0.0)), simd.neg_f32s(far), far);
    simd.select_f32s(simd.less_than_f32s(magnitude, simd.splat_f32s(0.625)), near, far)
}

/// `exp(x)` within 3 units of the last place for `|x| <= 87`; beyond, as at those limits.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (zero, small) = (simd.splat_f32s(0.0), exp_minus_abs(simd, x));
    simd.select_f32s(simd.less_than_f32s(zero, x), simd.div_f32s(simd.splat_f32s(1.0), small), small)
}

/// [`sigmoid_from`] for those who need no exponential besides: within 1e-7, and half as many instructions.
///
/// `1 / (1 + 2^(-x / ln 2))`.
#[inline(always)]
pub(crate) fn quick_sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let Power { scale, r, slope } = power_of_two(simd, clamp(simd, x, 86.0), -std::f32::consts::LOG2_E);
    let fraction = simd.mul_add_e_f32s(r, slope, one);
    simd.div_f32s(one, simd.mul_add_e_f32s(fraction, scale, one))
}

/// [`tanh`] within 1.5e-7, and near zero within a millionth of itself, with a third of its instructions.
///
/// `e / (e + 2)` for `e = exp(2 x) - 1`, which is found without cancellation; from 9.5 on it is 1 in `f32`.
#[inline(always)]
pub(crate) fn quick_tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let Power { scale, r, slope } = power_of_two(simd, clamp(simd, x, 9.5), 2.0 * std::f32::consts::LOG2_E);
    let scale_less_one = simd.sub_f32s(scale, simd.splat_f32s(1.0));
    let e = simd.mul_add_e_f32s(simd.mul_f32s(r, slope), scale, scale_less_one);
    simd.div_f32s(e, simd.add_f32s(e, simd.splat_f32s(2.0)))
}

/// A power of two, `scale * (1 + r * slope)`.
struct Power<V> {
    scale: V,
    r: V,
    slope: V,
}

/// `2^(x factor)` for results from 2^-126 to below 2^127, within 1e-7 of itself.
#[inline(always)]
fn power_of_two<S: Simd>(simd: S, x: S::f32s, factor: f32) -> Power<S::f32s> {
    // (2^r - 1) / r for |r| <= 1/2, fitted for the least error relative to 2^r.
    #[expect(clippy::approx_constant, reason = "fitted with the others; ln 2 itself would be less precise")]
    const POLYNOMIAL: [f32; 5] = [1.326_472_7e-3, 9.671_513e-3, 5.550_733_6e-2, 2.402_224_2e-1, 6.931_47e-1];
    // Leaves the nearest integer in the low bits of the sum, with the bias of exponents on top.
    const ROUND: f32 = 12_582_912.0 + 127.0; // 1.5 * 2^23
    let (factor, round) = (simd.splat_f32s(factor), simd.splat_f32s(ROUND));
    let shifted = simd.mul_add_e_f32s(x, factor, round);
    let r = simd.mul_add_e_f32s(x, factor, simd.sub_f32s(round, shifted));
    let scale = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    Power { scale: simd.transmute_f32s_u32s(scale), r, slope: polynomial(simd, r, &POLYNOMIAL) }
}

/// The nearest to `x` within `-limit` and `limit`; NaN stays NaN.
#[inline(always)]
fn clamp<S: Simd>(simd: S, x: S::f32s, limit: f32) -> S::f32s {
    let (low, high) = (simd.splat_f32s(-limit), simd.splat_f32s(limit));
    if S::F32_LANES == 1 {
        // Rust's own minimum is the other number if one is NaN.
        let x = simd.select_f32s(simd.less_than_f32s(x, low), low, x);
        return simd.select_f32s(simd.less_than_f32s(high, x), high, x);
    }
    // x86's is the second argument if either is NaN, that of ARM is NaN.
    simd.max_f32s(low, simd.min_f32s(high, x))
}

/// `max(x, 0)`.
#[inline(always)]
pub(crate) fn relu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_f32s(x, zero), zero, x)
}

/// Horner's scheme, highest power first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::f32s, coefficients: &[f32; N]) -> S::f32s {
    let mut sum = simd.splat_f32s(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        sum = simd.mul_add_e_f32s(sum, x, simd.splat_f32s(coefficient));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::dispatch;
    use crate::kernel::tests::on_every_set;
    use pulp::WithSimd;

    /// The quick sigmoid and hyperbolic tangent of each element.
    struct Quick<'a>(&'a [f32]);

    impl WithSimd for Quick<'_> {
        type Output = [Vec<f32>; 2];

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> [Vec<f32>; 2] {
            let (mut sigmoids, mut tanhs) = (self.0.to_vec(), self.0.to_vec());
            for x in S::as_mut_simd_f32s(&mut sigmoids).0 {
                *x = quick_sigmoid(simd, *x);
            }
            for x in S::as_mut_simd_f32s(&mut tanhs).0 {
                *x = quick_tanh(simd, *x);
            }
            [sigmoids, tanhs]
        }
    }

    /// Over [-25, 25] in steps of 1e-4, small and huge numbers.
    #[test]
    fn quick_functions_are_close() {
        let mut x: Vec<f32> = (-250_000..250_000).map(|i| i as f32 * 1e-4).collect();
        x.extend([0.0, -0.0, 1e-30, 1e-10, -1e-5, 86.0, -86.0, 87.5, 1e10, -1e10, f32::MAX, f32::MIN]);
        x.extend([f32::INFINITY, f32::NEG_INFINITY, 1e-20, 0.1]);
        on_every_set(|| {
            let [sigmoids, tanhs] = dispatch(Quick(&x));
            for ((&x, sigmoid), tanh) in x.iter().zip(sigmoids).zip(tanhs) {
                let exact = f64::from(x);
                let error = (f64::from(sigmoid) - 1.0 / (1.0 + (-exact).exp())).abs();
                assert!(error <= 1e-7 && (0.0..=1.0).contains(&sigmoid), "sigmoid({x}) = {sigmoid}");
                let error = (f64::from(tanh) - exact.tanh()).abs();
                assert!(error <= 1.5e-7_f64.min(1e-6 * exact.abs()) && tanh.abs() <= 1.0, "tanh({x}) = {tanh}");
            }
        });
    }

    #[test]
    fn quick_functions_of_nan_are_nan() {
        on_every_set(|| assert!(dispatch(Quick(&[f32::NAN; 16])).concat().iter().all(|x| x.is_nan())));
    }
}
