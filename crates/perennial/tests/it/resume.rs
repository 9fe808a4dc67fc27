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
    part.method.truncate(2);
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
        let error =
            run(&experiment, &RunOptions { out: out.clone(), workers: 1, disk: Disk::default(), watch: &watch });
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
