//! Learning from what a teacher would have said, beside what happened (Hinton, Vinyals and Dean, 2015).

/// Mixes a teacher into labels: `(1 - weight) y + weight sigmoid(z)`, where z is the teacher's logit.
///
/// Cross-entropy is linear in the label, so this is `(1 - weight) BCE(y) + weight BCE(teacher)`, value and gradient,
/// at the cost of one. With a weight of 0 labels keep their bits, and so does a label without a teacher, whose z is NaN.
pub fn soften(labels: &mut [f32], teacher: &[f32], weight: f32) {
    assert_eq!(labels.len(), teacher.len(), "one logit of the teacher for each label");
    if weight == 0.0 {
        return;
    }
    for (label, z) in labels.iter_mut().zip(teacher).filter(|(_, z)| !z.is_nan()) {
        *label = (1.0 - weight) * *label + weight * sigmoid(*z);
    }
}

/// Written so that the exponential never overflows.
fn sigmoid(z: f32) -> f32 {
    let e = (-z.abs()).exp();
    if z >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bce(z: f64, y: f64) -> f64 {
        z.max(0.0) - z * y + (-z.abs()).exp().ln_1p()
    }

    /// The identity that this rests on, on logits of any size.
    #[test]
    fn one_loss_on_mixed_labels_is_the_mixture_of_two_losses() {
        for (z, y, teacher) in [(0.3, 1.0, -2.0f32), (-4.0, 0.0, 50.0), (12.0, 1.0, -0.5), (1.0, 0.0, 0.0)] {
            for weight in [0.2f32, 0.75, 1.0] {
                let mut label = [y as f32];
                soften(&mut label, &[teacher], weight);
                let soft = 1.0 / (1.0 + (-f64::from(teacher)).exp());
                let weight = f64::from(weight);
                let expected = (1.0 - weight) * bce(z, y) + weight * bce(z, soft);
                assert!((bce(z, f64::from(label[0])) - expected).abs() < 1e-5, "{z} {y} {teacher} {weight}");
            }
        }
    }

    #[test]
    fn without_weight_labels_keep_their_bits_whatever_the_teacher_says() {
        let mut labels = [0.0, 1.0, 0.0, 1.0];
        soften(&mut labels, &[f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30], 0.0);
        assert_eq!(labels.map(f32::to_bits), [0.0f32, 1.0, 0.0, 1.0].map(f32::to_bits));
    }
}
