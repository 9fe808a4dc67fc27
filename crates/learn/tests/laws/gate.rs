//! Laws of the gate: what a strategy makes is served only while it beats the incremental update.

use crate::strategies::registered;
use crate::world::{Loop, examples, period};
use perennial_core::Stream;
use perennial_eval::{Criterion, GateDecision, Served};
use perennial_learn::strategy::asmg_linear::Constraint;
use perennial_learn::strategy::{AsmgLinear, Batch, BatchInit};
use perennial_learn::{Archive, Env, GateConfig, LearnError, Learned, PreviousScores, StrategyConfig, Threshold};
use perennial_model::Objective;
use perennial_nn::Workers;
use perennial_stream::SeenPeriod;
use perennial_table::RowMode;

fn quick() -> GateConfig {
    GateConfig { window: 2, min_periods: 2, resamples: 200, ..GateConfig::default() }
}

/// No gain is ever enough.
fn closed() -> GateConfig {
    GateConfig { promote: Threshold { margin: 1e9, confidence: 0.95 }, ..quick() }
}

/// Every gain is enough, and none is too bad.
fn open() -> GateConfig {
    let at = |margin| Threshold { margin, confidence: 0.9 };
    GateConfig { promote: at(-1e6), demote: at(-1e9), min_periods: 1, window: 1, ..quick() }
}

/// The periods of a world, which this gives.
struct Periods<F>(F);

impl<F: Fn(u32) -> SeenPeriod + Sync> Archive for Periods<F> {
    fn seen(&self, index: u32) -> Result<SeenPeriod, LearnError> {
        Ok((self.0)(index))
    }
}

/// One update behind a gate, on the last of the periods up to `at`.
fn step(
    world: &Loop,
    gate: &GateConfig,
    strategy: &StrategyConfig,
    from: Learned,
    periods: impl Fn(u32) -> SeenPeriod + Sync,
    at: u32,
) -> (Learned, GateDecision) {
    let pretrained = world.pretrain();
    let seen = periods(at);
    let archive = Periods(periods);
    let updated =
        world.with_env(&pretrained, |env| gate.update(strategy, from, &seen, &Env { archive: &archive, ..*env }));
    let (learned, trained) = updated.unwrap();
    (learned, trained.gate.unwrap())
}

/// The versions after each of periods `1..=last`.
fn run(
    world: &Loop,
    gate: &GateConfig,
    strategy: &StrategyConfig,
    last: u32,
    periods: impl Fn(u32) -> SeenPeriod + Sync,
) -> Vec<Learned> {
    let mut learned = world.pretrain();
    let next = |at| {
        learned = step(world, gate, strategy, learned.clone(), &periods, at).0;
        learned.clone()
    };
    (1..=last).map(next).collect()
}

fn served(versions: &[Learned]) -> Vec<Served> {
    versions.iter().map(|learned| learned.gate.as_ref().expect("a gated version").served).collect()
}

fn scores(world: &Loop, learned: &Learned) -> Vec<f32> {
    let part = examples(9, 5, |_, _| true);
    learned.serving().score(&part.keys, &part.columns, part.len(), &world.workers).unwrap()
}

fn small() -> Loop {
    let mut world = Loop::new(RowMode::Lazy, 1);
    world.training.epochs = 2;
    world.training.pretrain_epochs = 2;
    world
}

/// The floor: behind a gate that never opens, every strategy serves the incremental update, bit for bit.
#[test]
fn what_is_never_promoted_is_the_incremental_update() {
    let world = small();
    let incremental = world.run(&StrategyConfig::Incremental, 3);
    for (name, strategy) in registered() {
        let learned = run(&world, &closed(), &strategy, 3, period).pop().unwrap();
        assert!(scores(&world, &learned) == scores(&world, &incremental), "{name}");
        assert_eq!(learned.served_only().digest(), incremental.digest(), "{name}");
    }
}

/// The gate looks and does not touch: what a strategy learns and makes is what it is without a gate, and once promoted it
/// is what is served.
#[test]
fn a_gate_changes_nothing_of_what_a_strategy_makes() {
    let world = small();
    for (name, strategy) in registered() {
        let alone = world.run(&strategy, 5);
        for gate in [open(), closed()] {
            let mut gated = run(&world, &gate, &strategy, 5, period).pop().unwrap();
            if gate == open() {
                assert!(scores(&world, &gated) == scores(&world, &alone), "{name}");
            }
            gated.gate = None;
            assert_eq!(gated.digest(), alone.digest(), "{name}");
        }
    }
}

/// A loss may compare with what the version before the update scores: of each of the two models its own.
#[test]
fn both_learn_from_their_own_scores() {
    let mut world = small();
    world.training.objective = Objective { bce: 0.5, self_correction: 0.5, ..Objective::BCE };
    world.training.previous = PreviousScores::Recomputed;
    let learned = run(&world, &closed(), &batch(), 3, period).pop().unwrap();
    assert_eq!(learned.served_only().digest(), world.run(&StrategyConfig::Incremental, 3).digest());
    let made = run(&world, &open(), &batch(), 3, period).pop().unwrap();
    assert_eq!(made.served_only().digest(), world.run(&batch(), 3).digest());
}

/// A model with all its parameters turned upside down is good for nothing.
#[test]
fn what_is_always_worse_is_never_served() {
    let world = small();
    let weights = Some(vec![-1.0]);
    let options = AsmgLinear { sequence: 1, weights, constraint: Constraint::Fixed, ..AsmgLinear::default() };
    let strategy = StrategyConfig::AsmgLinear(options);
    for criterion in [Criterion::Auc, Criterion::LogLoss] {
        let gate = GateConfig { criterion, ..quick() };
        let versions = run(&world, &gate, &strategy, 6, steady);
        assert_eq!(served(&versions), [Served::Base; 6], "{criterion:?}");
        assert!(versions[5].generated.is_some(), "there was something to refuse");
    }
}

/// The toy world without its flip, with one label in five at random.
fn steady(at: u32) -> SeenPeriod {
    noisy(at, |_| false)
}

fn noisy(at: u32, flipped: impl Fn(u32) -> bool) -> SeenPeriod {
    let stream = std::cell::RefCell::new(Stream::new(&[77, u64::from(at)]));
    let label = |user: u64, item: u64| {
        let mut stream = stream.borrow_mut();
        let right = stream.below(5) > 0;
        ((user + item).is_multiple_of(2) != flipped(at)) == right
    };
    crate::world::seen(at, examples(at, 0, label))
}

/// Too little training: who trains on three periods at once is ahead.
fn under_trained() -> Loop {
    let mut world = small();
    world.training.optimiser.learning_rate = 0.005;
    world
}

fn batch() -> StrategyConfig {
    StrategyConfig::Batch(Batch { window: 3, init: BatchInit::Previous })
}

#[test]
fn what_is_better_is_promoted_after_the_least_number_of_periods() {
    let versions = run(&under_trained(), &quick(), &batch(), 6, steady);
    // The first update makes the candidate; periods 2 and 3 judge it.
    let mut expected = [Served::Candidate; 6];
    expected[..2].fill(Served::Base);
    assert_eq!(served(&versions), expected);
}

/// Tastes turn in period 8: what has trained longest on how they were is wrong longest.
#[test]
fn what_turns_bad_is_demoted() {
    let versions = run(&under_trained(), &quick(), &batch(), 11, |at| noisy(at, |at| at >= 8));
    let served = served(&versions);
    assert_eq!(served[6], Served::Candidate, "{served:?}");
    assert!(served[8..].contains(&Served::Base), "{served:?}");
}

/// The decision after a period is made before anything learns from it: labels of a period never change how it is judged
/// by whom, and what is served in it was settled before.
#[test]
fn a_decision_rests_on_periods_that_nothing_had_learned_from() {
    let world = under_trained();
    let versions = run(&world, &quick(), &batch(), 4, steady);
    let pretrained = world.pretrain();
    let decide = |periods: fn(u32) -> SeenPeriod| step(&world, &quick(), &batch(), versions[3].clone(), periods, 5).1;
    // The values are those of the version before the update.
    let seen = steady(5);
    let part = &seen.parts()[0];
    let value = |learned: &perennial_model::Servable| {
        let logits = learned.score(&part.keys, &part.columns, part.len(), &world.workers).unwrap();
        perennial_eval::evaluate(&logits, &part.label, &part.weight, &part.user).unwrap().get("auc")
    };
    let decision = decide(steady);
    assert_eq!(decision.candidate, value(&versions[3].servable));
    let mut base = world.pretrain();
    for at in 1..=4 {
        base = world.update(&StrategyConfig::Incremental, &pretrained, base, &steady(at));
    }
    assert_eq!(decision.base, value(&base.servable));
    let one_class = |at| crate::world::seen(at, examples(at, 0, |_, _| true));
    assert_eq!(decide(one_class).candidate, None, "one class says nothing");
}

#[test]
fn a_gate_that_was_stored_and_read_back_goes_on_the_same() {
    let world = small();
    for (name, strategy) in registered() {
        let whole = run(&world, &quick(), &strategy, 4, period).pop().unwrap();
        let mut learned = world.pretrain();
        for at in 1..=4 {
            learned = step(&world, &quick(), &strategy, learned, period, at).0;
            let pieces = learned.gate.as_ref().unwrap().pieces();
            learned.gate = quick().restore(pieces, &learned.servable.backbone, &world.training).unwrap();
        }
        assert_eq!(learned.digest(), whole.digest(), "{name}");
    }
}

#[test]
fn same_seed_same_decision_for_any_number_of_workers() {
    let digest = |workers: usize, seed| {
        let world = Loop { workers: Workers::new(workers), seed, ..under_trained() };
        run(&world, &quick(), &batch(), 3, steady).pop().unwrap().gate.unwrap().pieces().digest()
    };
    assert_eq!(digest(2, 7), digest(1, 7));
    assert_ne!(digest(1, 8), digest(1, 7));
}

#[test]
fn a_damaged_gate_is_refused() {
    let world = small();
    let learned = run(&world, &quick(), &batch(), 3, period).pop().unwrap();
    let pieces = learned.gate.as_ref().unwrap().pieces();
    let restore = |config: GateConfig, pieces| config.restore(pieces, &learned.servable.backbone, &world.training);
    let other = GateConfig { resamples: 300, ..quick() };
    assert!(restore(other, pieces.clone()).unwrap_err().to_string().contains("gains"));
    let mut missing = pieces.clone();
    missing.take_all("base");
    assert!(restore(quick(), missing).is_err());
    assert!(restore(quick(), pieces).unwrap().is_some());
}
