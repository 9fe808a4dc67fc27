//! Identities of the mixture.

use crate::world::{FLIP, Loop, examples, period};
use perennial_core::Examples;
use perennial_learn::strategy::{AsmgGru, AsmgLinear, Mixture};
use perennial_learn::{Learned, Memory, StrategyConfig};
use perennial_model::Member;
use perennial_table::RowMode;

fn linear() -> StrategyConfig {
    StrategyConfig::AsmgLinear(AsmgLinear { sequence: 2, ..AsmgLinear::default() })
}

fn gru() -> StrategyConfig {
    StrategyConfig::AsmgGru(AsmgGru { sequence: 1, ..AsmgGru::default() })
}

fn mixture(experts: &[StrategyConfig]) -> StrategyConfig {
    StrategyConfig::Mixture(Mixture { experts: experts.to_vec(), ..Mixture::default() })
}

fn all() -> StrategyConfig {
    mixture(&[StrategyConfig::Incremental, linear(), gru()])
}

fn world() -> Loop {
    let mut world = Loop::new(RowMode::Lazy, 1);
    world.training.epochs = 2;
    world
}

fn weights(learned: &Learned) -> &[f64] {
    match &learned.memory {
        Memory::Mixture(memory) => memory.weights(),
        other => panic!("a mixture remembers weights, not {other:?}"),
    }
}

/// Examples of which some ids were never seen.
fn strangers() -> Examples {
    examples(9, 5, |_, _| true)
}

fn score(world: &Loop, learned: &Learned) -> Vec<f32> {
    let part = strangers();
    learned.serving().score(&part.keys, &part.columns, part.len(), &world.workers).unwrap()
}

/// Each expert makes what it would make alone, of a base model that is trained once.
#[test]
fn experts_are_what_they_are_alone() {
    let world = world();
    let learned = world.run(&all(), 4);
    assert_eq!(learned.servable.digest(), world.run(&StrategyConfig::Incremental, 4).servable.digest());
    let members = &learned.mixed.as_ref().unwrap().members;
    assert!(members[0].generated.is_none());
    for (member, strategy) in [(&members[1], linear()), (&members[2], gru())] {
        let alone = world.run(&strategy, 4).generated.unwrap();
        assert_eq!(member.generated.as_ref().unwrap().params.digest(), alone.params.digest(), "{strategy:?}");
    }
    assert_eq!(members.iter().map(|member| member.weight).collect::<Vec<_>>(), weights(&learned));
}

#[test]
fn a_mixture_of_one_is_that_one() {
    let world = world();
    for expert in [StrategyConfig::Incremental, linear(), gru()] {
        let alone = score(&world, &world.run(&expert, 4));
        assert!(score(&world, &world.run(&mixture(std::slice::from_ref(&expert)), 4)) == alone, "{expert:?}");
    }
}

/// What is served is the weighted mean of the experts' probabilities, for ids never seen as well, and one request at a time
/// it is the same, bit for bit.
#[test]
fn probabilities_are_averaged() {
    let world = world();
    let learned = world.run(&all(), 4);
    let (part, served) = (strangers(), score(&world, &learned));
    let sigmoid = |z: &f32| 1.0 / (1.0 + (-f64::from(*z)).exp());
    let of = |member: &Member| {
        let serving = learned.servable.serving_member(member);
        serving.score(&part.keys, &part.columns, part.len(), &world.workers).unwrap()
    };
    let members = &learned.mixed.as_ref().unwrap().members;
    let alone: Vec<(f64, Vec<f32>)> = members.iter().map(|member| (member.weight, of(member))).collect();
    for (row, z) in served.iter().enumerate() {
        let mean: f64 = alone.iter().map(|(weight, logits)| weight * sigmoid(&logits[row])).sum();
        assert!((sigmoid(z) - mean).abs() < 1e-6, "row {row}: {} {mean}", sigmoid(z));
    }
    let at_once = learned.serving().scorer().score(&part.keys, &part.columns, part.len()).unwrap();
    assert!(at_once == served);
}

/// After the flip of all tastes a sum with the older model is wrong for longer than the newest model: the weight goes to
/// the latter, and back to even where nobody is ahead for long.
#[test]
fn the_weight_goes_to_whom_the_periods_prove_right() {
    let strategy = mixture(&[StrategyConfig::Incremental, linear()]);
    let world = Loop::new(RowMode::Lazy, 1);
    let before = world.run(&strategy, FLIP);
    let after = world.run(&strategy, FLIP + 1);
    assert!(
        weights(&after)[0] > 0.9 && weights(&after)[0] > weights(&before)[0],
        "{:?} {:?}",
        weights(&before),
        weights(&after)
    );
    assert!(weights(&after)[1] >= 0.01 - 1e-12, "a share is dealt out evenly: {:?}", weights(&after));
    assert!(world.accuracy(&after, FLIP + 1) > 0.9);
}

#[test]
fn weights_are_those_of_the_losses_before_the_update() {
    let world = world();
    let (pretrained, from) = (world.pretrain(), world.run(&all(), 4));
    let next = world.update(&all(), &pretrained, from.clone(), &period(5));
    let part = &period(5).parts()[0].clone();
    let loss = |member: &Member| {
        let serving = from.servable.serving_member(member);
        let logits = serving.score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
        perennial_eval::evaluate(&logits, &part.label, &part.weight, &part.user).unwrap().get("log_loss").unwrap()
    };
    let members = &from.mixed.as_ref().unwrap().members;
    let Mixture { rate, share, .. } = Mixture::default();
    let kept: Vec<f64> = members.iter().map(|member| member.weight * (-rate * loss(member)).exp()).collect();
    let sum: f64 = kept.iter().sum();
    for (kept, weight) in kept.iter().zip(weights(&next)) {
        assert!(((1.0 - share) * kept / sum + share / 3.0 - weight).abs() < 1e-12);
    }
}

#[test]
fn what_cannot_be_mixed_is_refused() {
    let refused = |mixture: Mixture, expected: &str| {
        let error = StrategyConfig::Mixture(mixture).check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let default = Mixture::default;
    refused(Mixture { experts: vec![], ..default() }, "at least one");
    refused(Mixture { experts: vec![StrategyConfig::Frozen], ..default() }, "one base trajectory");
    refused(Mixture { experts: vec![all()], ..default() }, "one base trajectory");
    refused(Mixture { rate: -1.0, ..default() }, "rate");
    refused(Mixture { share: 1.5, ..default() }, "share");
    let broken = StrategyConfig::AsmgLinear(AsmgLinear { sequence: 0, ..AsmgLinear::default() });
    refused(Mixture { experts: vec![broken], ..default() }, "sequence");
    all().check().unwrap();
}
