//! Laws that every strategy obeys, on a toy world with a known answer: users like items of their own parity, and from
//! the third period on it is the other way round.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use perennial_core::{Column, Digest, Examples, FeatureSet, Schema, Spans, Stream, Timestamp};
use perennial_learn::strategy::{Batch, BatchInit, Retrain};
use perennial_learn::{Archive, Env, LearnError, Learned, StrategyConfig, TrainingConfig, pretrain};
use perennial_model::{BackboneConfig, Encoder, EncoderConfig};
use perennial_nn::Workers;
use perennial_nn::optim::{Optimiser, Rule};
use perennial_stream::SeenPeriod;
use perennial_table::RowMode;
use std::sync::Arc;

fn registered() -> Vec<(&'static str, StrategyConfig)> {
    let batch = |window, init| StrategyConfig::Batch(Batch { window, init });
    vec![
        ("frozen", StrategyConfig::Frozen),
        ("incremental", StrategyConfig::Incremental),
        ("batch-2", batch(2, BatchInit::Previous)),
        ("batch-2 from pre-trained", batch(2, BatchInit::Pretrained)),
        ("batch-2 from scratch", batch(2, BatchInit::Scratch)),
        ("retrain", StrategyConfig::Retrain(Retrain { epochs: Some(4) })),
    ]
}

/// Items need `min_count` observations for a row.
fn schema(min_count: u32) -> Schema {
    let text = format!(
        r#"
        name = "parity"
        field = [
          {{ name = "user", kind = "id", role = "user", id = "int" }},
          {{ name = "item", kind = "id", role = "item", id = "int", vocabulary = {{ open = {{ min_count = {min_count} }} }} }},
          {{ name = "when", kind = "timestamp", unit = "s" }},
          {{ name = "liked", kind = "label" }},
        ]"#
    );
    Schema::parse(&text).unwrap()
}

const FLIP: u32 = 3;

fn likes(period: u32, user: u64, item: u64) -> bool {
    (user + item).is_multiple_of(2) != (period >= FLIP)
}

/// 600 examples of 20 users and 20 items, `first..` by key; histories are empty.
fn examples(period: u32, first: u64, label: impl Fn(u64, u64) -> bool) -> Examples {
    let mut stream = Stream::new(&[u64::from(period)]);
    let n = 600;
    let users: Vec<u32> = (0..n).map(|_| stream.below(20) as u32).collect();
    let items: Vec<u32> = (0..n).map(|_| stream.below(20) as u32).collect();
    let keys: Vec<u64> = (first..first + 20).collect();
    let labels = users.iter().zip(&items).map(|(&u, &i)| label(keys[u as usize], keys[i as usize]).into());
    let empty = Spans { start: vec![0; n], len: vec![0; n] };
    Examples {
        label: labels.map(|liked: u8| f32::from(liked)).collect(),
        weight: vec![1.0; n],
        time: vec![Timestamp(i64::from(period)); n],
        observable: vec![Timestamp(i64::from(period)); n],
        event: (0..n as u64).collect(),
        user: users.iter().map(|&u| keys[u as usize]).collect(),
        item: items.iter().map(|&i| keys[i as usize]).collect(),
        columns: vec![
            Column::Id(users),
            Column::Id(items),
            Column::Bag { spans: empty, ids: Vec::new(), weights: None },
        ],
        keys: vec![keys.clone(), keys],
    }
}

fn seen(period: u32, part: Examples) -> SeenPeriod {
    SeenPeriod::pretraining(period as usize, Timestamp(i64::MAX), vec![Arc::new(part)]).0
}

fn period(period: u32) -> SeenPeriod {
    seen(period, examples(period, 0, |user, item| likes(period, user, item)))
}

/// All periods of the toy world.
struct World;

impl Archive for World {
    fn seen(&self, index: u32) -> Result<SeenPeriod, LearnError> {
        Ok(period(index))
    }
}

fn training(rows: RowMode) -> TrainingConfig {
    TrainingConfig {
        batch_size: 50,
        pretrain_epochs: 8,
        epochs: 8,
        optimiser: Optimiser::new(Rule::ADAM, 0.02),
        rows,
        ..TrainingConfig::default()
    }
}

struct Loop {
    training: TrainingConfig,
    workers: Workers,
    seed: u64,
    min_count: u32,
}

impl Loop {
    fn new(rows: RowMode, workers: usize) -> Loop {
        Loop { training: training(rows), workers: Workers::new(workers), seed: 7, min_count: 1 }
    }

    fn blank(&self) -> Learned {
        let encoder = Encoder::new(FeatureSet::of(&schema(self.min_count), true), EncoderConfig::default());
        Learned::new(&BackboneConfig::default(), encoder, &self.training, self.seed).unwrap()
    }

    fn with_env<R>(&self, pretrained: &Learned, work: impl FnOnce(&Env<'_>) -> R) -> R {
        work(&Env {
            training: &self.training,
            seed: self.seed,
            pretrained,
            blank: &|| Ok(self.blank()),
            archive: &World,
            workers: &self.workers,
            progress: &|_, _| true,
        })
    }

    fn pretrain(&self) -> Learned {
        let blank = self.blank();
        self.with_env(&blank, |env| pretrain(blank.clone(), &period(0), env)).unwrap().0
    }

    fn update(&self, strategy: &StrategyConfig, pretrained: &Learned, learned: Learned, seen: &SeenPeriod) -> Learned {
        self.with_env(pretrained, |env| strategy.update(learned, seen, env)).unwrap().0
    }

    /// Updates on periods `1..=last`.
    fn run(&self, strategy: &StrategyConfig, last: u32) -> Learned {
        let pretrained = self.pretrain();
        let all = 1..=last;
        all.fold(pretrained.clone(), |learned, at| self.update(strategy, &pretrained, learned, &period(at)))
    }

    /// Share of examples of a period that the model puts on the right side.
    fn accuracy(&self, learned: &Learned, at: u32) -> f64 {
        let part = examples(at, 0, |user, item| likes(at, user, item));
        let logits = learned.servable.score(&part.keys, &part.columns, part.len(), &self.workers).unwrap();
        let right = logits.iter().zip(&part.label).filter(|(z, y)| (**z > 0.0) == (**y > 0.5)).count();
        right as f64 / part.len() as f64
    }
}

#[test]
fn every_strategy_learns_the_toy_world() {
    let world = Loop::new(RowMode::Lazy, 1);
    for (name, strategy) in registered() {
        let accuracy = world.accuracy(&world.run(&strategy, 2), 2);
        assert!(accuracy > 0.97, "{name}: {accuracy}");
    }
}

#[test]
fn when_tastes_flip_the_frozen_model_is_wrong_and_the_updated_one_is_right() {
    let world = Loop::new(RowMode::Lazy, 1);
    let after = |strategy| world.accuracy(&world.run(&strategy, FLIP + 1), FLIP + 1);
    assert!(after(StrategyConfig::Frozen) < 0.03);
    assert!(after(StrategyConfig::Incremental) > 0.9);
}

#[test]
fn a_batch_of_one_period_is_the_incremental_update_bit_for_bit() {
    for rows in [RowMode::Lazy, RowMode::DenseParity] {
        let world = Loop::new(rows, 1);
        let batch = StrategyConfig::Batch(Batch { window: 1, init: BatchInit::Previous });
        assert_eq!(world.run(&batch, 3).digest(), world.run(&StrategyConfig::Incremental, 3).digest(), "{rows:?}");
    }
}

#[test]
fn same_seed_same_digest_for_any_number_of_workers() {
    for rows in [RowMode::Lazy, RowMode::DenseParity] {
        for (name, strategy) in registered() {
            let digest = |workers| Loop::new(rows, workers).run(&strategy, 2).digest();
            let alone = digest(1);
            assert_eq!(digest(2), alone, "{name}, {rows:?}, two workers");
            assert_eq!(digest(3), alone, "{name}, {rows:?}, three workers");
        }
    }
}

#[test]
fn another_seed_gives_another_model() {
    let digest = |seed| Loop { seed, ..Loop::new(RowMode::Lazy, 1) }.run(&StrategyConfig::Incremental, 1).digest();
    assert_ne!(digest(1), digest(2));
}

#[test]
fn an_empty_period_changes_nothing_that_is_served() {
    let world = Loop::new(RowMode::DenseParity, 1);
    let pretrained = world.pretrain();
    let nothing = seen(1, Examples { keys: vec![vec![], vec![]], columns: empty_columns(), ..Examples::default() });
    let updated = world.update(&StrategyConfig::Incremental, &pretrained, pretrained.clone(), &nothing);
    assert_eq!(updated.servable.params.digest(), pretrained.servable.params.digest());
    assert_eq!(updated.servable.encoder.vocabularies(), pretrained.servable.encoder.vocabularies());
    assert_eq!(updated.step, pretrained.step);
}

#[test]
fn an_observation_counts_once_however_often_it_is_trained_on() {
    let once = |strategy: &StrategyConfig| {
        let mut world = Loop::new(RowMode::Lazy, 1);
        world.min_count = 1_000;
        world.run(strategy, 3).servable.encoder.vocabularies()[1].to_bytes()
    };
    let batch = StrategyConfig::Batch(Batch { window: 3, init: BatchInit::Previous });
    assert_eq!(once(&batch), once(&StrategyConfig::Incremental));
}

fn empty_columns() -> Vec<Column> {
    vec![Column::Id(vec![]), Column::Id(vec![]), Column::Bag { spans: Spans::default(), ids: vec![], weights: None }]
}

#[test]
fn a_period_of_one_class_and_ids_never_seen_are_learned_from() {
    let world = Loop::new(RowMode::Lazy, 1);
    for (name, strategy) in registered() {
        let pretrained = world.pretrain();
        let strangers = seen(1, examples(1, 500, |_, _| true));
        let updated = world.update(&strategy, &pretrained, pretrained.clone(), &strangers);
        let part = examples(1, 500, |_, _| true);
        let scores = updated.servable.score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
        assert!(scores.iter().all(|z| z.is_finite()), "{name}");
    }
}

#[test]
fn an_update_leaves_the_version_it_started_from_as_it_was() {
    let world = Loop::new(RowMode::Lazy, 1);
    let pretrained = world.pretrain();
    let before = pretrained.digest();
    for (_, strategy) in registered() {
        world.update(&strategy, &pretrained, pretrained.clone(), &period(1));
        assert_eq!(pretrained.digest(), before);
    }
}

#[test]
fn a_loss_that_is_no_number_stops_the_update_and_names_the_step() {
    let mut world = Loop::new(RowMode::Lazy, 1);
    world.training.optimiser = Optimiser::new(Rule::Sgd, 1e30);
    let blank = world.blank();
    let error = world.with_env(&blank, |env| pretrain(blank.clone(), &period(0), env)).unwrap_err();
    assert!(matches!(error, LearnError::NotFinite { period: 0, epoch: 0, .. }), "{error}");
    assert!(error.to_string().contains("step"), "{error}");
}

#[test]
fn clipping_bounds_the_step() {
    let mut world = Loop::new(RowMode::Lazy, 1);
    world.training.optimiser = Optimiser::new(Rule::Sgd, 1.0);
    world.training.pretrain_epochs = 1;
    world.training.batch_size = 600;
    world.training.clip_norm = Some(1e-3);
    let blank = world.blank();
    let moved = world.with_env(&blank, |env| pretrain(blank.clone(), &period(0), env)).unwrap().0;
    let weights =
        |learned: &Learned| learned.servable.params.dense.iter().flat_map(|d| d.values.clone()).collect::<Vec<_>>();
    let squares: f64 = weights(&blank).iter().zip(weights(&moved)).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let norm = squares.sqrt();
    assert!(norm > 0.0 && norm <= 1.001e-3, "one step of SGD at rate 1 moves by the clipped norm, got {norm}");
}

#[test]
fn a_stop_request_is_obeyed() {
    let world = Loop::new(RowMode::Lazy, 1);
    let blank = world.blank();
    let stopped = world.with_env(&blank, |env| {
        let env = Env { progress: &|step, _| step < 3, ..*env };
        pretrain(blank.clone(), &period(0), &env)
    });
    assert!(matches!(stopped, Err(LearnError::Stopped)));
}

/// Dense parity and lazy rows differ once a row rests with momentum; where every row is touched in every step they
/// are one and the same.
#[test]
fn lazy_rows_that_never_rest_are_dense() {
    let digest = |rows| {
        let mut world = Loop::new(rows, 1);
        world.training.batch_size = 600;
        let learned = world.pretrain();
        let tables = &learned.servable.params.tables;
        tables.iter().map(|table| table.digest()).collect::<Vec<Digest>>()
    };
    assert_eq!(digest(RowMode::Lazy), digest(RowMode::DenseParity));
}
