//! Area under the ROC curve, as a rank statistic (Hanley and McNeil, Radiology 1982).

use crate::{Better, Metric, Row, Rows};

/// The chance that a positive outscores a negative, ties counted half, pairs weighted by the product of weights.
///
/// Undefined if one class has no weight: absent, not 0.5. With weights of 1 all sums are multiples of a half and so
/// exact up to 2^53, that is 10^8 rows of each class. One pass over sorted rows.
pub(crate) static AUC: Metric = Metric {
    name: "auc",
    title: "AUC",
    meaning: "The chance that a click is scored above a non-click, ties counted half; 0.5 is blind guessing.",
    needs: "a positive and a negative",
    unit: "probability",
    better: Better::Higher,
    truth_is_best: true,
    digits: 4,
    compute,
};

fn compute(rows: &Rows) -> Option<f64> {
    ranked(rows.iter())
}

/// The statistic over rows of ascending logit.
pub(super) fn ranked(rows: impl Iterator<Item = Row>) -> Option<f64> {
    let mut rows = rows.peekable();
    let (mut won, mut positive, mut negative) = (0.0, 0.0, 0.0);
    while let Some(row) = rows.next() {
        let mut tied = [0.0, 0.0];
        tied[usize::from(row.positive)] += row.weight;
        while let Some(next) = rows.next_if(|next| next.logit == row.logit) {
            tied[usize::from(next.positive)] += next.weight;
        }
        won += tied[1] * (negative + tied[0] / 2.0);
        negative += tied[0];
        positive += tied[1];
    }
    let pairs = positive * negative;
    (pairs > 0.0).then(|| won / pairs)
}

#[cfg(test)]
mod tests {
    use crate::Accumulator;
    use proptest::prelude::*;

    fn auc(scores: &[f32], labels: &[f32], weights: &[f32]) -> Option<f64> {
        let mut all = Accumulator::default();
        all.update(scores, labels, weights, &vec![1; scores.len()]).unwrap();
        all.finish().get("auc")
    }

    /// The definition, over all pairs.
    fn naive(rows: &[(f32, bool, f32)]) -> Option<f64> {
        let (mut won, mut pairs) = (0.0, 0.0);
        for &(a, _, weight_a) in rows.iter().filter(|row| row.1) {
            for &(b, _, weight_b) in rows.iter().filter(|row| !row.1) {
                let weight = f64::from(weight_a) * f64::from(weight_b);
                pairs += weight;
                won += weight
                    * if a > b {
                        1.0
                    } else if a == b {
                        0.5
                    } else {
                        0.0
                    };
            }
        }
        (pairs > 0.0).then(|| won / pairs)
    }

    proptest! {
        #[test]
        fn is_what_the_definition_says(
            rows in prop::collection::vec(((-4i8..4).prop_map(f32::from), any::<bool>(), 0.0f32..2.0), 0..50),
            unit: bool,
        ) {
            let rows: Vec<_> = rows.into_iter().map(|(score, label, weight)| (score, label, if unit { 1.0 } else { weight })).collect();
            let column = |f: fn(&(f32, bool, f32)) -> f32| rows.iter().map(f).collect::<Vec<_>>();
            let got = auc(&column(|row| row.0), &column(|row| f32::from(u8::from(row.1))), &column(|row| row.2));
            match (got, naive(&rows)) {
                (Some(got), Some(expected)) if unit => prop_assert_eq!(got, expected),
                (Some(got), Some(expected)) => prop_assert!((got - expected).abs() < 1e-12, "{} {}", got, expected),
                (got, expected) => prop_assert_eq!(got, expected),
            }
        }
    }

    #[test]
    fn constant_scores_are_blind_in_any_order() {
        for labels in [[0.0, 0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0, 1.0]] {
            assert_eq!(auc(&[0.3; 5], &labels, &[1.0; 5]), Some(0.5));
        }
        assert_eq!(auc(&[0.0, -0.0], &[1.0, 0.0], &[1.0; 2]), Some(0.5));
    }

    #[test]
    fn one_class_has_no_value() {
        assert_eq!(auc(&[1.0, 2.0], &[1.0, 1.0], &[1.0; 2]), None);
        assert_eq!(auc(&[1.0, 2.0], &[0.0, 1.0], &[0.0, 1.0]), None);
    }

    #[test]
    fn agrees_with_scikit_learn() {
        // sklearn 1.9.1: roc_auc_score([1,0,1,1,0,0], [.9,.9,.1,.4,.4,.2], sample_weight=[1,2,.5,3,1,.25])
        let got =
            auc(&[0.9, 0.9, 0.1, 0.4, 0.4, 0.2], &[1.0, 0.0, 1.0, 1.0, 0.0, 0.0], &[1.0, 2.0, 0.5, 3.0, 1.0, 0.25]);
        assert!((got.unwrap() - 0.30769230769230765).abs() < 1e-15, "{got:?}");
    }
}
