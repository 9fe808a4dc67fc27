//! A run that was stopped, or grew, or met damage: run again, it is as one that was not.

use crate::world::{experiment, left_by, run_on, write_log};
use perennial::disk::Disk;
use perennial::experiment::Experiment;
use perennial::model::BackboneConfig;
use perennial::model::backbone::{DnnConfig, FieldsConfig, MlpConfig};
use perennial::run::{Event, RunOptions, Watch, run};
use perennial::store::{Store, VersionId};
use perennial::stream::StreamError;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn same_digest_on_one_and_two_workers_and_when_run_again() {
    let log = write_log();
    let experiment = experiment(log.path());
    let out = tempfile::tempdir().unwrap();
    let run = |name: &str, workers| {
        let out = out.path().join(name);
        let outcome = run_on(&experiment, &out, workers, Disk::default()).unwrap();
        left_by(&out, &outcome)
    };
    let first = run("one", 1);
    assert_eq!(run("two", 2), first);
    assert_eq!(run("one", 2), first, "a finished run is found finished");
}

/// One seed and two methods over two periods, then all of it in the same folder.
#[test]
fn a_run_that_grew_is_the_same_as_one_begun_whole() {
    let log = write_log();
    check_growth(&experiment(log.path()));
}

/// Running statistics are part of a version, and what is dropped has the same names.
#[test]
fn so_is_one_whose_model_normalises_and_drops() {
    let log = write_log();
    let mlp = MlpConfig { hidden: vec![6, 4], batch_norm: true, dropout: 0.2, ..MlpConfig::default() };
    let fields = FieldsConfig { dim: 4, ..FieldsConfig::default() };
    let model = BackboneConfig::Dnn(DnnConfig { fields, mlp });
    check_growth(&Experiment { model, ..experiment(log.path()) });
}

fn check_growth(whole: &Experiment) {
    let mut part = whole.clone();
    part.seeds.truncate(1);
    part.method.remove(0);
    part.protocol.periods = Some(2);
    let folder = tempfile::tempdir().unwrap();
    let run = |experiment, name: &str| {
        let out = folder.path().join(name);
        let outcome = run_on(experiment, &out, 2, Disk::default()).unwrap();
        left_by(&out, &outcome)
    };
    let first = run(&part, "grown");
    let expected = run(whole, "whole");
    assert_ne!(first, expected);
    assert_eq!(run(whole, "grown"), expected);
}

/// A method that learns from what it served cannot go on without it.
#[test]
fn served_scores_that_are_gone_are_named() {
    let log = write_log();
    let whole = experiment(log.path());
    let mut part = whole.clone();
    part.protocol.periods = Some(2);
    let out = tempfile::tempdir().unwrap();
    run_on(&part, out.path(), 1, Disk::default()).unwrap();
    let kept = |method: &str| out.path().join("scores").join(method).join("1/0002.parquet");
    assert!(!kept("incremental").exists(), "it compares with nothing");
    std::fs::remove_file(kept("batch-2")).unwrap();
    let error = format!("{:#}", run_on(&whole, out.path(), 1, Disk::default()).unwrap_err());
    assert!(error.contains("learns from what it served") && error.contains("0002.parquet"), "got: {error}");
}

/// The objective is a method's own: with the loss of the others it would have become another model.
#[test]
fn a_loss_against_what_was_served_changes_the_model() {
    let log = write_log();
    let with = experiment(log.path());
    let mut without = with.clone();
    without.method.iter_mut().for_each(|method| method.objective = None);
    let out = tempfile::tempdir().unwrap();
    let versions = |experiment, name: &str| {
        let out = out.path().join(name);
        let outcome = run_on(experiment, &out, 1, Disk::default()).unwrap();
        left_by(&out, &outcome).versions
    };
    let (with, without) = (versions(&with, "with"), versions(&without, "without"));
    let same: Vec<bool> = with.iter().map(|(id, digest)| without.get(id) == Some(digest)).collect();
    let expected: Vec<bool> = with.keys().map(|id| !id.as_str().starts_with("batch-2/")).collect();
    assert_eq!(same, expected, "{:?}", with.keys());
}

/// Asks to stop when so many rows were prepared.
struct StopAt {
    rows: u64,
    reached: AtomicBool,
}

impl Watch for StopAt {
    fn tell(&self, event: Event<'_>) {
        match event {
            Event::Prepared { rows, .. } => self.reached.store(rows >= self.rows, Ordering::Relaxed),
            Event::Planned { .. } => panic!("it went on after it was asked to stop"),
            _ => {}
        }
    }

    fn stop(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }
}

#[test]
fn a_run_stopped_while_it_prepares_its_log_can_be_run_again() {
    let log = write_log();
    let experiment = experiment(log.path());
    let folder = tempfile::tempdir().unwrap();
    let whole = run_on(&experiment, &folder.path().join("whole"), 1, Disk::default()).unwrap();
    let out = folder.path().join("stopped");
    for rows in [0, 600, 1800] {
        let watch = StopAt { rows, reached: AtomicBool::new(false) };
        let error = run(
            &experiment,
            &RunOptions { out: out.clone(), prepared: None, workers: 1, disk: Disk::default(), watch: &watch },
        );
        let error = error.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(StreamError::Stopped)), "{error:?}");
        assert!(!out.join("ledger").exists());
    }
    assert_eq!(run_on(&experiment, &out, 1, Disk::default()).unwrap().digest, whole.digest);
}

#[test]
fn a_flipped_byte_in_a_version_is_named_and_never_loaded() {
    let log = write_log();
    let out = tempfile::tempdir().unwrap();
    run_on(&experiment(log.path()), out.path(), 1, Disk::default()).unwrap();
    let store = Store::open(out.path().join("store")).unwrap();
    let id: VersionId = "incremental/1/0004".parse().unwrap();
    let paths = store.locate(&id).unwrap();
    let (name, path) = paths.iter().find(|(name, _)| name.starts_with("table/0/values")).unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let error = format!("{:#}", perennial::run::scorer_of(&store, &id).unwrap_err());
    assert!(error.contains(name) && error.contains("incremental/1/0004"), "{error}");
}
