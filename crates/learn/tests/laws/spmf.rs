//! Identities of SPMF.

use crate::world::{FLIP, Loop, period};
use perennial_core::{Encoded, Examples};
use perennial_learn::strategy::{Sampling, Spmf};
use perennial_learn::{Learned, StrategyConfig, Trainer};
use perennial_table::{RowMode, Table};

fn spmf(options: Spmf) -> StrategyConfig {
    StrategyConfig::Spmf(options)
}

/// Reservoirs of a version: examples of positives and of negatives, and how many each was offered.
fn reservoirs(learned: &Learned) -> [(Examples, u64); 2] {
    let mut pieces = learned.memory.pieces();
    ["positives", "negatives"].map(|class| {
        let mut pieces = pieces.take_all(class);
        let examples = pieces.take_bytes("examples").unwrap();
        (perennial_stream::examples_from_bytes(class, &examples).unwrap(), pieces.take_json("seen").unwrap())
    })
}

#[test]
fn without_replay_it_is_the_incremental_update_bit_for_bit() {
    let world = Loop::new(RowMode::Lazy, 1);
    let without = spmf(Spmf { ratio: 0.0, shuffle: true, ..Spmf::default() });
    let incremental = world.run(&StrategyConfig::Incremental, 4);
    assert_eq!(world.run(&without, 4).servable.digest(), incremental.servable.digest());
    let with = spmf(Spmf { shuffle: true, ..Spmf::default() });
    assert_ne!(world.run(&with, 4).servable.digest(), incremental.servable.digest());
}

/// One update in the order of the period, written out.
#[test]
fn unshuffled_and_without_replay_it_is_an_incremental_update_in_order_of_time() {
    let world = Loop::new(RowMode::Lazy, 1);
    let pretrained = world.pretrain();
    let part = period(1).parts()[0].clone();
    let mut by_hand = pretrained.clone();
    let servable = &mut by_hand.servable;
    let admitted = servable.encoder.observe(&[&part]);
    servable.encoder.set_observed(1);
    servable.params.grow(servable.backbone.spec(), &admitted);
    let columns = servable.encoder.encode(&part).unwrap();
    let data = Encoded::new(columns, &part);
    let order: Vec<u32> = (0..part.len() as u32).collect();
    let mut trainer = Trainer::new(&world.training, world.seed);
    for _ in 0..world.training.epochs {
        for batch in order.chunks(world.training.batch_size) {
            trainer.step(&mut by_hand, &data, batch, &world.workers);
        }
    }
    by_hand.servable.params.tables.iter_mut().for_each(Table::settle);
    let updated =
        world.update(&spmf(Spmf { ratio: 0.0, ..Spmf::default() }), &pretrained, pretrained.clone(), &period(1));
    assert_eq!(updated.servable.digest(), by_hand.servable.digest());
}

#[test]
fn reservoirs_keep_their_size_and_their_class() {
    let world = Loop::new(RowMode::Lazy, 1);
    let (last, fraction) = (4, 0.3);
    let learned = world.run(&spmf(Spmf { fraction, ..Spmf::default() }), last);
    let count = |at: u32, class: f32| period(at).parts()[0].label.iter().filter(|y| **y == class).count() as u64;
    for ((examples, offered), class) in reservoirs(&learned).into_iter().zip([1.0, 0.0]) {
        assert_eq!(examples.len(), (fraction * count(0, class) as f64) as usize);
        assert!(examples.label.iter().all(|label| *label == class));
        assert_eq!(offered, (0..=last).map(|at| count(at, class)).sum::<u64>());
        let newest = examples.time.iter().filter(|time| time.0 == i64::from(last)).count();
        assert!(newest > 0 && newest < examples.len() / 2, "{newest} of {}", examples.len());
    }
}

/// Tastes flip. A reservoir as large as pre-training, replayed whole and shuffled in, holds on to what was true before.
#[test]
fn what_is_replayed_is_remembered() {
    let world = Loop::new(RowMode::Lazy, 1);
    let error = |strategy: &StrategyConfig| {
        let pretrained = world.pretrain();
        let learned = world.update(strategy, &pretrained, pretrained.clone(), &period(FLIP));
        1.0 - world.accuracy(&learned, FLIP - 1)
    };
    let all = Spmf { fraction: 1.0, ratio: 1.0, shuffle: true, ..Spmf::default() };
    let (replayed, forgotten) = (error(&spmf(all)), error(&StrategyConfig::Incremental));
    assert!(replayed + 0.1 < forgotten, "{replayed} with the reservoir, {forgotten} without");
}

#[test]
fn sampled_trains_on_as_many_of_each_class_as_the_period_holds() {
    let world = Loop::new(RowMode::Lazy, 1);
    let pretrained = world.pretrain();
    let rows = |options| {
        let strategy = spmf(options);
        world.with_env(&pretrained, |env| strategy.update(pretrained.clone(), &period(1), env)).unwrap().1.rows
    };
    let epochs = u64::from(world.training.epochs);
    assert_eq!(rows(Spmf { sampling: Sampling::Sampled, ..Spmf::default() }), 600 * epochs);
    let positives = period(1).parts()[0].label.iter().filter(|y| **y == 1.0).count() as u64;
    let replayed = positives / 2 + (600 - positives) / 2;
    assert_eq!(rows(Spmf { fraction: 1.0, ..Spmf::default() }), (600 + replayed) * epochs);
}

#[test]
fn options_that_cannot_work_are_refused() {
    for options in [
        Spmf { fraction: 1.5, ..Spmf::default() },
        Spmf { fraction: f64::NAN, ..Spmf::default() },
        Spmf { ratio: -1.0, ..Spmf::default() },
    ] {
        assert!(spmf(options.clone()).check().is_err(), "{options:?}");
    }
}
