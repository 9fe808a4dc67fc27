//! One method and one seed over all periods: score, evaluate, then learn. This is the whole loop.

use super::archive::Seen;
use super::contestant::{Contestant, Model};
use super::ledger::{Ledger, Place, Scored};
use super::outside::Outside;
use super::publish::{parent_of, publish};
use super::resume::{pretrained_id, pretraining, resume};
use super::{Event, RunOptions, served, version_id};
use crate::experiment::{Experiment, Method, PRETRAINED};
use anyhow::{Context, Result, bail};
use perennial_core::rng::hash_parts;
use perennial_core::{FeatureSet, Role, Schema};
use perennial_eval::evaluate;
use perennial_learn::{Env, LearnError, Learned, Thinning, TrainingConfig};
use perennial_model::Encoder;
use perennial_nn::Workers;
use perennial_store::Store;
use perennial_stream::{AwaitingPeriod, Prepared, SeenPeriod, Timeline};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What all jobs of a run have in common.
pub(super) struct Shared<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) schema: &'a Schema,
    pub(super) prepared: &'a Prepared,
    /// Scores that another system served.
    pub(super) outside: Option<Outside>,
    /// The periods that are scored.
    pub(super) periods: Range<u32>,
    pub(super) store: &'a Store,
    pub(super) ledger: &'a Ledger,
    pub(super) options: &'a RunOptions<'a>,
    /// Held to publish a version by many, to collect garbage by one: a job waits for a collection of this run, where the
    /// store itself, which cannot know whose it is, would in the end refuse.
    pub(super) store_turns: RwLock<()>,
    /// Set when a job fails, so that the others do not go on for nothing.
    pub(super) failed: AtomicBool,
}

impl Shared<'_> {
    /// Whether jobs shall end at the next safe moment.
    fn stop(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.options.watch.stop()
    }

    /// What learners train on of what was seen, and what that does to their scores.
    pub(super) fn thinning(&self) -> Thinning {
        Thinning::of(&self.experiment.training)
    }

    /// What learners see of a period: scores of another system joined to it, negatives thinned.
    pub(super) fn lesson(&self, seen: SeenPeriod) -> SeenPeriod {
        let seen = match &self.outside {
            None => seen,
            Some(outside) => outside.join(seen),
        };
        self.thinning().thin(seen)
    }

    /// A model that has learned nothing.
    pub(super) fn blank(&self, seed: u64) -> Result<Learned, LearnError> {
        let Experiment { encoder, model, training, data, .. } = self.experiment;
        let features = FeatureSet::of(self.schema, data.history > 0);
        Learned::new(model, Encoder::new(features, encoder.clone()), training, seed)
    }
}

/// Keys of users as metrics want them, where 0 is nobody: an id that happens to be 0 becomes another.
pub(crate) fn users_of<'k>(schema: &Schema, keys: &'k [u64]) -> Cow<'k, [u64]> {
    let other = |&key: &u64| if key == 0 { hash_parts(&[0]) } else { key };
    match schema.key_of(Role::User) {
        Some(_) if keys.contains(&0) => keys.iter().map(other).collect(),
        _ => Cow::Borrowed(keys),
    }
}

/// One line through the periods.
pub(super) struct Job<'a> {
    pub(super) contestant: Contestant<'a>,
    /// 0 for references, which have no use for one.
    pub(super) seed: u64,
}

impl Job<'_> {
    /// Where the ledger keeps what this job did in a period.
    pub(super) fn place(&self, period: u32) -> Place<'_> {
        Place { method: self.contestant.name(), seed: self.seed, period }
    }
}

/// A job between two periods.
pub(super) struct State {
    pub(super) model: Model,
    /// What every learner of the seed started from; `None` for references.
    pub(super) pretrained: Option<Learned>,
    pub(super) timeline: Timeline,
    pub(super) seen: Seen,
    /// Whether what was served is learned from.
    pub(super) compares_with_served: bool,
    /// The period that is scored next.
    pub(super) next: u32,
}

/// Makes the pre-trained version of a seed unless it is there.
pub(super) fn pretrain(shared: &Shared<'_>, seed: u64, workers: &Workers) -> Result<()> {
    let place = Place { method: PRETRAINED, seed, period: shared.periods.start - 1 };
    let id = pretrained_id(seed)?;
    if shared.ledger.updated(place)?.is_some() && shared.store.list(id.as_str())?.contains(&id) {
        return super::resume::check_data(shared, place, 0..shared.periods.start);
    }
    let clock = Instant::now();
    let seen = pretraining(shared)?;
    if seen.rows() == 0 {
        let text = "no label was known when pre-training ended: nothing is learned from it";
        shared.options.watch.tell(Event::Noted { text });
    }
    let blank = shared.blank(seed)?;
    let training = &shared.experiment.training;
    let update = Update { shared, training, place, pretrained: &blank, archive: &Seen::new(0), workers };
    let (learned, trained) = update.run(|env| perennial_learn::pretrain(blank.clone(), &seen, env))?;
    publish(shared, place, &id, None, 0..shared.periods.start, &learned, &trained, clock)
}

/// Runs a job from where its ledger ends.
pub(super) fn run(shared: &Shared<'_>, job: &Job<'_>, workers: &Workers) -> Result<()> {
    let name = job.contestant.name();
    let mut state = resume(shared, job).with_context(|| format!("method \"{name}\", seed {}", job.seed))?;
    while state.next < shared.periods.end {
        if shared.stop() {
            bail!(LearnError::Stopped);
        }
        let period = state.next;
        step(shared, job, &mut state, workers)
            .with_context(|| format!("method \"{name}\", seed {}, period {period}", job.seed))?;
    }
    Ok(())
}

/// Scores the next period, then learns from it.
fn step(shared: &Shared<'_>, job: &Job<'_>, state: &mut State, workers: &Workers) -> Result<()> {
    let place = job.place(state.next);
    let awaiting = score(shared, place, state, workers)?;
    let seen = state.timeline.close(awaiting)?;
    state.next += 1;
    if state.next == shared.periods.end {
        return Ok(());
    }
    match job.contestant {
        Contestant::Learner(method) => {
            let seen = shared.lesson(seen);
            learn(shared, method, place, state, &seen, workers)?;
            state.seen.push(seen);
        }
        reference => {
            let model = reference.reference(seen.parts().iter().map(|part| &**part));
            state.model = model.expect("a contestant is a reference or a learner");
        }
    }
    Ok(())
}

/// Scores a period, or finds that this very model has scored it before.
fn score(shared: &Shared<'_>, place: Place<'_>, state: &State, workers: &Workers) -> Result<AwaitingPeriod> {
    let data = shared.prepared.digest(place.period as usize)?;
    let version = state.model.digest(place.method, place.period);
    let fresh = shared.prepared.fresh(place.period as usize)?;
    if let (Model::Learned(_), Some(found)) = (&state.model, shared.ledger.scored(place)?)
        && (found.data, found.receipt.scorers.first().map(|scorer| scorer.version)) == (data, Some(version))
    {
        let awaiting = fresh.rescored_by(&found.receipt)?;
        return if state.compares_with_served { served::recall(shared, place, awaiting) } else { Ok(awaiting) };
    }
    let clock = Instant::now();
    let mut scoring = fresh.scoring();
    let logits =
        scoring.score(place.method, version, |inputs| state.model.score(inputs, shared.thinning(), workers))?;
    let seconds = clock.elapsed().as_secs_f64();
    let (awaiting, receipt) = scoring.finish()?;
    let outcome = awaiting.outcome();
    let metrics = evaluate(&logits, &outcome.label, &outcome.weight, &users_of(shared.schema, &outcome.user))?;
    let compares = state.compares_with_served;
    if shared.experiment.keep.scores || compares {
        served::keep(shared, place, &outcome.event, &logits)?;
    }
    let Place { method, seed, period } = place;
    shared.options.watch.tell(Event::Scored { method, seed, period, metrics: &metrics });
    shared.ledger.record_scored(place, &Scored { receipt, data, metrics, seconds })?;
    Ok(if compares { awaiting.with_scores(logits)? } else { awaiting })
}

fn learn(
    shared: &Shared<'_>,
    method: &Method,
    place: Place<'_>,
    state: &mut State,
    seen: &SeenPeriod,
    workers: &Workers,
) -> Result<()> {
    let clock = Instant::now();
    let (Model::Learned(model), Some(pretrained)) = (&mut state.model, &state.pretrained) else {
        unreachable!("a learner has a model and was pre-trained")
    };
    let previous = std::mem::replace(&mut **model, pretrained.clone());
    let training = &method.training(&shared.experiment.training);
    let update = Update { shared, training, place, pretrained, archive: &state.seen, workers };
    let (learned, trained) = update.run(|env| method.update(previous, seen, env))?;
    let id = version_id(&method.name, place.seed, place.period)?;
    let parent = parent_of(shared, place)?;
    publish(shared, place, &id, Some(parent), place.period..place.period + 1, &learned, &trained, clock)?;
    **model = learned;
    Ok(())
}

/// The circumstances of one update.
struct Update<'a> {
    shared: &'a Shared<'a>,
    training: &'a TrainingConfig,
    place: Place<'a>,
    pretrained: &'a Learned,
    archive: &'a Seen,
    workers: &'a Workers,
}

impl Update<'_> {
    fn run<R>(&self, work: impl FnOnce(&Env<'_>) -> R) -> R {
        let Update { shared, training, place: Place { method, seed, period }, pretrained, archive, workers } = *self;
        let progress = |step: u64, of: u64| {
            shared.options.watch.tell(Event::Training { method, seed, period, step, of });
            !shared.stop()
        };
        let examples = || {
            let examples = pretraining(shared);
            examples.map_err(|error| LearnError::Archive {
                period: shared.periods.start - 1,
                problem: format!("{error:#}"),
            })
        };
        work(&Env {
            training,
            seed,
            pretrained,
            blank: &|| shared.blank(seed),
            pretraining: &examples,
            archive,
            workers,
            progress: &progress,
        })
    }
}
