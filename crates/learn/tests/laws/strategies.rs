//! Laws that every strategy obeys.

use crate::sml::{original, plain, sml};
use crate::world::{FLIP, Loop, empty_columns, examples, period, seen};
use perennial_core::{Digest, Examples};
use perennial_learn::strategy::{AsmgGru, AsmgLinear, Batch, BatchInit, IncCtr, Mixture, Retrain, Sampling, Sml, Spmf};
use perennial_learn::{Env, LearnError, Learned, StrategyConfig, pretrain};
use perennial_nn::optim::{Optimiser, Rule};
use perennial_table::RowMode;

pub(crate) fn registered() -> Vec<(&'static str, StrategyConfig)> {
    let batch = |window, init| StrategyConfig::Batch(Batch { window, init });
    let linear = StrategyConfig::AsmgLinear(AsmgLinear { sequence: 2, ..AsmgLinear::default() });
    let gru = StrategyConfig::AsmgGru(AsmgGru { sequence: 1, epochs: 20, ..AsmgGru::default() });
    vec![
        ("frozen", StrategyConfig::Frozen),
        ("incremental", StrategyConfig::Incremental),
        ("batch-2", batch(2, BatchInit::Previous)),
        ("batch-2 from pre-trained", batch(2, BatchInit::Pretrained)),
        ("batch-2 from scratch", batch(2, BatchInit::Scratch)),
        ("retrain", StrategyConfig::Retrain(Retrain { epochs: Some(4) })),
        ("asmg_linear", linear.clone()),
        ("asmg_gru", gru.clone()),
        ("incctr", StrategyConfig::IncCtr(IncCtr::default())),
        ("spmf", StrategyConfig::Spmf(Spmf::default())),
        ("sml", sml(Sml::default())),
        ("sml, plain", plain()),
        ("sml, original", original(3)),
        ("spmf, sampled", StrategyConfig::Spmf(Spmf { sampling: Sampling::Sampled, shuffle: true, ..Spmf::default() })),
        (
            "mixture",
            StrategyConfig::Mixture(Mixture {
                experts: vec![StrategyConfig::Incremental, linear, gru],
                ..Mixture::default()
            }),
        ),
    ]
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
    for (name, strategy) in registered() {
        // These start from elsewhere than the previous version, by definition.
        if name.contains("scratch") || name.contains("pre-trained") || name.contains("retrain") || name == "batch-2" {
            continue;
        }
        let updated = world.update(&strategy, &pretrained, pretrained.clone(), &nothing);
        assert_eq!(updated.servable.params.digest(), pretrained.servable.params.digest(), "{name}");
        assert_eq!(updated.servable.encoder.vocabularies(), pretrained.servable.encoder.vocabularies(), "{name}");
        assert_eq!(updated.step, pretrained.step, "{name}");
        let part = examples(1, 0, |_, _| true);
        let score =
            |learned: &Learned| learned.serving().score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
        assert_eq!(score(&updated), score(&pretrained), "{name}");
    }
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

#[test]
fn a_period_of_one_class_and_ids_never_seen_are_learned_from() {
    let world = Loop::new(RowMode::Lazy, 1);
    for (name, strategy) in registered() {
        let pretrained = world.pretrain();
        let strangers = seen(1, examples(1, 500, |_, _| true));
        let updated = world.update(&strategy, &pretrained, pretrained.clone(), &strangers);
        let part = examples(1, 500, |_, _| true);
        let scores = updated.serving().score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
        assert!(scores.iter().all(|z| z.is_finite()), "{name}");
    }
}

/// Resume = continue: what a version stores of the memory is all that the next update needs.
#[test]
fn a_memory_that_was_stored_and_read_back_goes_on_the_same() {
    let world = Loop::new(RowMode::Lazy, 1);
    for (name, strategy) in registered() {
        let pretrained = world.pretrain();
        let stored = (1..=3).fold(pretrained.clone(), |learned, at| {
            let mut learned = world.update(&strategy, &pretrained, learned, &period(at));
            let spec = learned.servable.backbone.spec().clone();
            learned.memory = strategy.restore(learned.memory.pieces(), &spec).unwrap();
            learned
        });
        assert_eq!(stored.digest(), world.run(&strategy, 3).digest(), "{name}");
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
