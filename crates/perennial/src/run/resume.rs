//! Where a job stands when it begins, or begins again.
//!
//! A period is done when its version exists and the ledger holds both its records. A job goes on after the last period
//! up to which all are done; what lies after it is made again. Done periods are never taken on trust: the ledger
//! records the digest of the data that was learned from, and a log that has changed since is refused by name.

use super::archive::Seen;
use super::contestant::{Contestant, Model};
use super::job::{Job, Shared, State};
use super::ledger::Place;
use super::outside::Outside;
use super::{served, version, version_id};
use crate::experiment::PRETRAINED;
use anyhow::{Context, Result, bail};
use perennial_core::{Digest, DigestBuilder, Examples, FieldKind, Span, Timestamp};
use perennial_store::VersionId;
use perennial_stream::{SeenPeriod, Timeline};
use std::ops::Range;
use std::sync::Arc;

/// Name of the version that every method of a seed starts from.
pub(super) fn pretrained_id(seed: u64) -> Result<VersionId> {
    version_id(PRETRAINED, seed, 0)
}

/// The state of a job after the last period that is done.
pub(super) fn resume(shared: &Shared<'_>, job: &Job<'_>) -> Result<State> {
    let start = shared.periods.start;
    let reach = job.contestant.reach();
    let mut seen = Seen::new(reach);
    for period in (start as usize).saturating_sub(reach)..start as usize {
        seen.push(one_of_pretraining(shared, period as u32)?);
    }
    let (timeline, next) = (timeline(shared)?, start);
    match job.contestant {
        Contestant::Learner(method) => {
            // Where another system's scores are logged, nobody learns from its own.
            let compares_with_served =
                shared.outside.is_none() && method.compares_with_served(&shared.experiment.training);
            let pretrained = version::load_learned(shared.store, &pretrained_id(job.seed)?)?;
            let model = Model::Learned(Box::new(pretrained.clone()));
            let mut state = State { model, pretrained: Some(pretrained), timeline, seen, compares_with_served, next };
            catch_up(shared, job, &mut state)?;
            Ok(state)
        }
        reference => {
            let parts = last_observed(shared)?;
            let model = reference.reference(parts.iter().map(|part| &**part)).expect("it is a reference");
            Ok(State { model, pretrained: None, timeline, seen, compares_with_served: false, next })
        }
    }
}

/// Takes the state over the periods that are done, without scoring or learning again.
fn catch_up(shared: &Shared<'_>, job: &Job<'_>, state: &mut State) -> Result<()> {
    let Some(last) = last_done(shared, job)? else { return Ok(()) };
    while state.next <= last {
        check_data(shared, job.place(state.next), state.next..state.next + 1)?;
        let scored = shared.ledger.scored(job.place(state.next))?.context("a done period was scored")?;
        let mut awaiting = shared.prepared.fresh(state.next as usize)?.rescored_by(&scored.receipt)?;
        if state.compares_with_served {
            awaiting = served::recall(shared, job.place(state.next), awaiting)?;
        }
        let seen = shared.lesson(state.timeline.close(awaiting)?);
        state.seen.push(seen);
        state.next += 1;
    }
    let id = version_id(job.contestant.name(), job.seed, last)?;
    state.model = Model::Learned(Box::new(version::load_learned(shared.store, &id)?));
    Ok(())
}

/// The last period whose version exists and up to which the ledger holds all records. The last scored period of a run
/// is never learned from, so it is never done.
fn last_done(shared: &Shared<'_>, job: &Job<'_>) -> Result<Option<u32>> {
    let group = format!("{}/{}/", job.contestant.name(), job.seed);
    let versions = shared.store.list(&group)?;
    let mut last = None;
    for period in shared.periods.start..shared.periods.end {
        let place = job.place(period);
        if shared.ledger.scored(place)?.is_none() || shared.ledger.updated(place)?.is_none() {
            break;
        }
        if versions.contains(&version_id(place.method, place.seed, period)?) {
            last = Some(period);
        }
    }
    Ok(last)
}

/// Refuses to go on from an update that learned from other data than these periods hold now.
pub(super) fn check_data(shared: &Shared<'_>, place: Place<'_>, periods: Range<u32>) -> Result<()> {
    let now = data_digest(shared, periods)?;
    match shared.ledger.updated(place)? {
        Some(updated) if updated.data != now => bail!(
            "what \"{}\", seed {}, learned from up to period {} had digest {}, and the log holds {} there now: it was \
             imported anew or changed. Choose another folder with --out, or delete {}",
            place.method,
            place.seed,
            place.period,
            updated.data.short(),
            now.short(),
            shared.options.out.display()
        ),
        _ => Ok(()),
    }
}

/// Digest over the examples of some periods.
pub(super) fn data_digest(shared: &Shared<'_>, periods: Range<u32>) -> Result<Digest> {
    let mut digest = DigestBuilder::new("periods");
    for period in periods {
        digest.digest(&shared.prepared.digest(period as usize)?);
    }
    if let Some(scores) = shared.outside.as_ref().and_then(Outside::digest) {
        digest.digest(&scores);
    }
    Ok(digest.finish())
}

/// All of pre-training as one seen period.
pub(super) fn pretraining(shared: &Shared<'_>) -> Result<SeenPeriod> {
    Ok(shared.lesson(shared.prepared.pretraining(shared.periods.start as usize)?.0))
}

/// The timeline when pre-training has ended: it holds the periods whose labels were not all observable by then.
fn timeline(shared: &Shared<'_>) -> Result<Timeline> {
    let last = shared.periods.start - 1;
    let mut late = Vec::new();
    if labels_can_be_late(shared) {
        for period in 0..=last {
            let part = shared.prepared.load(period as usize)?;
            if part.observable.iter().any(|at| *at >= end_of(shared, last)) {
                late.push(part);
            }
        }
    }
    Ok(SeenPeriod::pretraining(last as usize, end_of(shared, last), late).1)
}

fn labels_can_be_late(shared: &Shared<'_>) -> bool {
    let observed = |kind: &FieldKind| matches!(kind, FieldKind::Label { observed_at: Some(_), .. });
    shared.experiment.data.label_delay > Span::ZERO || shared.schema.labels().any(|field| observed(&field.kind))
}

/// One period of pre-training, as far as its labels were observable when pre-training ended.
fn one_of_pretraining(shared: &Shared<'_>, period: u32) -> Result<SeenPeriod> {
    let end = end_of(shared, shared.periods.start - 1);
    let parts = vec![shared.prepared.load(period as usize)?];
    Ok(shared.lesson(SeenPeriod::pretraining(period as usize, end, parts).0))
}

/// The examples whose labels became observable during the last period of pre-training: what the references are made
/// of before the first score, as they are made of a seen period after each.
fn last_observed(shared: &Shared<'_>) -> Result<Vec<Arc<Examples>>> {
    let last = shared.periods.start - 1;
    let from = if last == 0 { Timestamp(i64::MIN) } else { end_of(shared, last - 1) };
    let first = if labels_can_be_late(shared) { 0 } else { last };
    let mut parts = Vec::new();
    for period in first..=last {
        let part = shared.prepared.load(period as usize)?;
        let seen = |row: &u32| {
            let row = *row as usize;
            !part.label[row].is_nan() && (from..end_of(shared, last)).contains(&part.observable[row])
        };
        let rows: Vec<u32> = (0..part.len() as u32).filter(seen).collect();
        parts.push(Arc::new(part.select(&rows)));
    }
    Ok(parts)
}

fn end_of(shared: &Shared<'_>, period: u32) -> Timestamp {
    shared.prepared.facts(period as usize).end
}
