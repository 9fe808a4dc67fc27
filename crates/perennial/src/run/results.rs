//! From the ledger to results.

use super::ceiling;
use super::contestant::Contestant;
use super::job::{Job, Shared};
use super::ledger::Place;
use anyhow::{Context, Result};
use perennial_data::log::Log;
use perennial_eval::{MethodKind, MethodResults, PeriodFacts, PeriodRecord, RESULTS_FORMAT, Results, SeedResults};
use perennial_learn::StrategyConfig;
use perennial_model::Objective;

/// Gathers what the ledger says of all jobs.
pub(super) fn collect(shared: &Shared<'_>, jobs: &[Job<'_>], log: &Log) -> Result<Results> {
    let mut methods: Vec<MethodResults> = Vec::new();
    for job in jobs {
        let seed = SeedResults { seed: job.seed, periods: records(shared, job)? };
        let name = job.contestant.name();
        match methods.iter_mut().find(|method| method.name == name) {
            Some(method) => method.seeds.push(seed),
            None => methods.push(MethodResults {
                name: name.to_owned(),
                description: describe(job.contestant),
                objective: objective(job.contestant, shared),
                kind: kind(job.contestant),
                seeds: vec![seed],
            }),
        }
    }
    let averaged = shared.experiment.protocol.average_last.unwrap_or(u32::MAX);
    let first_averaged = shared.periods.end.saturating_sub(averaged).max(shared.periods.start);
    Ok(Results {
        format: RESULTS_FORMAT,
        experiment: shared.experiment.name.clone(),
        log: shared.schema.name.clone(),
        span: first_averaged..shared.periods.end,
        periods: shared.periods.clone().map(|period| facts(shared, period)).collect(),
        methods,
        ceiling: ceiling::of(shared, log)?,
    })
}

/// The loss of a learner, unless it is plain cross-entropy.
fn objective(contestant: Contestant<'_>, shared: &Shared<'_>) -> Option<String> {
    let Contestant::Learner(method) = contestant else { return None };
    let objective = method.training(&shared.experiment.training).objective;
    (objective != Objective::BCE).then(|| objective.name())
}

fn records(shared: &Shared<'_>, job: &Job<'_>) -> Result<Vec<PeriodRecord>> {
    let record = |period: u32| {
        let place = Place { method: job.contestant.name(), seed: job.seed, period };
        let scored = shared.ledger.scored(place)?.with_context(|| {
            format!("the ledger lacks \"{}\", seed {}, period {period}: run again", place.method, place.seed)
        })?;
        let updated = shared.ledger.updated(place)?;
        let version = scored.receipt.scorers.first().map(|scorer| scorer.version);
        Ok(PeriodRecord {
            period,
            metrics: scored.metrics,
            train_seconds: updated.as_ref().map(|updated| updated.seconds),
            score_seconds: scored.seconds,
            trained_rows: updated.as_ref().map_or(0, |updated| updated.trained.rows),
            version,
            gate: updated.and_then(|updated| updated.trained.gate),
        })
    };
    shared.periods.clone().map(record).collect()
}

fn facts(shared: &Shared<'_>, period: u32) -> PeriodFacts {
    let facts = shared.prepared.facts(period as usize);
    PeriodFacts {
        index: period,
        start: facts.start,
        end: facts.end,
        rows: facts.examples(),
        positives: facts.positives,
        new_user_share: facts.new_user_share(),
        new_item_share: facts.new_item_share(),
    }
}

fn kind(contestant: Contestant<'_>) -> MethodKind {
    match contestant {
        Contestant::Constant | Contestant::Popularity => MethodKind::Reference,
        // Behind a gate there is a base model that is updated.
        Contestant::Learner(method) if method.strategy == StrategyConfig::Frozen && method.gate.is_none() => {
            MethodKind::Frozen
        }
        Contestant::Learner(_) => MethodKind::Updated,
    }
}

fn describe(contestant: Contestant<'_>) -> String {
    match contestant {
        Contestant::Constant => "learns nothing: the last period's positive rate for everyone".into(),
        Contestant::Popularity => "learns nothing: each item's smoothed positive rate over the last period".into(),
        Contestant::Learner(method) => method.describe(),
    }
}
