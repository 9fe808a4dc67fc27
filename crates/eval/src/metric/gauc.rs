//! AUC within users (Zhu et al., "Optimized cost per click in Taobao display advertising", KDD 2017).

use super::auc::ranked;
use crate::{Better, Metric, Rows};

/// The mean of the users' own AUCs over users with both classes, each weighted by the weight of all its rows.
///
/// Rows of an unknown user (key 0) are left out. Undefined if no user has both classes. One more sort, by user.
pub(super) static GAUC: Metric = Metric {
    name: "gauc",
    title: "GAUC",
    meaning: "AUC among each user's own rows, averaged over users by impressions; being right about who clicks much \
              does not help.",
    needs: "a user with a positive and a negative",
    unit: "probability",
    better: Better::Higher,
    truth_is_best: true,
    digits: 4,
    compute,
};

fn compute(rows: &Rows) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for user in rows.by_user() {
        if let Some(auc) = ranked(user.iter().copied()) {
            let weight: f64 = user.iter().map(|row| row.weight).sum();
            sum += weight * auc;
            weights += weight;
        }
    }
    (weights > 0.0).then(|| sum / weights)
}

#[cfg(test)]
mod tests {
    use crate::evaluate;

    #[test]
    fn averages_users_by_their_impressions() {
        // User 1: AUC 1 over 2 rows. User 2: AUC 1/2 over 3 rows. User 3 has one class, user 0 is unknown.
        let scores = [2.0, 1.0, 5.0, 3.0, 4.0, 9.0, 1.0, 2.0];
        let labels = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0];
        let users = [1, 1, 2, 2, 2, 3, 0, 0];
        let metrics = evaluate(&scores, &labels, &[1.0; 8], &users).unwrap();
        assert_eq!(metrics.get("gauc"), Some((2.0 * 1.0 + 3.0 * 0.5) / 5.0));
    }

    #[test]
    fn no_user_with_both_classes_means_no_value() {
        let metrics = evaluate(&[1.0, 2.0], &[0.0, 1.0], &[1.0; 2], &[1, 2]).unwrap();
        assert_eq!((metrics.get("gauc"), metrics.get("auc")), (None, Some(1.0)));
    }
}
