//! One method and one seed over all periods: score, evaluate, then learn.

use super::archive::Seen;
use super::ledger::{Ledger, Place, Scored, Updated};
use super::{Event, RunOptions, files, version, version_id};
use crate::experiment::{Experiment, Method, PRETRAINED};
use anyhow::{Context, Result, bail};
use perennial_core::rng::hash_parts;
use perennial_core::{Digest, DigestBuilder, FeatureSet, Role, Schema, Timestamp};
use perennial_data::scores::ScoreWriter;
use perennial_eval::evaluate;
use perennial_learn::reference::{Constant, Popularity};
use perennial_learn::{Env, LearnError, Learned, Trained};
use perennial_model::Encoder;
use perennial_nn::Workers;
use perennial_store::{DataRange, Lineage, Store, VersionId};
use perennial_stream::{FreshPeriod, Inputs, Prepared, SeenPeriod, StreamError, Timeline};
use std::borrow::Cow;
use std::ops::Range;
use std::time::Instant;

/// What all jobs of a run have in common.
pub(super) struct Shared<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) schema: &'a Schema,
    pub(super) prepared: &'a Prepared,
    /// The periods that are scored.
    pub(super) periods: Range<u32>,
    pub(super) store: &'a Store,
    pub(super) ledger: &'a Ledger,
    pub(super) options: &'a RunOptions<'a>,
}

/// One line through the periods.
pub(super) struct Job<'a> {
    pub(super) contestant: Contestant<'a>,
    /// 0 for references, which have no use for one.
    pub(super) seed: u64,
}

/// Who takes part.
#[derive(Clone, Copy)]
pub(super) enum Contestant<'a> {
    Constant,
    Popularity,
    Learner(&'a Method),
}

impl Contestant<'_> {
    pub(super) fn name(&self) -> &str {
        match self {
            Contestant::Constant => "constant",
            Contestant::Popularity => "popularity",
            Contestant::Learner(method) => &method.name,
        }
    }
}

/// What scores the next period.
enum Model {
    Constant(Constant),
    Popularity(Popularity),
    Learned(Box<Learned>),
}

impl Model {
    fn reference(contestant: Contestant<'_>, seen: &SeenPeriod) -> Option<Model> {
        let parts = seen.parts().iter().map(|part| &**part);
        match contestant {
            Contestant::Constant => Some(Model::Constant(Constant::of(parts))),
            Contestant::Popularity => Some(Model::Popularity(Popularity::of(parts))),
            Contestant::Learner(_) => None,
        }
    }

    fn score(&self, inputs: Inputs<'_>, workers: &Workers) -> Result<Vec<f32>, anyhow::Error> {
        let examples = inputs.examples();
        Ok(match self {
            Model::Constant(constant) => constant.score(examples.len()),
            Model::Popularity(popularity) => popularity.score(&examples.item),
            Model::Learned(learned) => {
                learned.servable.score(&examples.keys, &examples.columns, examples.len(), workers)?
            }
        })
    }

    fn digest(&self, name: &str, period: u32) -> Digest {
        match self {
            Model::Learned(learned) => learned.digest(),
            _ => DigestBuilder::new("reference").str(name).u64(u64::from(period)).finish(),
        }
    }
}

/// A job between two periods.
struct State {
    model: Model,
    pretrained: Learned,
    timeline: Timeline,
    seen: Seen,
    next: u32,
}

/// Name of the version that every method of a seed starts from.
pub(super) fn pretrained_id(seed: u64) -> Result<VersionId> {
    version_id(PRETRAINED, seed, 0)
}

/// Makes the pre-trained version of a seed unless it is there.
pub(super) fn pretrain(shared: &Shared<'_>, seed: u64, workers: &Workers) -> Result<()> {
    let place = Place { method: PRETRAINED, seed, period: shared.periods.start - 1 };
    if shared.ledger.updated(place)?.is_some() {
        return Ok(());
    }
    let clock = Instant::now();
    let (seen, _) = pretraining(shared)?;
    let blank = blank(shared, seed)?;
    let learned = with_env(shared, PRETRAINED, seed, place.period, &blank, &Seen::new(0), workers, |env| {
        perennial_learn::pretrain(blank.clone(), &seen, env)
    });
    let (learned, trained) = learned?;
    let lineage = lineage(shared, PRETRAINED, seed, None, 0..shared.periods.start)?;
    publish(shared, place, &pretrained_id(seed)?, &learned, &trained, lineage, clock)
}

/// Runs a job from where its ledger ends.
pub(super) fn run(shared: &Shared<'_>, job: &Job<'_>, workers: &Workers) -> Result<()> {
    let name = job.contestant.name();
    let mut state = resume(shared, job).with_context(|| format!("method \"{name}\", seed {}", job.seed))?;
    while state.next < shared.periods.end {
        if shared.options.watch.stop() {
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
    let place = Place { method: job.contestant.name(), seed: job.seed, period: state.next };
    let seen = score(shared, place, state, workers)?;
    state.next += 1;
    if state.next == shared.periods.end {
        return Ok(());
    }
    match (Model::reference(job.contestant, &seen), job.contestant) {
        (Some(model), _) => state.model = model,
        (None, Contestant::Learner(method)) => learn(shared, method, place, state, &seen, workers)?,
        (None, _) => unreachable!("a contestant is a reference or a learner"),
    }
    state.seen.push(seen);
    Ok(())
}

fn score(shared: &Shared<'_>, place: Place<'_>, state: &mut State, workers: &Workers) -> Result<SeenPeriod> {
    let clock = Instant::now();
    let mut scoring = fresh(shared, place.period)?.scoring();
    let digest = state.model.digest(place.method, place.period);
    let logits = scoring.score(place.method, digest, |inputs| state.model.score(inputs, workers))?;
    let seconds = clock.elapsed().as_secs_f64();
    let (awaiting, receipt) = scoring.finish()?;
    let outcome = awaiting.outcome();
    let metrics = evaluate(&logits, &outcome.label, &outcome.weight, &users(shared, &outcome.user))?;
    if shared.experiment.keep.scores {
        let folder = shared.options.out.join(files::SCORES).join(place.method).join(place.seed.to_string());
        shared.options.disk.create_folder(&folder)?;
        let mut writer = ScoreWriter::create(&folder.join(format!("{:04}.parquet", place.period)))?;
        writer.write(&outcome.event, &logits)?;
        writer.finish()?;
    }
    shared.options.watch.tell(Event::Scored {
        method: place.method,
        seed: place.seed,
        period: place.period,
        metrics: &metrics,
    });
    shared.ledger.record_scored(place, &Scored { receipt, metrics, seconds })?;
    Ok(state.timeline.close(awaiting)?)
}

/// Keys of users as metrics want them, where 0 is nobody: an id that happens to be 0 becomes another.
pub(super) fn users<'a>(shared: &Shared<'_>, keys: &'a [u64]) -> Cow<'a, [u64]> {
    match shared.schema.key_of(Role::User) {
        Some(_) if keys.contains(&0) => keys.iter().map(|&key| if key == 0 { hash_parts(&[0]) } else { key }).collect(),
        _ => Cow::Borrowed(keys),
    }
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
    let Model::Learned(previous) = &mut state.model else { unreachable!("a learner has a model") };
    let previous = std::mem::replace(&mut **previous, state.pretrained.clone());
    let updated =
        with_env(shared, &method.name, place.seed, place.period, &state.pretrained, &state.seen, workers, |env| {
            method.strategy.update(previous, seen, env)
        });
    let (learned, trained) = updated?;
    let parent = match place.period == shared.periods.start {
        true => pretrained_id(place.seed)?,
        false => version_id(&method.name, place.seed, place.period - 1)?,
    };
    let lineage = lineage(shared, &method.name, place.seed, Some(parent), place.period..place.period + 1)?;
    let id = version_id(&method.name, place.seed, place.period)?;
    publish(shared, place, &id, &learned, &trained, lineage, clock)?;
    state.model = Model::Learned(Box::new(learned));
    Ok(())
}

fn publish(
    shared: &Shared<'_>,
    place: Place<'_>,
    id: &VersionId,
    learned: &Learned,
    trained: &Trained,
    lineage: Lineage,
    clock: Instant,
) -> Result<()> {
    let seconds = clock.elapsed().as_secs_f64();
    let history = shared.prepared.state(place.period as usize)?;
    let bundle = version::bundle(learned, shared.experiment, shared.schema, &history, lineage)?;
    shared.store.publish(id, &bundle)?;
    let record = Updated { trained: *trained, version: bundle.content, seconds };
    shared.ledger.record_updated(place, &record)?;
    let Place { method, seed, period } = place;
    shared.options.watch.tell(Event::Updated { method, seed, period, trained, seconds });
    Ok(())
}

/// Where the job stands: after the last period whose update the ledger holds.
fn resume(shared: &Shared<'_>, job: &Job<'_>) -> Result<State> {
    let name = job.contestant.name();
    let (_, timeline) = pretraining(shared)?;
    let last = last_of_pretraining(shared, shared.periods.start - 1)?;
    let (pretrained, model) = match job.contestant {
        Contestant::Learner(_) => {
            let pretrained = version::load_learned(shared.store, &pretrained_id(job.seed)?)?;
            (pretrained.clone(), Model::Learned(Box::new(pretrained)))
        }
        reference => (blank(shared, 0)?, Model::reference(reference, &last).expect("it is a reference")),
    };
    let reach = match job.contestant {
        Contestant::Learner(method) => method.strategy.reach(),
        _ => 0,
    };
    let mut seen = Seen::new(reach);
    for period in (shared.periods.start as usize).saturating_sub(reach)..shared.periods.start as usize {
        seen.push(last_of_pretraining(shared, period as u32)?);
    }
    let mut state = State { model, pretrained, timeline, seen, next: shared.periods.start };
    if let Contestant::Learner(_) = job.contestant {
        catch_up(shared, name, job.seed, &mut state)?;
    }
    Ok(state)
}

/// Takes the state over the periods that the ledger holds, without scoring or learning again.
fn catch_up(shared: &Shared<'_>, method: &str, seed: u64, state: &mut State) -> Result<()> {
    let place = |period| Place { method, seed, period };
    while state.next < shared.periods.end && shared.ledger.updated(place(state.next))?.is_some() {
        let Some(scored) = shared.ledger.scored(place(state.next))? else {
            bail!("the ledger says that period {} was learned from, but not that it was scored", state.next);
        };
        let awaiting = fresh(shared, state.next)?.rescored_by(&scored.receipt)?;
        let seen = state.timeline.close(awaiting)?;
        state.seen.push(seen);
        state.next += 1;
    }
    if state.next > shared.periods.start {
        let id = version_id(method, seed, state.next - 1)?;
        state.model = Model::Learned(Box::new(version::load_learned(shared.store, &id)?));
    }
    Ok(())
}

fn fresh(shared: &Shared<'_>, period: u32) -> Result<FreshPeriod, StreamError> {
    shared.prepared.fresh(period as usize)
}

fn end_of(shared: &Shared<'_>, period: u32) -> Timestamp {
    shared.prepared.facts(period as usize).end
}

/// All of pre-training as one seen period, and what its late labels still owe.
fn pretraining(shared: &Shared<'_>) -> Result<(SeenPeriod, Timeline)> {
    Ok(shared.prepared.pretraining(shared.periods.start as usize)?)
}

/// One period of pre-training, as far as its labels were observable when pre-training ended.
fn last_of_pretraining(shared: &Shared<'_>, period: u32) -> Result<SeenPeriod> {
    let end = end_of(shared, shared.periods.start - 1);
    let parts = vec![shared.prepared.load(period as usize)?];
    Ok(SeenPeriod::pretraining(period as usize, end, parts).0)
}

fn blank(shared: &Shared<'_>, seed: u64) -> Result<Learned, LearnError> {
    let Experiment { encoder, model, training, data, .. } = shared.experiment;
    let features = FeatureSet::of(shared.schema, data.history > 0);
    Learned::new(model, Encoder::new(features, encoder.clone()), training, seed)
}

#[allow(clippy::too_many_arguments, reason = "it gathers an environment; a struct for it would only be Env again")]
fn with_env<R>(
    shared: &Shared<'_>,
    method: &str,
    seed: u64,
    period: u32,
    pretrained: &Learned,
    archive: &Seen,
    workers: &Workers,
    work: impl FnOnce(&Env<'_>) -> R,
) -> R {
    let watch = shared.options.watch;
    let progress = |step: u64, of: u64| {
        watch.tell(Event::Training { method, seed, period, step, of });
        !watch.stop()
    };
    work(&Env {
        training: &shared.experiment.training,
        seed,
        pretrained,
        blank: &|| blank(shared, seed),
        archive,
        workers,
        progress: &progress,
    })
}

fn lineage(
    shared: &Shared<'_>,
    method: &str,
    seed: u64,
    parent: Option<VersionId>,
    periods: Range<u32>,
) -> Result<Lineage> {
    let facts = |period: u32| shared.prepared.facts(period as usize);
    let data = DataRange {
        first_period: u64::from(periods.start),
        last_period: u64::from(periods.end - 1),
        start: facts(periods.start).start,
        end: facts(periods.end - 1).end,
    };
    Ok(Lineage {
        parent,
        data: Some(data),
        strategy: method.to_owned(),
        objective: shared.experiment.training.objective.name().to_owned(),
        seed,
        kernel_set: perennial_nn::kernel_set().to_owned(),
        created_by: format!("perennial {}", env!("CARGO_PKG_VERSION")),
        extra: Default::default(),
    })
}
