//! Expected calibration error (Guo et al., "On calibration of modern neural networks", ICML 2017).

use crate::{Better, Metric, Rows};

/// The mean distance between predicted and actual rates over 15 bins of equal width in probability, as in the paper,
/// each bin weighted by its rows. A bin holds its lower edge; the last one holds 1 too.
///
/// Where all predictions are small, few bins are in use and this tends to the distance of the two overall rates. On
/// few rows even the true probabilities are above 0, since actual rates scatter.
pub(super) static EXPECTED_CALIBRATION_ERROR: Metric = Metric {
    name: "ece",
    title: "ECE",
    meaning: "The mean gap between predicted and actual click rates, over 15 bins of equal width in the prediction.",
    needs: "a row",
    unit: "probability",
    better: Better::Lower,
    truth_is_best: false,
    digits: 4,
    compute,
};

const BINS: usize = 15;

fn compute(rows: &Rows) -> Option<f64> {
    let mut surplus = [0.0f64; BINS];
    let mut total = 0.0;
    for row in rows.iter() {
        let p = row.probability();
        let bin = ((p * BINS as f64) as usize).min(BINS - 1);
        surplus[bin] += row.weight * (p - f64::from(u8::from(row.positive)));
        total += row.weight;
    }
    // A bin's weight cancels against the denominators of its two rates.
    (total > 0.0).then(|| surplus.iter().map(|sum| sum.abs()).sum::<f64>() / total)
}

#[cfg(test)]
mod tests {
    use crate::evaluate;

    #[test]
    fn weighs_the_gaps_of_bins() {
        // Two rows at 1/2 with one click: gap 0. One row at 3/4 (bin 11) without a click: gap 3/4, weight 2 of 4.
        let scores = [0.0, 0.0, 3.0f32.ln()];
        let metrics = evaluate(&scores, &[1.0, 0.0, 0.0], &[1.0, 1.0, 2.0], &[0; 3]).unwrap();
        assert!((metrics.get("ece").unwrap() - 0.375).abs() < 1e-7);
    }

    #[test]
    fn certainty_falls_into_the_last_bin() {
        assert_eq!(evaluate(&[1000.0, -1000.0], &[1.0, 0.0], &[1.0; 2], &[0; 2]).unwrap().get("ece"), Some(0.0));
    }
}
