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
