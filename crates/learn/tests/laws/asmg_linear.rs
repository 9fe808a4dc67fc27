//! Identities of ASMG-Linear (ASMG's spec, section 8, test 1).

use crate::world::Loop;
use perennial_learn::strategy::AsmgLinear;
use perennial_learn::strategy::asmg_linear::Constraint;
use perennial_learn::{Granularity, Learned, StrategyConfig};
use perennial_table::RowMode;

fn run(options: AsmgLinear, last: u32) -> Learned {
    Loop::new(RowMode::Lazy, 1).run(&StrategyConfig::AsmgLinear(options), last)
}

/// What is served is the base model, bit for bit.
#[track_caller]
fn is_incremental(learned: &Learned) {
    let generated = learned.generated.as_ref().expect("it was trained");
    let without = Loop::new(RowMode::Lazy, 1).run(&StrategyConfig::Incremental, 4);
    assert_eq!(generated.params.digest(), without.servable.params.values_only().digest());
    assert_eq!(learned.servable.digest(), without.servable.digest(), "the base trajectory is untouched");
}

#[test]
fn fixed_on_the_newest_model_it_is_the_incremental_update() {
    for granularity in [Granularity::Global, Granularity::Tensor, Granularity::Coordinate] {
        is_incremental(&run(AsmgLinear { constraint: Constraint::Fixed, granularity, ..AsmgLinear::default() }, 4));
    }
}

#[test]
fn a_sum_of_one_model_is_the_incremental_update() {
    is_incremental(&run(AsmgLinear { sequence: 1, ..AsmgLinear::default() }, 4));
}

/// After a flip of all tastes the older model is wrong: weights must move so that what is served is right.
#[test]
fn weights_move_to_the_model_that_is_right() {
    for granularity in [Granularity::Global, Granularity::Tensor, Granularity::Coordinate] {
        let options = AsmgLinear { sequence: 2, granularity, epochs: 30, ..AsmgLinear::default() };
        // Models of periods 2 (before the flip) and 3 (after it) are judged on period 4.
        let learned = run(options, 4);
        let accuracy = Loop::new(RowMode::Lazy, 1).accuracy(&learned, 5);
        assert!(accuracy > 0.9, "{granularity:?}: {accuracy}");
        if granularity == Granularity::Global {
            let weights = learned.memory.pieces().take_params("weights").unwrap().dense.remove(0).values;
            assert!(weights[1] > weights[0], "old model first: {weights:?}");
        }
    }
}

#[test]
fn free_weights_are_trained() {
    let learned = run(AsmgLinear { constraint: Constraint::Free, ..AsmgLinear::default() }, 5);
    let weights = learned.memory.pieces().take_params("weights").unwrap().dense;
    assert!(weights.iter().all(|dense| dense.values.iter().any(|weight| *weight != 1.0 / 3.0)));
}
