//! Numbers and times as people read them.

use crate::{Metric, Summary};
use perennial_core::Timestamp;

/// `2020-01-31`, or with the time of day where it is not midnight: `2020-01-31 06:00`. UTC.
pub(crate) fn time(time: Timestamp) -> String {
    let Ok(moment) = jiff::Timestamp::from_microsecond(time.0) else { return format!("{} us", time.0) };
    let midnight = time.0.rem_euclid(86_400_000_000) == 0;
    moment.strftime(if midnight { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M" }).to_string()
}

/// `0.7123 ± 0.0012`, or the mean alone for one seed.
pub(crate) fn summary(metric: &Metric, summary: &Summary) -> String {
    match summary.deviation {
        Some(deviation) => format!("{} ± {}", metric.show(summary.mean), metric.show(deviation)),
        None => metric.show(summary.mean),
    }
}

/// `p = 0.034`, `p < 0.0001`.
pub(crate) fn p_value(p: f64) -> String {
    match p {
        p if p < 1e-4 => "p < 0.0001".into(),
        p if p < 0.1 => format!("p = {p:.4}").trim_end_matches('0').to_owned(),
        p => format!("p = {p:.2}"),
    }
}

/// A difference with its sign: `+0.0062`.
pub(crate) fn signed(metric: &Metric, difference: f64) -> String {
    format!("{difference:+.*}", metric.digits).replace('-', "−")
}

/// `78 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0).replace('-', "−")
}

/// `12,345`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or("")).collect();
    groups.join(",")
}

/// `period 24`, `periods 24 to 30`.
pub(crate) fn periods(range: &std::ops::Range<u32>) -> String {
    match range.len() {
        1 => format!("period {}", range.start),
        _ => format!("periods {} to {}", range.start, range.end.saturating_sub(1)),
    }
}

/// `1 period`, `3 periods`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// `a, b and c`.
pub(crate) fn list(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.concat(),
    }
}

/// `0.17 s`, `12 s`, `3.4 min`.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s => format!("{:.1} min", s / 60.0),
    }
}

/// Bars such as `▁▃▅█` between `low` and `high`; a gap where there is no value.
pub(crate) fn sparkline(values: &[Option<f64>], low: f64, high: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let bar = |value: f64| {
        let height = if high > low { (value - low) / (high - low) } else { 0.5 };
        BARS[(height.clamp(0.0, 1.0) * 7.0).round() as usize]
    };
    values.iter().map(|value| value.map_or(' ', bar)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(
            (p_value(3e-7), p_value(0.034), p_value(0.26)),
            ("p < 0.0001".into(), "p = 0.034".into(), "p = 0.26".into())
        );
        assert_eq!((seconds(0.171), seconds(90.0), seconds(204.0)), ("0.17 s".into(), "90 s".into(), "3.4 min".into()));
        assert_eq!((percent(0.784), percent(-0.65)), ("78 %".into(), "−65 %".into()));
        assert_eq!((list(&["a"]), list(&["a", "b", "c"])), ("a".into(), "a, b and c".into()));
        assert_eq!(time(Timestamp(1_580_450_400_000_000)), "2020-01-31 06:00");
        assert_eq!(signed(Metric::named("auc").unwrap(), -0.00624), "−0.0062");
        assert_eq!(sparkline(&[Some(0.0), None, Some(0.5), Some(2.0)], 0.0, 1.0), "▁ ▅█");
    }
}
