//! Several models that answer together.

use crate::Generated;

/// Models of one encoder and backbone whose probabilities are averaged. Parameters of different trajectories cannot be:
/// the mean of two networks is no network like either.
#[derive(Debug, Clone)]
pub struct Mixed {
    /// At least one, whose weights sum to 1.
    pub members: Vec<Member>,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its share in the mean.
    pub weight: f64,
    /// Its parameters; `None` for those of the base model.
    pub generated: Option<Generated>,
}

/// The logit of the mean of probabilities, given as (weight, logit).
///
/// Both `p` and `1 - p` are summed as logarithms: neither is lost where a probability is 1 to all digits.
pub(crate) fn logit_of_mean(parts: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let yes = log_sum(parts.clone().map(|(weight, logit)| weight.ln() - softplus(-logit)));
    let no = log_sum(parts.map(|(weight, logit)| weight.ln() - softplus(logit)));
    yes - no
}

/// `ln sum e^x`.
fn log_sum(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    most + terms.map(|term| (term - most).exp()).sum::<f64>().ln()
}

/// `ln (1 + e^x)`.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(parts: &[(f64, f64)]) -> f64 {
        logit_of_mean(parts.iter().copied())
    }

    #[test]
    fn is_what_the_definition_says() {
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        for parts in [[(0.5, 0.3), (0.5, -2.0)], [(0.9, 4.0), (0.1, 1.0)], [(0.25, -7.0), (0.75, 7.0)]] {
            let p: f64 = parts.iter().map(|(weight, logit)| weight * sigmoid(*logit)).sum();
            assert!((mean(&parts) - (p / (1.0 - p)).ln()).abs() < 1e-9, "{parts:?}");
        }
    }

    #[test]
    fn is_stable_where_probabilities_are_not() {
        // Both sure: ln of (e^-1000 + e^-2000) / 2 is -1000 - ln 2.
        assert!((mean(&[(0.5, 1000.0), (0.5, 2000.0)]) - (1000.0 + 2f64.ln())).abs() < 1e-9);
        // One sure of yes, one of no: even odds.
        assert_eq!(mean(&[(0.5, 1000.0), (0.5, -1000.0)]), 0.0);
        assert_eq!(mean(&[(1.0, 0.7), (0.0, -3.0)]) as f32, 0.7);
        assert_eq!(mean(&[(0.3, 0.7), (0.7, 0.7)]) as f32, 0.7);
    }
}
