//! Binary cross entropy on logits.

use crate::Real;

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
