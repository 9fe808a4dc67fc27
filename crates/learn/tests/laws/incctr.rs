//! Identities of IncCTR.

use crate::world::{FLIP, Loop};
use perennial_learn::StrategyConfig;
use perennial_learn::strategy::IncCtr;
use perennial_table::RowMode;

fn incctr(weight: f32) -> StrategyConfig {
    StrategyConfig::IncCtr(IncCtr { weight })
}

#[test]
fn without_weight_it_is_the_incremental_update_bit_for_bit() {
    for rows in [RowMode::Lazy, RowMode::DenseParity] {
        let world = Loop::new(rows, 1);
        assert_eq!(
            world.run(&incctr(0.0), 4).digest(),
            world.run(&StrategyConfig::Incremental, 4).digest(),
            "{rows:?}"
        );
        assert_ne!(
            world.run(&incctr(0.2), 4).digest(),
            world.run(&StrategyConfig::Incremental, 4).digest(),
            "{rows:?}"
        );
    }
}

/// All weight on the teacher: labels do not count, so a flip of all tastes goes unnoticed.
#[test]
fn who_learns_from_the_previous_version_alone_learns_nothing_new() {
    let world = Loop::new(RowMode::Lazy, 1);
    let accuracy = |weight| world.accuracy(&world.run(&incctr(weight), FLIP), FLIP);
    assert!(accuracy(1.0) < 0.05 && accuracy(0.2) > 0.9);
}

#[test]
fn a_weight_is_a_share() {
    for weight in [-0.1, 1.1, f32::NAN] {
        assert!(incctr(weight).check().is_err(), "{weight}");
    }
    assert!(incctr(1.0).check().is_ok());
}
