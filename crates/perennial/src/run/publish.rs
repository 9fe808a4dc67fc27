//! A version for every update.

use super::job::Shared;
use super::ledger::{Place, Updated};
use super::resume::{data_digest, pretrained_id};
use super::{Event, version, version_id};
use crate::experiment::Experiment;
use anyhow::Result;
use perennial_learn::{Learned, Trained, TrainingConfig};
use perennial_store::{DataRange, Lineage, VersionId};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

/// Publishes a version, then records in the ledger that the update is done: in this order, so that what is recorded
/// exists.
#[expect(clippy::too_many_arguments, reason = "each says one thing about the version; a struct would only rename them")]
pub(super) fn publish(
    shared: &Shared<'_>,
    place: Place<'_>,
    id: &VersionId,
    parent: Option<VersionId>,
    learned_from: Range<u32>,
    learned: &Learned,
    trained: &Trained,
    clock: Instant,
) -> Result<()> {
    let seconds = clock.elapsed().as_secs_f64();
    let histories = shared.prepared.state(place.period as usize)?;
    let lineage = lineage(shared, place, parent, &learned_from, learned, trained)?;
    let bundle = version::bundle(learned, shared.experiment, shared.schema, &histories, lineage)?;
    {
        let _turn = shared.store_turns.read().expect("nobody panics while holding a turn");
        shared.store.publish(id, &bundle)?;
    }
    let data = data_digest(shared, learned_from)?;
    shared.ledger.record_updated(place, &Updated { trained: *trained, version: bundle.content, data, seconds })?;
    let Place { method, seed, period } = place;
    shared.options.watch.tell(Event::Updated { method, seed, period, trained, seconds });
    Ok(())
}

/// The version that the update on a period starts from.
pub(super) fn parent_of(shared: &Shared<'_>, place: Place<'_>) -> Result<VersionId> {
    match place.period == shared.periods.start {
        true => pretrained_id(place.seed),
        false => version_id(place.method, place.seed, place.period - 1),
    }
}

/// What the version was trained on, and against which earlier scores if any.
fn objective(shared: &Shared<'_>, place: Place<'_>) -> String {
    let Experiment { training, method, .. } = shared.experiment;
    let method = method.iter().find(|method| method.name == place.method);
    let TrainingConfig { objective, previous, .. } = method.map_or_else(|| training.clone(), |m| m.training(training));
    match objective.needs_previous() {
        true => format!("{}, earlier scores {}", objective.name(), previous.name()),
        false => objective.name(),
    }
}

fn lineage(
    shared: &Shared<'_>,
    place: Place<'_>,
    parent: Option<VersionId>,
    periods: &Range<u32>,
    learned: &Learned,
    trained: &Trained,
) -> Result<Lineage> {
    let facts = |period: u32| shared.prepared.facts(period as usize);
    let data = DataRange {
        first_period: u64::from(periods.start),
        last_period: u64::from(periods.end - 1),
        start: facts(periods.start).start,
        end: facts(periods.end - 1).end,
    };
    let mut extra = BTreeMap::new();
    if let Some(gate) = &trained.gate {
        extra.insert("gate".to_owned(), serde_json::to_string(gate)?);
    }
    if let Some(outside) = &shared.outside {
        extra.insert("served_scores".to_owned(), outside.describe());
    }
    if let Some(mixed) = &learned.mixed {
        let weights: Vec<f64> = mixed.members.iter().map(|member| member.weight).collect();
        extra.insert("weights".to_owned(), serde_json::to_string(&weights)?);
    }
    Ok(Lineage {
        parent,
        data: Some(data),
        strategy: place.method.to_owned(),
        objective: objective(shared, place),
        seed: place.seed,
        kernel_set: perennial_nn::kernel_set().to_owned(),
        created_by: format!("perennial {}", env!("CARGO_PKG_VERSION")),
        extra,
    })
}
