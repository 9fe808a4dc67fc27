//! Paired tests: is one method better than another, or was it luck?

use crate::student::two_sided;
use perennial_core::Stream;
use serde::{Deserialize, Serialize};

/// The outcome of a two-sided paired test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Mean of the differences.
    pub difference: f64,
    /// The chance of a mean at least this far from zero if there were no difference.
    pub p: f64,
    /// Which test gave it.
    pub test: Test,
}

/// The test that was used, with the number of pairs it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Student's t over one difference per seed, each the mean over the span. Speaks of other seeds on the same
    /// periods.
    TOverSeeds(usize),
    /// Random change of sign of one difference per period. Speaks of other periods, as if they were independent;
    /// the p-value cannot be below 2 / 2^periods.
    SignFlipsOverPeriods(usize),
}

impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Test::TOverSeeds(n) => write!(f, "paired t-test over {n} seeds"),
            Test::SignFlipsOverPeriods(n) => write!(f, "sign-flip test over {n} periods"),
        }
    }
}

/// Tests differences `[seed][period]`; every seed has the same periods. `None` if there is none.
///
/// Seeds of one period share its rows and periods of one seed share its weights, so seed x period pairs are not
/// independent and testing them as if they were would find everything significant. With two seeds or more the unit
/// is the seed; with one, or if all seeds agree to the last bit and so are no replicates, it is the period.
pub(crate) fn paired(differences: &[Vec<f64>]) -> Option<Paired> {
    let per_seed: Vec<f64> = differences.iter().map(|periods| mean(periods)).collect::<Option<_>>()?;
    let difference = mean(&per_seed)?;
    if per_seed.iter().any(|value| *value != per_seed[0]) {
        return Some(Paired { difference, p: t_test(&per_seed), test: Test::TOverSeeds(per_seed.len()) });
    }
    let per_period: Vec<f64> = (0..differences[0].len())
        .map(|period| differences.iter().map(|seed| seed[period]).sum::<f64>() / differences.len() as f64)
        .collect();
    let test = Test::SignFlipsOverPeriods(per_period.len());
    Some(Paired { difference, p: sign_flips(&per_period), test })
}

/// The mean, `None` of nothing.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation with n - 1 in the denominator, `None` of fewer than two values.
pub(crate) fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Of at least two differences that are not all equal.
fn t_test(differences: &[f64]) -> f64 {
    let n = differences.len();
    let mean = mean(differences).expect("called with at least two differences");
    let deviation = deviation(differences).expect("called with at least two differences");
    let t = mean / (deviation / (n as f64).sqrt());
    two_sided(t, u32::try_from(n - 1).expect("there are few seeds"))
}

/// Up to this many pairs all changes of sign are tried; beyond, [`DRAWS`] random ones.
const ENUMERATED: usize = 14;
const DRAWS: u64 = 20_000;

/// The share of all changes of sign whose sum is at least as far from zero as the one observed (Fisher 1935).
fn sign_flips(differences: &[f64]) -> f64 {
    let n = differences.len();
    let observed = differences.iter().sum::<f64>().abs();
    // The same sum in another order differs in the last bits: it must still count as equal.
    let threshold = observed - 1e-12 * differences.iter().map(|value| value.abs()).sum::<f64>();
    let extreme = |mut signs: Signs| {
        let sum: f64 = differences.iter().map(|value| if signs.next_is_minus() { -value } else { *value }).sum();
        u64::from(sum.abs() >= threshold)
    };
    if n <= ENUMERATED {
        let all = 1u64 << n;
        let count: u64 = (0..all).map(|pattern| extreme(Signs::Pattern(pattern))).sum();
        return count as f64 / all as f64;
    }
    let count: u64 = (0..DRAWS).map(|draw| extreme(Signs::Drawn(Stream::new(&[draw]), 0, 0))).sum();
    // The observed signs are one of the draws, so that p is never zero (Phipson and Smyth 2010).
    (count + 1) as f64 / (DRAWS + 1) as f64
}

/// A source of signs: the bits of a number, or of a stream.
enum Signs {
    Pattern(u64),
    Drawn(Stream, u64, u32),
}

impl Signs {
    fn next_is_minus(&mut self) -> bool {
        let bits = match self {
            Signs::Pattern(bits) => bits,
            Signs::Drawn(stream, bits, left) => {
                if *left == 0 {
                    (*bits, *left) = (stream.next_u64(), 64);
                }
                *left -= 1;
                bits
            }
        };
        let minus = *bits & 1 == 1;
        *bits >>= 1;
        minus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(differences: &[Vec<f64>], expected: f64, tolerance: f64, test: Test) {
        let got = paired(differences).unwrap();
        assert_eq!(got.test, test);
        assert!((got.p - expected).abs() <= tolerance, "{got:?} {expected}");
    }

    #[test]
    fn seeds_are_tested_by_t() {
        // scipy 1.17.1: ttest_rel([.71, .72, .715, .73], [.70, .715, .70, .722]).pvalue
        let differences: Vec<Vec<f64>> =
            [(0.71, 0.70), (0.72, 0.715), (0.715, 0.70), (0.73, 0.722)].map(|(a, b): (f64, f64)| vec![a - b]).to_vec();
        check(&differences, 0.020242767589853414, 1e-13, Test::TOverSeeds(4));
    }

    const PERIODS: [f64; 7] = [0.01, 0.02, -0.003, 0.008, 0.001, 0.004, 0.006];

    #[test]
    fn one_seed_is_tested_over_periods() {
        // scipy 1.17.1: permutation_test((d,), lambda d: d.mean(), permutation_type="samples",
        //                                n_resamples=numpy.inf).pvalue, for d = PERIODS
        check(&[PERIODS.to_vec()], 0.046875, 0.0, Test::SignFlipsOverPeriods(7));
    }

    #[test]
    fn many_periods_are_sampled() {
        // The same over 21 periods, all 2^21 changes of sign by numpy: d = PERIODS + PERIODS + [-p for p in PERIODS]
        let many = [PERIODS, PERIODS, PERIODS.map(|value| -value)].concat();
        check(&[many], 0.3116264343261719, 0.012, Test::SignFlipsOverPeriods(21));
    }

    #[test]
    fn seeds_that_agree_exactly_are_no_replicates() {
        check(&[PERIODS.to_vec(), PERIODS.to_vec()], 0.046875, 0.0, Test::SignFlipsOverPeriods(7));
        check(&[vec![0.0; 3], vec![0.0; 3]], 1.0, 0.0, Test::SignFlipsOverPeriods(3));
        check(&[vec![0.1; 3]], 0.25, 0.0, Test::SignFlipsOverPeriods(3));
    }

    #[test]
    fn nothing_to_test_gives_nothing() {
        assert_eq!(paired(&[]), None);
        assert_eq!(paired(&[vec![]]), None);
    }

    #[test]
    fn deviation_divides_by_one_less() {
        assert_eq!(deviation(&[1.0, 3.0]), Some(2.0f64.sqrt()));
        assert_eq!(deviation(&[1.0]), None);
    }
}
