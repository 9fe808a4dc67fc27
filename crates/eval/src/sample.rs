//! Made-up results for tests: four methods over twenty periods of a marketplace whose taste flips half way.

use crate::*;
use perennial_core::{Digest, Stream, Timestamp};
use std::collections::BTreeMap;

pub(crate) const PERIODS: std::ops::Range<u32> = 11..31;

/// Constant, popularity, frozen, incremental and batch, three seeds each (references one), with a ceiling.
pub(crate) fn marketplace() -> Results {
    let methods = [
        ("constant", "The pre-training click rate for every row.", MethodKind::Reference, 1),
        ("popularity", "The item's smoothed click rate in the last period.", MethodKind::Reference, 1),
        ("frozen", "Pre-trained once, never updated.", MethodKind::Frozen, 3),
        ("incremental", "Fine-tuned on each period as it closes.", MethodKind::Updated, 3),
        ("batch-7", "Retrained on the last seven periods.", MethodKind::Updated, 3),
    ];
    Results {
        format: RESULTS_FORMAT,
        experiment: "marketplace <demo>".into(),
        log: "synthetic marketplace".into(),
        span: 24..31,
        periods: PERIODS.map(facts).collect(),
        methods: methods
            .into_iter()
            .map(|(name, description, kind, seeds)| MethodResults {
                name: name.into(),
                description: description.into(),
                objective: None,
                kind,
                seeds: (1..=seeds).map(|seed| run(name, kind, seed)).collect(),
            })
            .collect(),
        ceiling: Some(PERIODS.map(|period| PeriodScore { period, metrics: metrics("ceiling", 0, period) }).collect()),
    }
}

fn facts(index: u32) -> PeriodFacts {
    let day = |index: u32| Timestamp(1_577_836_800_000_000 + i64::from(index) * 86_400_000_000);
    let mut noise = Stream::new(&[u64::from(index)]);
    let rows = 9_000 + noise.below(2_500) + if index == 22 { 4_000 } else { 0 };
    PeriodFacts {
        index,
        start: day(index),
        end: day(index + 1),
        rows,
        positives: rows / 4 + noise.below(200),
        new_user_share: Some(0.04 + 0.02 * noise.unit_f64()),
        new_item_share: Some(if index % 5 == 2 { 0.22 } else { 0.06 } + 0.02 * noise.unit_f64()),
    }
}

fn run(name: &str, kind: MethodKind, seed: u64) -> SeedResults {
    let record = |period| {
        let rows = match name {
            "incremental" => 10_000,
            "batch-7" => 70_000,
            _ => 0,
        };
        PeriodRecord {
            period,
            metrics: metrics(name, seed, period),
            train_seconds: (kind == MethodKind::Updated).then(|| rows as f64 / 60_000.0 * (1.0 + 0.01 * seed as f64)),
            score_seconds: 0.05,
            trained_rows: rows,
            version: (kind != MethodKind::Reference).then(|| Digest::of_bytes(name.as_bytes())),
            gate: None,
        }
    };
    SeedResults { seed, periods: PERIODS.map(record).collect() }
}

/// An AUC with the period's weather (shared by all), the seed's noise, and a story; the other metrics follow from it.
fn metrics(name: &str, seed: u64, period: u32) -> PeriodMetrics {
    let age = f64::from(period - PERIODS.start);
    let weather = 0.012 * Stream::new(&[77, u64::from(period)]).normal();
    let noise = 0.0025 * Stream::new(&[seed, u64::from(period), name.len() as u64]).normal();
    let after_flip = if period >= 20 { 1.0 } else { 0.0 };
    let auc = match name {
        "constant" => 0.5,
        "popularity" => 0.604 + weather / 2.0,
        "frozen" => 0.716 - 0.0015 * age - 0.028 * after_flip + weather + noise,
        "incremental" => 0.721 - 0.02 * after_flip * (-(age - 9.0) / 2.0).exp() + weather + noise,
        "batch-7" => 0.728 - 0.025 * after_flip * (-(age - 9.0) / 4.0).exp() + weather + noise,
        _ => 0.762 + weather,
    };
    let (loss, entropy) = (0.562 - 0.42 * (auc - 0.5), 0.5623);
    let calibration = if name == "ceiling" { 1.0 + noise } else { 1.0 + 0.02 * after_flip + 3.0 * noise };
    let mut values = BTreeMap::from([
        ("log_loss".to_owned(), loss),
        ("normalised_entropy".to_owned(), loss / entropy),
        ("calibration".to_owned(), calibration),
        ("ece".to_owned(), 0.004 + (calibration - 1.0).abs() / 3.0),
        ("auc".to_owned(), auc),
    ]);
    // No user of period 13 clicked and skipped: GAUC is undefined there for everyone.
    if period != 13 {
        values.insert("gauc".to_owned(), 0.5 + (auc - 0.5) * 0.8);
    }
    let facts = facts(period);
    PeriodMetrics { rows: facts.rows, unlabelled: 0, positives: facts.positives, values }
}
