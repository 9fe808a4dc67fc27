//! Calibration in the large.

use crate::{Better, Metric, Rows};

/// The weighted sum of predicted probabilities over that of labels: above 1 the model promises too many clicks.
///
/// Undefined without positives.
pub(super) static CALIBRATION: Metric = Metric {
    name: "calibration",
    title: "Calibration",
    meaning: "Predicted clicks over actual clicks; above 1 the model promises too much.",
    needs: "a positive",
    unit: "ratio",
    better: Better::NearOne,
    truth_is_best: false,
    digits: 3,
    compute,
};

fn compute(rows: &Rows) -> Option<f64> {
    let predicted: f64 = rows.iter().map(|row| row.weight * row.probability()).sum();
    let actual: f64 = rows.iter().filter(|row| row.positive).map(|row| row.weight).sum();
    (actual > 0.0).then(|| predicted / actual)
}

#[cfg(test)]
mod tests {
    use crate::evaluate;

    #[test]
    fn is_predicted_over_actual() {
        // sigmoid(0) = 1/2 and sigmoid(ln 3) = 3/4: (2 * 0.5 + 1 * 0.75) / 2
        let metrics = evaluate(&[0.0, 3.0f32.ln()], &[1.0, 0.0], &[2.0, 1.0], &[0, 0]).unwrap();
        assert!((metrics.get("calibration").unwrap() - 0.875).abs() < 1e-7);
        assert_eq!(evaluate(&[0.0], &[0.0], &[1.0], &[0]).unwrap().get("calibration"), None);
    }
}
