//! Gradient clipping.
//!
//! A global norm is the root of the sum of [`sum_of_squares`] over all gradients, dense tensors and table rows, added
//! in a fixed order; [`clip_by_norm`] turns it into the factor for [`scale`].

/// Sum of squares in f64. Added in eight interleaved lanes and then lane by lane, so the result depends on the
/// values and their order alone.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let mut lanes = [0f64; 8];
    let whole = values.chunks_exact(8);
    let rest = whole.remainder();
    for chunk in whole {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(x) * f64::from(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(x) * f64::from(x);
    }
    lanes.iter().sum()
}

/// The factor that brings gradients whose squares sum to `sum_of_squares` to a norm of at most `max_norm`; 1 if they
/// are there already. NaN gives NaN.
pub fn clip_by_norm(sum_of_squares: f64, max_norm: f64) -> f32 {
    let norm = sum_of_squares.sqrt();
    if norm <= max_norm { 1.0 } else { (max_norm / norm) as f32 }
}

/// Multiplies all values by `factor`.
pub fn scale(values: &mut [f32], factor: f32) {
    for x in values {
        *x *= factor;
    }
}

/// Brings each value into `-limit..=limit`; NaN stays. Panics if `limit` is negative or NaN.
pub fn clip_by_value(values: &mut [f32], limit: f32) {
    for x in values {
        *x = x.clamp(-limit, limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_are_brought_down_and_never_up() {
        let mut grads: Vec<f32> = (0..37).map(|i| i as f32 - 10.0).collect();
        let plain: f64 = grads.iter().map(|&x| f64::from(x).powi(2)).sum();
        assert_eq!(sum_of_squares(&grads), plain, "integers add up exactly in any order");
        assert_eq!(clip_by_norm(plain, 1000.0), 1.0);
        scale(&mut grads, clip_by_norm(plain, 2.0));
        assert!((sum_of_squares(&grads).sqrt() - 2.0).abs() < 1e-6);
        assert_eq!(clip_by_norm(0.0, 0.0), 1.0);
        assert!(clip_by_norm(f64::NAN, 1.0).is_nan(), "a broken gradient must not be hidden");
    }

    #[test]
    fn values_are_clipped_on_both_sides() {
        let mut grads = [-3.0, -0.5, 0.5, 3.0, f32::NAN];
        clip_by_value(&mut grads, 1.0);
        assert_eq!(grads[..4], [-1.0, -0.5, 0.5, 1.0]);
        assert!(grads[4].is_nan());
    }
}
