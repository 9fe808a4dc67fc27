//! Two results side by side: what did a change do?

use crate::{Error, METRICS, Metric, Paired, Results, Summary};
use std::collections::BTreeSet;
use std::ops::Range;

/// The methods that two results share, metric by metric.
#[derive(Debug)]
pub struct Comparison {
    /// Periods compared: those in the spans of both.
    pub span: Range<u32>,
    /// One line per shared method and metric.
    pub lines: Vec<ComparedMetric>,
    /// Methods of the first only.
    pub only_a: Vec<String>,
    /// Methods of the second only.
    pub only_b: Vec<String>,
}

/// One method and metric in both results.
#[derive(Debug)]
pub struct ComparedMetric {
    /// Name of the method.
    pub method: String,
    /// The metric.
    pub metric: &'static Metric,
    /// The first results' value.
    pub a: Summary,
    /// The second results' value.
    pub b: Summary,
    /// The test of `b - a`, seed by seed and period by period; `None` if no seed is common.
    pub paired: Option<Paired>,
}

/// Compares methods of the same name. Errs unless the common span is the same periods, of the same times and rows.
pub fn compare(a: &Results, b: &Results) -> Result<Comparison, Error> {
    let span = common_span(a, b)?;
    let names = |results: &Results| results.methods.iter().map(|method| method.name.clone()).collect::<BTreeSet<_>>();
    let (names_a, names_b) = (names(a), names(b));
    let mut lines = Vec::new();
    for mine in a.methods.iter().filter(|method| names_b.contains(&method.name)) {
        let theirs = b.method(&mine.name)?;
        lines.extend(METRICS.into_iter().filter_map(|metric| {
            Some(ComparedMetric {
                method: mine.name.clone(),
                metric,
                a: mine.summary(metric.name, &span)?,
                b: theirs.summary(metric.name, &span)?,
                paired: theirs.against(mine, metric.name, &span),
            })
        }));
    }
    Ok(Comparison {
        span,
        lines,
        only_a: names_a.difference(&names_b).cloned().collect(),
        only_b: names_b.difference(&names_a).cloned().collect(),
    })
}

fn common_span(a: &Results, b: &Results) -> Result<Range<u32>, Error> {
    let span = a.span.start.max(b.span.start)..a.span.end.min(b.span.end);
    if span.is_empty() {
        return Err(Error::Incomparable(format!(
            "the first averages periods {:?}, the second {:?}; give both a common span",
            a.span, b.span
        )));
    }
    for index in span.clone() {
        let facts = |results: &Results| {
            results.periods.iter().find(|facts| facts.index == index).map(|facts| (facts.start, facts.end, facts.rows))
        };
        if facts(a) != facts(b) {
            return Err(Error::Incomparable(format!(
                "period {index} is {} in the first and {} in the second; run both on one log with one slicing",
                describe(facts(a)),
                describe(facts(b)),
            )));
        }
    }
    Ok(span)
}

fn describe(facts: Option<(perennial_core::Timestamp, perennial_core::Timestamp, u64)>) -> String {
    match facts {
        Some((start, end, rows)) => {
            format!("{} to {} with {rows} rows", crate::show::time(start), crate::show::time(end))
        }
        None => "absent".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn results_do_not_differ_from_themselves() {
        let results = sample::marketplace();
        let same = compare(&results, &results).unwrap();
        assert_eq!((same.span, same.lines.len()), (24..31, results.methods.len() * METRICS.len()));
        assert!(same.lines.iter().all(|line| line.paired.unwrap().difference == 0.0 && line.paired.unwrap().p == 1.0));
    }

    #[test]
    fn a_change_shows_with_its_sign() {
        let (before, mut after) = (sample::marketplace(), sample::marketplace());
        for (i, run) in (1..).zip(&mut after.methods[3].seeds) {
            for record in &mut run.periods {
                *record.metrics.values.get_mut("auc").unwrap() += 0.01 + 0.001 * f64::from(i);
            }
        }
        after.methods.remove(0);
        let comparison = compare(&before, &after).unwrap();
        let line =
            comparison.lines.iter().find(|line| line.method == "incremental" && line.metric.name == "auc").unwrap();
        let paired = line.paired.unwrap();
        assert!((paired.difference - 0.012).abs() < 1e-12 && paired.p < 0.01, "{paired:?}");
        assert_eq!(comparison.only_a, ["constant"]);
    }

    #[test]
    fn other_periods_are_refused() {
        let refused = |edit: fn(&mut Results), expected: &str| {
            let mut other = sample::marketplace();
            edit(&mut other);
            let error = compare(&sample::marketplace(), &other).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        refused(|other| other.span = 11..20, "the second 11..20");
        refused(|other| other.periods[15].rows += 1, "period 26 is 2020-01-27");
        refused(|other| other.periods.retain(|facts| facts.index != 26), "and absent in the second");
    }
}
