//! Faults at the write points of a run: run again, the digest is that of a run without faults.

use crate::world::{experiment, run_on, write_log};
use perennial::store::fault::{Fault, Faults, Survives};
use perennial::store::{Disk, Store, VersionId};
use perennial::run::{Event, RunOptions, Watch, run};
use perennial::stream::StreamError;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Digest over everything that a run leaves for others: results, and the content of every version.
fn outcome_of(
    out: &Path,
    results: perennial::core::Digest,
) -> (perennial::core::Digest, Vec<(VersionId, perennial::core::Digest)>) {
    let store = Store::open(out.join("store")).unwrap();
    assert!(store.verify(None).unwrap().troubles.is_empty(), "the store is whole");
    let ids = store.list("").unwrap();
    let contents = ids.into_iter().map(|id| (id.clone(), store.manifest(&id).unwrap().content)).collect();
    (results, contents)
}

#[test]
fn same_digest_on_one_and_two_workers_and_when_run_again() {
    let log = write_log();
    let experiment = experiment(log.path());
    let out = tempfile::tempdir().unwrap();
    let run = |name: &str, workers| {
        let out = out.path().join(name);
        let outcome = run_on(&experiment, &out, workers, Disk::default()).unwrap();
        outcome_of(&out, outcome.digest)
    };
    let first = run("one", 1);
    assert_eq!(run("two", 2), first);
    assert_eq!(run("one", 2), first, "a finished run is found finished");
}

/// One seed and two methods over two periods, then all of it in the same folder.
#[test]
fn a_run_that_grew_is_the_same_as_one_begun_whole() {
    let log = write_log();
    let whole = experiment(log.path());
    let mut part = whole.clone();
    part.seeds.truncate(1);
    part.method.truncate(2);
    part.protocol.periods = Some(2);
    let folder = tempfile::tempdir().unwrap();
    let run = |experiment, name: &str| {
        let out = folder.path().join(name);
        let outcome = run_on(experiment, &out, 2, Disk::default()).unwrap();
        outcome_of(&out, outcome.digest)
    };
    let first = run(&part, "grown");
    let expected = run(&whole, "whole");
    assert_ne!(first, expected);
    assert_eq!(run(&whole, "grown"), expected);
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
        let error = run(&experiment, &RunOptions { out: out.clone(), workers: 1, disk: Disk::default(), watch: &watch });
        let error = error.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(StreamError::Stopped)), "{error:?}");
        assert!(!out.join("ledger").exists());
    }
    assert_eq!(run_on(&experiment, &out, 1, Disk::default()).unwrap().digest, whole.digest);
}

/// Cuts a run at every n-th write point and runs it again. Every point is cut with `PERENNIAL_FAULTS=all`; otherwise
/// some fifty spread over all of them.
#[test]
fn a_run_cut_at_any_write_point_ends_with_the_same_digests() {
    let log = write_log();
    let experiment = experiment(log.path());
    let folder = tempfile::tempdir().unwrap();
    let counter = Faults::none();
    let undisturbed = folder.path().join("undisturbed");
    let outcome = run_on(&experiment, &undisturbed, 1, Disk::watched(counter.clone())).unwrap();
    let expected = outcome_of(&undisturbed, outcome.digest);
    let points = counter.steps();
    let all = std::env::var("PERENNIAL_FAULTS").is_ok_and(|value| value == "all");
    let stride = if all { 1 } else { points.div_ceil(50).max(1) };
    println!("{points} write points, every {stride}th is cut");
    let faults = [
        Fault::PowerCut(Survives::Everything),
        Fault::PowerCut(Survives::Names),
        Fault::PowerCut(Survives::Nothing),
        Fault::Error(std::io::ErrorKind::StorageFull),
    ];
    for (nth, point) in (0..points).step_by(stride).enumerate() {
        let out = folder.path().join(format!("cut-{point}"));
        let faults = Faults::at(point, faults[nth % faults.len()]);
        run_on(&experiment, &out, 1, Disk::watched(faults)).expect_err("the fault strikes");
        let outcome = run_on(&experiment, &out, 1, Disk::default()).unwrap();
        assert_eq!(outcome_of(&out, outcome.digest), expected, "cut at write point {point}");
        std::fs::remove_dir_all(&out).unwrap();
    }
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
