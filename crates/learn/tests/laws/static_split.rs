//! Training on one static split: the epoch that is kept, the rate that falls, and who gives earlier scores.

use crate::world::{examples, likes, schema, training};
use perennial_core::{Examples, FeatureSet, Stream};
use perennial_eval::{Criterion, SplitEpoch, evaluate};
use perennial_learn::{
    EarlierScores, Fitted, LearnError, Learned, Plateau, Schedule, SplitEnv, StaticSplit, TrainingConfig, fit_split,
};
use perennial_model::backbone::FmConfig;
use perennial_model::encoder::Unseen;
use perennial_model::{BackboneConfig, Encoder, EncoderConfig, Group, Objective};
use perennial_nn::Workers;
use perennial_nn::optim::Override;
use perennial_stream::SeenPeriod;
use perennial_table::RowMode;
use std::sync::Arc;

/// The world of one period, with some labels turned round so that there is something to overfit.
struct Desk {
    train: SeenPeriod,
    valid: Examples,
    test: Examples,
    training: TrainingConfig,
    schedule: Schedule,
    workers: Workers,
}

fn noisy(period: u32, wrong: u64) -> Examples {
    let mut part = examples(period, 0, |user, item| likes(0, user, item));
    let mut stream = Stream::new(&[u64::from(period), 5]);
    part.label.iter_mut().filter(|_| stream.below(100) < wrong).for_each(|label| *label = 1.0 - *label);
    part
}

impl Desk {
    fn new(epochs: u32, schedule: Schedule) -> Desk {
        let training = TrainingConfig { epochs, ..training(RowMode::DenseParity) };
        let train = SeenPeriod::static_split(vec![Arc::new(noisy(0, 40))]);
        Desk { train, valid: noisy(1, 40), test: noisy(2, 40), training, schedule, workers: Workers::new(1) }
    }

    fn blank(&self, seed: u64) -> Result<Learned, LearnError> {
        let config = EncoderConfig { unseen: Unseen::Unknown, ..EncoderConfig::default() };
        let encoder = Encoder::new(FeatureSet::of(&schema(1), true), config);
        Learned::new(&BackboneConfig::Fm(FmConfig::default()), encoder, &self.training, seed)
    }

    fn with_env<R>(&self, work: impl FnOnce(StaticSplit<'_>, &SplitEnv<'_>) -> R) -> R {
        let split = StaticSplit { train: &self.train, valid: &self.valid, test: Some(&self.test) };
        let env = SplitEnv {
            training: &self.training,
            schedule: &self.schedule,
            seed: 3,
            blank: &|seed| self.blank(seed),
            workers: &self.workers,
            progress: &|_| true,
            epoch: &|_| {},
        };
        work(split, &env)
    }

    fn fit(&self) -> Fitted {
        self.with_env(|split, env| fit_split(split, None, env)).unwrap()
    }

    fn earlier(&self, source: EarlierScores) -> Vec<f32> {
        self.with_env(|split, env| source.rescored(split, env)).unwrap().parts()[0].previous.clone()
    }
}

/// A group with a rate of its own.
fn at(rate: f64) -> Override {
    serde_json::from_str(&format!("{{\"learning_rate\": {rate}}}")).unwrap()
}

fn rates(epochs: &[SplitEpoch]) -> Vec<f64> {
    epochs.iter().map(|epoch| epoch.learning_rate).collect()
}

#[test]
fn early_stopping_restores_the_best_epoch() {
    let watch = Criterion::LogLoss;
    let desk = Desk::new(60, Schedule { watch, stop_after: Some(3), ..Schedule::default() });
    let fitted = desk.fit();
    assert_eq!(fitted.epochs.len() as u32, fitted.best + 3, "it stops three epochs after the best");
    let best = &fitted.epochs[fitted.best as usize - 1];
    let loss = |epoch: &SplitEpoch| epoch.valid.get("log_loss").unwrap();
    assert!(fitted.epochs.iter().all(|epoch| loss(epoch) >= loss(best)));

    let short = Desk::new(fitted.best, Schedule { watch, restore_best: false, ..Schedule::default() }).fit();
    assert_eq!(short.epochs, fitted.epochs[..fitted.best as usize]);
    assert_eq!(short.learned.digest(), fitted.learned.digest(), "the model of the best epoch, bit for bit");
    let last = Desk::new(60, Schedule { restore_best: false, ..desk.schedule.clone() }).fit();
    assert_eq!(last.epochs, fitted.epochs);
    assert_ne!(last.learned.digest(), fitted.learned.digest());

    let part = &desk.test;
    let logits = fitted.learned.serving().score(&part.keys, &part.columns, part.len(), &desk.workers).unwrap();
    assert_eq!(evaluate(&logits, &part.label, &part.weight, &part.user).unwrap(), best.test);
}

#[test]
fn a_plateau_halves_the_rate_of_the_epochs_after_it() {
    let watch = Criterion::LogLoss;
    let plain = Desk::new(20, Schedule { watch, ..Schedule::default() }).fit();
    let plateau = Some(Plateau { patience: 2, factor: 0.5 });
    let fitted = Desk::new(20, Schedule { watch, plateau, ..Schedule::default() }).fit();
    let fall = rates(&fitted.epochs).iter().position(|rate| *rate < 0.02).unwrap();
    assert_eq!(fall as u32, fitted.epochs[..fall].len() as u32);
    assert_eq!(rates(&fitted.epochs)[fall], 0.01);
    let value = |epoch: &SplitEpoch| epoch.valid.get("log_loss").unwrap();
    let best = fitted.epochs[..fall - 2].iter().map(value).fold(f64::INFINITY, f64::min);
    assert!(fitted.epochs[fall - 2..fall].iter().all(|epoch| value(epoch) >= best), "two epochs that were no better");
    assert_eq!(plain.epochs[..fall], fitted.epochs[..fall]);
    assert_ne!(plain.epochs[fall].loss, fitted.epochs[fall].loss, "a smaller step leads elsewhere");
    assert!(rates(&plain.epochs).iter().all(|rate| *rate == 0.02));
}

/// Groups whose own rates are the shared one end, after falls of it, with the bits of no groups.
#[test]
fn the_rates_of_groups_fall_with_the_shared_one() {
    let watch = Criterion::LogLoss;
    let plateau = Some(Plateau { patience: 1, factor: 0.1 });
    let plain = Desk::new(12, Schedule { watch, plateau, ..Schedule::default() });
    let with = |rate| {
        let groups = [(Group::Embeddings, at(rate)), (Group::Linear, at(rate))].into();
        Desk { training: TrainingConfig { groups, ..plain.training.clone() }, ..Desk::new(12, plain.schedule.clone()) }
    };
    let expected = plain.fit();
    assert!(rates(&expected.epochs).last().unwrap() < &2e-3, "the rate fell twice");
    let rate = plain.training.optimiser.learning_rate;
    assert_eq!(with(rate).fit().epochs, expected.epochs);
    assert_ne!(with(rate / 2.0).fit().epochs, expected.epochs);
}

/// Beside a shared rate of zero a group of its own learns on: what is frozen is all else.
#[test]
fn a_group_may_learn_alone() {
    let mut desk = Desk::new(2, Schedule::default());
    desk.training.optimiser.learning_rate = 0.0;
    desk.training.groups = [(Group::Embeddings, at(0.02))].into();
    let Fitted { learned, epochs, .. } = desk.fit();
    assert!(epochs[1].loss < epochs[0].loss);
    let spec = learned.servable.backbone.spec();
    for (table, spec) in learned.servable.params.tables.iter().zip(&spec.tables) {
        let moved = (2..table.rows()).any(|row| spec.name.starts_with("linear") && table.row(row) != [0.0]);
        assert!(!moved, "{}", spec.name);
    }
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let digest = |workers| {
        let desk = Desk { workers: Workers::new(workers), ..Desk::new(3, Schedule::default()) };
        desk.fit().learned.digest()
    };
    let alone = digest(1);
    assert_eq!((digest(2), digest(3)), (alone, alone));
}

/// Its own label turned round, an example is scored as before by the others' model: bit for bit. Of the recomputed scores
/// nine in ten are of a model that learned the label.
#[test]
fn out_of_fold_scores_do_not_know_the_label() {
    let desk = Desk::new(2, Schedule::default());
    let turned = |row: usize| {
        let mut part = (*desk.train.parts()[0]).clone();
        part.label[row] = 1.0 - part.label[row];
        Desk { train: SeenPeriod::static_split(vec![Arc::new(part)]), ..Desk::new(2, Schedule::default()) }
    };
    let folds = EarlierScores::OutOfFold { folds: 3 };
    let (out_of_fold, recomputed) = (desk.earlier(folds), desk.earlier(EarlierScores::Recomputed));
    assert!(out_of_fold.iter().chain(&recomputed).all(|logit| logit.is_finite()));
    assert_eq!(out_of_fold.len(), desk.train.rows());
    let mut knew = 0;
    for row in [0, 7, 100, 333, 599] {
        let other = turned(row);
        let again = other.earlier(folds);
        assert_eq!(again[row].to_bits(), out_of_fold[row].to_bits(), "row {row}");
        assert_ne!(again, out_of_fold, "the models of other folds did learn it");
        knew += usize::from(other.earlier(EarlierScores::Recomputed)[row] != recomputed[row]);
    }
    assert!(knew >= 3, "{knew}");
}

/// ReLoop against an earlier model is another model; without one, its examples learn from their labels alone.
#[test]
fn earlier_scores_reach_the_loss() {
    let desk = |objective| {
        let desk = Desk::new(2, Schedule::default());
        Desk { training: TrainingConfig { objective, ..desk.training.clone() }, ..desk }
    };
    let digest =
        |desk: &Desk, earlier| desk.with_env(|split, env| fit_split(split, earlier, env)).unwrap().learned.digest();
    let reloop = desk(Objective::reloop(0.5));
    let plain = digest(&desk(Objective::BCE), None);
    assert_eq!(digest(&reloop, None), plain);
    let recomputed = digest(&reloop, Some(EarlierScores::Recomputed));
    assert_ne!(recomputed, plain);
    assert_ne!(digest(&reloop, Some(EarlierScores::OutOfFold { folds: 2 })), recomputed);
}

#[test]
fn validation_that_says_nothing_is_refused() {
    let mut desk = Desk::new(2, Schedule::default());
    desk.valid.label.fill(1.0);
    let error = desk.with_env(|split, env| fit_split(split, None, env)).unwrap_err().to_string();
    assert!(error.contains("AUC is undefined on the 600 validation examples"), "{error}");
}
