//! Scores that another system served.

use crate::world::{experiment, left_by, run_on, write_log};
use perennial::data::scores::{ScoreWriter, Scores};
use perennial::disk::Disk;
use perennial::experiment::Experiment;
use perennial::model::Objective;
use perennial::store::Store;
use std::path::{Path, PathBuf};

/// One seed of the incremental update, which learns from what was served.
fn reloop(log: &Path) -> Experiment {
    let mut experiment = experiment(log);
    experiment.seeds = vec![1];
    experiment.method.retain(|method| method.name == "incremental");
    experiment.method[0].objective = Some(Objective { bce: 0.5, self_correction: 0.5, ..Objective::BCE });
    experiment.protocol.baseline = None;
    experiment
}

/// All that a method served, in one file.
fn all_served(run: &Path, to: &Path) {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(run.join("scores/incremental/1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut writer = ScoreWriter::create(to).unwrap();
    for file in files {
        let scores = Scores::read(&file).unwrap();
        let (events, logits): (Vec<u64>, Vec<f32>) = scores.iter().unzip();
        writer.write(&events, &logits).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn what_was_served_elsewhere_is_as_what_was_served_here() {
    let (log, folder) = (write_log(), tempfile::tempdir().unwrap());
    let own = reloop(log.path());
    let out = folder.path().join("own");
    let expected = run_on(&own, &out, 1, Disk::default()).unwrap();
    let file = folder.path().join("production.parquet");
    all_served(&out, &file);

    let outside = Experiment { served_scores: Some(file.clone()), ..own.clone() };
    let out = folder.path().join("outside");
    let mut part = outside.clone();
    part.protocol.periods = Some(2);
    run_on(&part, &out, 2, Disk::default()).unwrap();
    let found = run_on(&outside, &out, 2, Disk::default()).unwrap();
    assert_eq!(found.digest, expected.digest);
    left_by(&out, &found);
    let store = Store::open(out.join("store")).unwrap();
    let manifest = store.manifest(&"incremental/1/0004".parse().unwrap()).unwrap();
    assert!(manifest.lineage.extra["served_scores"].starts_with("production.parquet of "), "{:?}", manifest.lineage);

    // Other scores, another model; and a run does not go on from other scores than it began with.
    let mut writer = ScoreWriter::create(&file).unwrap();
    let (events, logits): (Vec<u64>, Vec<f32>) = {
        let scores = Scores::read(&folder.path().join("own/scores/incremental/1/0003.parquet")).unwrap();
        scores.iter().map(|(event, logit)| (event, -logit)).unzip()
    };
    writer.write(&events, &logits).unwrap();
    writer.finish().unwrap();
    let error = format!("{:#}", run_on(&outside, &out, 1, Disk::default()).unwrap_err());
    assert!(error.contains("learned from"), "{error}");
    let other = run_on(&outside, &folder.path().join("other"), 1, Disk::default()).unwrap();
    assert_ne!(other.digest, expected.digest);
}

#[test]
fn files_that_cannot_be_meant_are_refused() {
    let (log, folder) = (write_log(), tempfile::tempdir().unwrap());
    let file = folder.path().join("scores.parquet");
    let refused = |part: &str| {
        let experiment = Experiment { served_scores: Some(file.clone()), ..reloop(log.path()) };
        let error = format!("{:#}", run_on(&experiment, &folder.path().join("run"), 1, Disk::default()).unwrap_err());
        assert!(error.contains("served_scores") && error.contains(part), "{part}: {error}");
    };
    refused("scores.parquet");
    let write = |events: &[u64], logits: &[f32]| {
        let mut writer = ScoreWriter::create(&file).unwrap();
        writer.write(events, logits).unwrap();
        writer.finish().unwrap();
    };
    write(&[u64::MAX, u64::MAX - 1], &[0.0, 0.5]);
    refused("none of the 2 events");
    write(&[1], &[f32::NAN]);
    refused("the logit of event 1 is NaN");
    std::fs::write(&file, "event_id,logit\n").unwrap();
    refused("scores.parquet");
}
