//! From many periods and seeds to one number with a spread.

use crate::paired::{deviation, mean, paired};
use crate::{MethodKind, MethodResults, Metric, Paired, PeriodMetrics, Results, SeedResults};
use std::collections::BTreeMap;
use std::ops::Range;

/// A mean over seeds of means over periods.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The mean over seeds.
    pub mean: f64,
    /// The standard deviation over seeds, with n - 1 in the denominator; `None` for one seed.
    pub deviation: Option<f64>,
    /// Number of seeds.
    pub seeds: usize,
}

impl Summary {
    /// `None` of no seed.
    pub fn of(per_seed: &[f64]) -> Option<Summary> {
        Some(Summary { mean: mean(per_seed)?, deviation: deviation(per_seed), seeds: per_seed.len() })
    }
}

impl SeedResults {
    /// Values of a metric by period, where it is defined.
    pub fn values(&self, metric: &str, periods: &Range<u32>) -> BTreeMap<u32, f64> {
        values(self.periods.iter().map(|record| (record.period, &record.metrics)), metric, periods)
    }
}

fn values<'a>(
    records: impl Iterator<Item = (u32, &'a PeriodMetrics)>,
    metric: &str,
    periods: &Range<u32>,
) -> BTreeMap<u32, f64> {
    records
        .filter(|(period, _)| periods.contains(period))
        .filter_map(|(period, metrics)| Some((period, metrics.get(metric)?)))
        .collect()
}

impl MethodResults {
    /// Mean of a metric over `periods`, then over seeds. Periods where the metric is undefined do not count.
    pub fn summary(&self, metric: &str, periods: &Range<u32>) -> Option<Summary> {
        Summary::of(&self.per_seed(metric, periods))
    }

    fn per_seed(&self, metric: &str, periods: &Range<u32>) -> Vec<f64> {
        let of_run = |run: &SeedResults| mean(&run.values(metric, periods).into_values().collect::<Vec<_>>());
        self.seeds.iter().filter_map(of_run).collect()
    }

    /// Mean seconds of training per period of `periods` with an update; `None` if there was none.
    pub fn train_seconds(&self, periods: &Range<u32>) -> Option<f64> {
        let records = self.seeds.iter().flat_map(|run| &run.periods);
        let seconds =
            records.filter(|record| periods.contains(&record.period)).filter_map(|record| record.train_seconds);
        mean(&seconds.collect::<Vec<_>>())
    }

    /// Differences `self - other` as `[seed][period]`, over the seeds of both and those of `periods` in which every
    /// run has a value. A reference with one seed is paired with every seed of the other.
    pub(crate) fn differences(&self, other: &MethodResults, metric: &str, periods: &Range<u32>) -> Vec<Vec<f64>> {
        let pairs: Vec<(BTreeMap<u32, f64>, BTreeMap<u32, f64>)> = pair_runs(self, other)
            .into_iter()
            .map(|(mine, theirs)| (mine.values(metric, periods), theirs.values(metric, periods)))
            .collect();
        let complete: Vec<u32> = periods
            .clone()
            .filter(|period| {
                pairs.iter().all(|(mine, theirs)| mine.contains_key(period) && theirs.contains_key(period))
            })
            .collect();
        pairs
            .iter()
            .map(|(mine, theirs)| complete.iter().map(|period| mine[period] - theirs[period]).collect())
            .collect()
    }

    /// Tests the difference `self - other` over `periods`; `None` if no seed or no period is common to both.
    pub fn against(&self, other: &MethodResults, metric: &str, periods: &Range<u32>) -> Option<Paired> {
        paired(&self.differences(other, metric, periods))
    }
}

fn pair_runs<'a>(a: &'a MethodResults, b: &'a MethodResults) -> Vec<(&'a SeedResults, &'a SeedResults)> {
    let stands_for_all = |method: &MethodResults| method.kind == MethodKind::Reference && method.seeds.len() == 1;
    if stands_for_all(b) {
        return a.seeds.iter().map(|run| (run, &b.seeds[0])).collect();
    }
    if stands_for_all(a) {
        return b.seeds.iter().map(|run| (&a.seeds[0], run)).collect();
    }
    let same = |run: &'a SeedResults| Some((run, b.seeds.iter().find(|other| other.seed == run.seed)?));
    a.seeds.iter().filter_map(same).collect()
}

impl Results {
    /// Mean of the ceiling's metric over the span.
    pub fn ceiling_mean(&self, metric: &str) -> Option<f64> {
        mean(&self.ceiling_values(metric, &self.span).into_values().collect::<Vec<_>>())
    }

    /// Values of the ceiling by period, empty if no ceiling is known.
    pub fn ceiling_values(&self, metric: &str, periods: &Range<u32>) -> BTreeMap<u32, f64> {
        let scores = self.ceiling.iter().flatten().map(|score| (score.period, &score.metrics));
        values(scores, metric, periods)
    }

    /// From the first scored period to the last.
    pub fn all_periods(&self) -> Range<u32> {
        let index = || self.periods.iter().map(|facts| facts.index);
        index().min().unwrap_or(0)..index().max().map_or(0, |last| last + 1)
    }

    /// The methods that have a value on the span, best first.
    pub fn ranked(&self, metric: &Metric) -> Vec<(&MethodResults, Summary)> {
        let value = |method| Some((method, MethodResults::summary(method, metric.name, &self.span)?));
        let mut ranked: Vec<_> = self.methods.iter().filter_map(value).collect();
        ranked.sort_by(|a, b| metric.better.compare(a.1.mean, b.1.mean));
        ranked
    }

    /// The best method on the span among those that learn nothing.
    pub fn best_reference(&self, metric: &Metric) -> Option<(&MethodResults, Summary)> {
        self.ranked(metric).into_iter().find(|(method, _)| method.kind == MethodKind::Reference)
    }

    /// How much of the way from the best reference to the ceiling a method goes, over seeds: 0 is no better than
    /// learning nothing, 1 is as good as the true probabilities, and chance can carry it past either.
    ///
    /// `None` without ceiling or reference, if the reference is at the ceiling, and for metrics in which the truth is
    /// not the best score in expectation.
    pub fn lift_share(&self, method: &MethodResults, metric: &Metric) -> Option<Summary> {
        let (_, reference) = self.best_reference(metric).filter(|_| metric.truth_is_best)?;
        let reach = |value| metric.better.badness(reference.mean) - metric.better.badness(value);
        let whole = Some(reach(self.ceiling_mean(metric.name)?)).filter(|whole| *whole > 0.0)?;
        let shares = method.per_seed(metric.name, &self.span).into_iter().map(|value| reach(value) / whole);
        Summary::of(&shares.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Test, sample};

    /// Keeps one metric's values `[seed][period]` in a method named `name`.
    fn method(name: &str, kind: MethodKind, values: &[&[Option<f64>]]) -> MethodResults {
        let mut method = sample::marketplace().methods.remove(3);
        method.name = name.into();
        method.kind = kind;
        method.seeds.truncate(values.len());
        for (run, values) in method.seeds.iter_mut().zip(values) {
            run.periods.truncate(values.len());
            for ((i, record), value) in (0..).zip(&mut run.periods).zip(*values) {
                record.period = i;
                record.metrics.values = value.map(|value| ("auc".to_owned(), value)).into_iter().collect();
            }
        }
        method
    }

    #[test]
    fn averages_over_periods_then_seeds() {
        let a = method("a", MethodKind::Updated, &[&[Some(9.0), Some(1.0), None], &[Some(9.0), Some(2.0), Some(4.0)]]);
        let got = a.summary("auc", &(1..3)).unwrap();
        assert_eq!(got, Summary { mean: 2.0, deviation: Some(2.0f64.sqrt()), seeds: 2 });
        assert_eq!(a.summary("gauc", &(1..3)), None);
    }

    #[test]
    fn pairs_common_seeds_and_complete_periods() {
        let a = method("a", MethodKind::Updated, &[&[Some(3.0), None, Some(5.0)], &[Some(4.0), Some(1.0), Some(6.0)]]);
        let b = method("b", MethodKind::Updated, &[&[Some(1.0), Some(1.0), Some(1.0)]]);
        assert_eq!(a.differences(&b, "auc", &(0..3)), [vec![2.0, 4.0]]);
        assert_eq!(a.against(&b, "auc", &(0..3)).unwrap().test, Test::SignFlipsOverPeriods(2));
    }

    #[test]
    fn a_reference_meets_every_seed() {
        let a = method("a", MethodKind::Updated, &[&[Some(3.0)], &[Some(4.0)]]);
        let b = method("b", MethodKind::Reference, &[&[Some(1.0)]]);
        assert_eq!(a.differences(&b, "auc", &(0..1)), [[2.0], [3.0]]);
        assert_eq!(b.differences(&a, "auc", &(0..1)), [[-2.0], [-3.0]]);
        assert_eq!(a.against(&b, "auc", &(0..1)).unwrap().test, Test::TOverSeeds(2));
    }

    #[test]
    fn lift_goes_from_the_best_reference_to_the_ceiling() {
        let mut results = sample::marketplace();
        let (auc, loss) = (Metric::named("auc").unwrap(), Metric::named("log_loss").unwrap());
        assert_eq!(results.best_reference(auc).unwrap().0.name, "popularity");
        assert_eq!(results.lift_share(&results.methods[1], auc).unwrap().mean, 0.0);
        let share = results.lift_share(&results.methods[4], auc).unwrap().mean;
        // The sample's losses are linear in its AUCs.
        assert!((results.lift_share(&results.methods[4], loss).unwrap().mean - share).abs() < 1e-9);
        assert!((0.7..0.9).contains(&share), "{share}");
        assert_eq!(results.lift_share(&results.methods[4], Metric::named("ece").unwrap()), None);
        results.ceiling = None;
        assert_eq!(results.lift_share(&results.methods[4], auc), None);
    }
}
