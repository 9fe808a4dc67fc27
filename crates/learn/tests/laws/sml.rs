//! Identities of SML (ASMG's spec, sections 5 and 8).

use crate::world::{FLIP, Loop, examples, period};
use perennial_learn::strategy::Sml;
use perennial_learn::{Learned, StrategyConfig};
use perennial_model::BackboneConfig;
use perennial_model::backbone::{MfBias, MfConfig};
use perennial_model::generator::Output;
use perennial_model::transfer::{Matrices, TransferConfig, Widths};
use perennial_model::{EmbeddingInit, Params};
use perennial_nn::Gelu;
use perennial_nn::optim::{Optimiser, Rule};
use perennial_table::RowMode;

pub(crate) fn sml(options: Sml) -> StrategyConfig {
    StrategyConfig::Sml(options)
}

/// For networks that begin as a random map, and meet twelve batches a period: many passes, since they have to become a
/// map of models first, and a low rate. At a higher one what they make of what they made, which is where a period starts
/// from, can be so far off that units of a tower die.
fn patient(transfer: TransferConfig, rounds: u32) -> StrategyConfig {
    let transfer = TransferConfig { output: Output::Plain, ..transfer };
    sml(Sml { rounds, transfer, epochs: 20, optimiser: Optimiser::new(Rule::ADAM, 3e-4), ..Sml::default() })
}

/// What ASMG compares with.
pub(crate) fn plain() -> StrategyConfig {
    patient(TransferConfig::default(), 1)
}

/// What SML's own code does, with fewer hidden units.
pub(crate) fn original(rounds: u32) -> StrategyConfig {
    let transfer = TransferConfig {
        tables: Widths { first: 10, second: 5, hidden: Some(64) },
        gelu: Gelu::Sigmoid,
        detach_product: true,
        ..TransferConfig::default()
    };
    patient(transfer, rounds)
}

/// No step of the networks' optimiser goes anywhere.
fn untrained(options: Sml) -> Sml {
    Sml { optimiser: Optimiser::new(Rule::ADAM, 0.0), ..options }
}

fn generated(learned: &Learned) -> &Params {
    &learned.generated.as_ref().expect("SML serves what it made").params
}

/// Test 11: with a transfer that is forced to return the updated version it is the incremental update, bit for bit, also
/// where gradients are clipped and where rows that are not read move on.
#[test]
fn a_transfer_that_returns_the_updated_version_is_the_incremental_update() {
    for (rows, clip_norm) in [(RowMode::Lazy, None), (RowMode::DenseParity, None), (RowMode::Lazy, Some(0.05))] {
        let mut world = Loop::new(rows, 2);
        world.training.clip_norm = clip_norm;
        let with = world.run(&sml(untrained(Sml::default())), 4);
        let without = world.run(&StrategyConfig::Incremental, 4);
        assert_eq!(with.servable.digest(), without.servable.digest(), "{rows:?}, {clip_norm:?}");
        assert_eq!(generated(&with).digest(), without.servable.params.values_only().digest());
    }
}

/// What is transferred is what the next period starts from: unlike with ASMG the base trajectory is not the incremental
/// update's.
#[test]
fn the_next_period_starts_from_what_was_transferred() {
    let world = Loop::new(RowMode::Lazy, 1);
    let base = |strategy: &StrategyConfig, last| world.run(strategy, last).servable.digest();
    let sml = sml(Sml::default());
    assert_eq!(base(&sml, 1), base(&StrategyConfig::Incremental, 1), "networks are not trained before the second");
    assert_ne!(base(&sml, 2), base(&StrategyConfig::Incremental, 2));
    let previous = |learned: &Learned| learned.memory.pieces().take_params("previous").unwrap();
    let (first, second) = (world.run(&sml, 1), world.run(&sml, 2));
    assert_ne!(previous(&second).digest(), first.servable.params.values_only().digest());
}

/// The base learner's rate is its own.
#[test]
fn the_updated_version_may_have_a_rate_of_its_own() {
    let world = Loop::new(RowMode::Lazy, 1);
    let still = sml(untrained(Sml { base_learning_rate: Some(0.0), ..Sml::default() }));
    let learned = world.run(&still, 2);
    let frozen = world.pretrain();
    let part = examples(2, 0, |_, _| true);
    let score =
        |learned: &Learned| learned.serving().score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
    assert_eq!(score(&learned), score(&frozen));
}

#[test]
fn further_rounds_go_on_learning() {
    let world = Loop::new(RowMode::Lazy, 1);
    let digest = |rounds, last| world.run(&sml(Sml { rounds, ..Sml::default() }), last).digest();
    assert_eq!(digest(1, 1), digest(3, 1), "there is nothing to repeat in the first period");
    assert_ne!(digest(1, 2), digest(3, 2));
}

/// SML-MF, in both forms: rows of a vector and its bias. The default follows a flip of all tastes, after which the previous
/// version is wrong; the plain networks are not asked to, who need some periods for it.
#[test]
fn it_works_on_matrix_factorisation() {
    for bias in [MfBias::Ids, MfBias::None] {
        let config = MfConfig { dim: 6, bias, init: EmbeddingInit::Normal { std: 0.1 }, ..MfConfig::default() };
        let world = Loop { backbone: BackboneConfig::Mf(config), ..Loop::new(RowMode::Lazy, 1) };
        for (strategy, last) in [(sml(Sml::default()), 2), (sml(Sml::default()), FLIP + 1), (original(3), 2)] {
            let accuracy = world.accuracy(&world.run(&strategy, last), last);
            assert!(accuracy > 0.97, "{}, {bias:?}, {last}: {accuracy}", strategy.describe());
        }
    }
}

#[test]
fn matrices_may_be_transferred_row_by_row() {
    let world = Loop::new(RowMode::Lazy, 1);
    let transfer = TransferConfig { matrices: Matrices::Rows, ..TransferConfig::default() };
    let learned = world.run(&sml(Sml { transfer, ..Sml::default() }), 2);
    assert!(world.accuracy(&learned, 2) > 0.97);
}

/// Ids that appear for the first time at scoring are transferred too, not served with raw first values.
#[test]
fn strangers_are_transferred() {
    let world = Loop::new(RowMode::Lazy, 1);
    let learned = world.run(&sml(Sml::default()), 2);
    let part = examples(3, 500, |_, _| true);
    let raw = learned.servable.score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
    let served = learned.serving().score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
    assert!(served.iter().all(|z| z.is_finite()) && served != raw);
}

#[test]
fn what_is_served_comes_back_from_its_pieces() {
    let world = Loop::new(RowMode::Lazy, 1);
    let mut learned = world.run(&sml(Sml::default()), 2);
    let part = examples(3, 10, |_, _| true);
    let score =
        |learned: &Learned| learned.serving().score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
    let before = score(&learned);
    let pieces = perennial_learn::generated_pieces(learned.generated.as_ref().unwrap());
    learned.generated = perennial_learn::restore_generated(pieces, learned.servable.backbone.spec()).unwrap();
    assert_eq!(score(&learned), before);
}

#[test]
fn options_that_cannot_work_are_refused() {
    let none = TransferConfig { tables: Widths { first: 0, second: 1, hidden: None }, ..TransferConfig::default() };
    for options in [
        Sml { rounds: 0, ..Sml::default() },
        Sml { epochs: 0, ..Sml::default() },
        Sml { base_learning_rate: Some(f64::NAN), ..Sml::default() },
        Sml { transfer: none, ..Sml::default() },
    ] {
        assert!(sml(options.clone()).check().is_err(), "{options:?}");
    }
}

#[test]
fn an_update_of_several_rounds_needs_one_period_again() {
    assert_eq!([1, 2, 10].map(|rounds| sml(Sml { rounds, ..Sml::default() }).reach()), [0, 1, 1]);
    let world = Loop::new(RowMode::Lazy, 1);
    let pretrained = world.pretrain();
    let updated = world.update(&original(2), &pretrained, pretrained.clone(), &period(1));
    assert_eq!(
        updated.step,
        world.update(&StrategyConfig::Incremental, &pretrained, pretrained.clone(), &period(1)).step
    );
}
