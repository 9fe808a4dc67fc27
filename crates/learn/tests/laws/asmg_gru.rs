//! Identities of ASMG-GRU (its spec, section 8).

use crate::world::{Loop, examples, period};
use perennial_learn::strategy::AsmgGru;
use perennial_learn::strategy::asmg_gru::{Inactive, Variant};
use perennial_learn::{Learned, StrategyConfig};
use perennial_model::generator::{GeneratorConfig, Output, StateFormat};
use perennial_nn::cell::CellKind;
use perennial_nn::optim::{Optimiser, Rule};
use perennial_table::RowMode;

fn asmg(options: AsmgGru) -> StrategyConfig {
    StrategyConfig::AsmgGru(options)
}

fn of(variant: Variant, sequence: u32) -> AsmgGru {
    AsmgGru { variant, sequence, ..AsmgGru::default() }
}

fn untrained(options: AsmgGru) -> AsmgGru {
    AsmgGru { optimiser: Optimiser::new(Rule::ADAM, 0.0), ..options }
}

fn generated(learned: &Learned) -> perennial_core::Digest {
    learned.generated.as_ref().expect("the generator was trained").params.digest()
}

fn world() -> Loop {
    let mut world = Loop::new(RowMode::Lazy, 1);
    world.training.epochs = 2;
    world
}

/// Test 10: the generator never touches the base trajectory.
#[test]
fn the_base_trajectory_is_that_of_the_incremental_update() {
    let world = world();
    let with = world.run(&asmg(of(Variant::Multi, 2)), 4);
    let without = world.run(&StrategyConfig::Incremental, 4);
    assert_eq!(with.servable.digest(), without.servable.digest());
    assert_ne!(generated(&with), without.servable.params.values_only().digest());
}

/// Test 2: a residual generator that has learned nothing serves the base model.
#[test]
fn an_untrained_residual_generator_is_the_incremental_update() {
    let world = world();
    let generator = GeneratorConfig { output: Output::Residual, ..GeneratorConfig::default() };
    let residual = untrained(AsmgGru { generator, ..of(Variant::Multi, 2) });
    let learned = world.run(&asmg(residual), 4);
    assert_eq!(generated(&learned), learned.servable.params.values_only().digest());
}

/// Test 3.
#[test]
fn with_a_sequence_of_one_multi_is_single() {
    let run = |variant| world().run(&asmg(of(variant, 1)), 4);
    assert_eq!(generated(&run(Variant::Multi)), generated(&run(Variant::Single)));
}

/// Test 4: both start from zeros, so they learn the same at first; from the second time on they differ.
#[test]
fn zero_is_multi_when_first_trained() {
    let run = |variant, last| {
        let learned = world().run(&asmg(of(variant, 2)), last);
        learned.memory.pieces().take_params("generator").unwrap().digest()
    };
    assert_eq!(run(Variant::Zero, 3), run(Variant::Multi, 3));
    assert_ne!(run(Variant::Zero, 4), run(Variant::Multi, 4));
}

/// Test 5, with generators that do not learn, since full begins to learn earlier.
#[test]
fn full_is_multi_as_long_as_nothing_has_left_the_sequence() {
    let run = |variant, last| generated(&world().run(&asmg(untrained(of(variant, 3))), last));
    assert_eq!(run(Variant::Full, 4), run(Variant::Multi, 4));
    assert_eq!(run(Variant::Full, 5), run(Variant::Multi, 5), "and states are carried without loss");
}

/// A single loss reads the same models and states as the whole sequence.
#[test]
fn variants_differ_in_what_they_learn() {
    let run = |variant| generated(&world().run(&asmg(of(variant, 2)), 3));
    let all = [Variant::Multi, Variant::Single, Variant::Unif].map(run);
    assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
}

/// What is learned is worth something: trained on a world whose tastes do not change, generated parameters are right.
#[test]
fn a_trained_generator_is_right() {
    for cell in [CellKind::Gru, CellKind::Vanilla, CellKind::Lstm] {
        for output in [Output::Plain, Output::Residual] {
            let generator = GeneratorConfig { cell, output, ..GeneratorConfig::default() };
            let options = AsmgGru { generator, epochs: 20, ..of(Variant::Multi, 1) };
            let learned = world().run(&asmg(options), 2);
            assert!(learned.generated.is_some());
            let accuracy = world().accuracy(&learned, 2);
            assert!(accuracy > 0.95, "{cell:?}, {output:?}: {accuracy}");
        }
    }
}

#[test]
fn inactive_rows_may_keep_the_base_models_values() {
    let world = world();
    let copying = AsmgGru { inactive: Inactive::Copy, ..of(Variant::Multi, 1) };
    let learned = world.run(&asmg(copying), 3);
    // The unknown row is read by nobody.
    let (base, made) = (&learned.servable.params.tables[0], &learned.generated.as_ref().unwrap().params.tables[0]);
    assert_eq!(base.row(1), made.row(1));
    assert_ne!(base.row(5), made.row(5));
}

#[test]
fn compact_states_change_little() {
    let world = world();
    let part = examples(3, 0, |_, _| true);
    let score = |states| {
        let learned = world.run(&asmg(AsmgGru { states, ..of(Variant::Multi, 2) }), 4);
        learned.serving().score(&part.keys, &part.columns, part.len(), &world.workers).unwrap()
    };
    let exact = score(StateFormat::F32);
    for (format, tolerance) in [(StateFormat::I16, 0.01), (StateFormat::Bf16, 0.3), (StateFormat::I8, 0.6)] {
        let compact = score(format);
        let worst = exact.iter().zip(&compact).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst < tolerance && worst > 0.0, "{format:?}: {worst}");
    }
}

/// Ids that appear for the first time at scoring are generated too, not served with raw first values.
#[test]
fn strangers_are_generated() {
    let world = world();
    let learned = world.run(&asmg(of(Variant::Multi, 1)), 3);
    let part = examples(3, 500, |_, _| true);
    let raw = learned.servable.score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
    let served = learned.serving().score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
    assert!(served.iter().all(|z| z.is_finite()) && served != raw);
}

#[test]
fn before_its_first_training_the_base_model_is_served() {
    let world = world();
    let pretrained = world.pretrain();
    let strategy = asmg(of(Variant::Multi, 3));
    let mut learned = pretrained.clone();
    for at in 1..=4 {
        learned = world.update(&strategy, &pretrained, learned, &period(at));
        // Models of periods 1 to 3 are judged on period 4 for the first time.
        assert_eq!(learned.generated.is_some(), at == 4, "period {at}");
    }
}
