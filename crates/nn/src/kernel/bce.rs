//! Binary cross entropy on logits.

use super::{dispatch, math};
use crate::Real;
use pulp::{Simd, WithSimd};

/// Returns `sum(w * (max(z, 0) - z*y + ln(1 + exp(-|z|)))) / scale` and writes `slope = w * (sigmoid(z) - y) / scale`.
///
/// One exponential serves both. The sum is kept in f64.
pub(crate) fn plain<T: Real>(logits: &[T], labels: &[f32], weights: &[f32], scale: f64, slope: &mut [T]) -> T {
    let mut sum = 0.0;
    let examples = logits.iter().zip(labels).zip(weights);
    for (slope, ((&z, &y), &w)) in slope.iter_mut().zip(examples) {
        let (y, w) = (T::from_f32(y), T::from_f32(w));
        let loss = z.relu() - z * y + (-z.abs()).exp().ln_1p();
        sum += (w * loss).to_f64();
        *slope = w * (z.sigmoid() - y) / T::from_f64(scale);
    }
    T::from_f64(sum / scale)
}

/// [`plain`] in SIMD; the sum is kept in `f32`, one per lane.
pub(crate) fn simd(logits: &[f32], labels: &[f32], weights: &[f32], scale: f64, slope: &mut [f32]) -> f32 {
    let sum = dispatch(Bce { logits, labels, weights, scale: scale as f32, slope });
    (f64::from(sum) / scale) as f32
}

struct Bce<'a> {
    logits: &'a [f32],
    labels: &'a [f32],
    weights: &'a [f32],
    scale: f32,
    slope: &'a mut [f32],
}

impl WithSimd for Bce<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let (z, z_tail) = S::as_simd_f32s(self.logits);
        let (y, y_tail) = S::as_simd_f32s(self.labels);
        let (w, w_tail) = S::as_simd_f32s(self.weights);
        let (slope, slope_tail) = S::as_mut_simd_f32s(self.slope);
        let scale = simd.splat_f32s(self.scale);
        let mut sum = simd.splat_f32s(0.0);
        for (((slope, &z), &y), &w) in slope.iter_mut().zip(z).zip(y).zip(w) {
            let (loss, by_logit) = of_vector(simd, z, y, w);
            sum = simd.add_f32s(sum, loss);
            *slope = simd.div_f32s(by_logit, scale);
        }
        // The lanes that are not there have weight 0.
        let [z, y, w] = [z_tail, y_tail, w_tail].map(|tail| simd.partial_load_f32s(tail));
        let (loss, by_logit) = of_vector(simd, z, y, w);
        simd.partial_store_f32s(slope_tail, simd.div_f32s(by_logit, scale));
        simd.reduce_sum_f32s(simd.add_f32s(sum, loss))
    }
}

/// Weighted loss and weighted slope.
#[inline(always)]
fn of_vector<S: Simd>(simd: S, z: S::f32s, y: S::f32s, w: S::f32s) -> (S::f32s, S::f32s) {
    let e = math::exp_minus_abs(simd, z);
    let hinge = simd.sub_f32s(math::relu(simd, z), simd.mul_f32s(z, y));
    let loss = simd.add_f32s(hinge, math::ln_1p_unit(simd, e));
    let slope = simd.sub_f32s(math::sigmoid_from(simd, z, e), y);
    (simd.mul_f32s(w, loss), simd.mul_f32s(w, slope))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::{assert_close, noise, on_every_set, wide};

    fn check(logits: &[f32], labels: &[f32], weights: &[f32]) {
        let len = logits.len();
        let (mut expected, mut got) = (vec![0.0; len], vec![0.0; len]);
        let expected_loss = plain(&wide(logits), labels, weights, 3.0, &mut expected);
        let loss = simd(logits, labels, weights, 3.0, &mut got);
        let case = format!("{len} logits");
        assert_close(&[loss / (1.0 + expected_loss as f32)], &[expected_loss / (1.0 + expected_loss)], 1e-6, &case);
        assert_close(&got, &expected, 2e-7, &case);
    }

    #[test]
    fn fast_equals_plain() {
        on_every_set(|| {
            for len in [0, 1, 15, 16, 67] {
                let labels: Vec<f32> = noise(len, 2).iter().map(|x| (x + 4.0) / 8.0).collect();
                let weights: Vec<f32> = noise(len, 3).iter().map(|x| x.abs() / 4.0).collect();
                check(&noise(len, 1), &labels, &weights);
            }
        });
    }

    #[test]
    fn fast_equals_plain_at_extremes() {
        on_every_set(|| {
            for z in [0.0, 1e-8, -1e-8, 0.5, -16.0, 17.0, 88.0, -89.0, 1000.0, -1000.0, 1e30] {
                for y in [0.0, 1.0] {
                    check(&[z], &[y], &[1.0]);
                }
            }
        });
    }

    /// At logit 17 and label 1 the loss is ln(1 + exp(-17)) = 4.1399e-8: adding 1 to the exponential would round it
    /// to 0.
    #[test]
    fn small_losses_keep_their_digits() {
        on_every_set(|| {
            let loss = simd(&[17.0], &[1.0], &[1.0], 1.0, &mut [0.0]);
            assert!((f64::from(loss) / (-17f64).exp().ln_1p() - 1.0).abs() < 1e-6, "{loss}");
        });
    }

    #[test]
    fn nan_stays_nan() {
        on_every_set(|| {
            for at in [0, 16] {
                let mut logits = vec![0.0; 17];
                logits[at] = f32::NAN;
                let mut slope = vec![0.0; 17];
                assert!(simd(&logits, &[1.0; 17], &[1.0; 17], 17.0, &mut slope).is_nan());
                assert!(slope[at].is_nan());
            }
        });
    }
}
