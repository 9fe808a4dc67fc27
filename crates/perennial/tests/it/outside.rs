//! Scores that another system served.

use crate::world::{experiment, left_by, run_on, write_log};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use perennial::core::Schema;
use perennial::data::Log;
use perennial::data::log::{ImportNotes, LogWriter, PartitionOptions, arrow_schema};
use perennial::data::scores::{ScoreWriter, Scores};
use perennial::disk::Disk;
use perennial::eval::PeriodMetrics;
use perennial::experiment::Experiment;
use perennial::model::Objective;
use perennial::run::Outcome;
use perennial::store::Store;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One seed of the incremental update, which learns from what was served.
fn reloop(log: &Path) -> Experiment {
    let mut experiment = experiment(log);
    experiment.seeds = vec![1];
    experiment.method.retain(|method| method.name == "incremental");
    experiment.method[0].objective = Some(Objective { bce: 0.5, self_correction: 0.5, ..Objective::BCE });
    experiment.protocol.baseline = None;
    experiment
}

/// Stopped after two periods and taken up again.
fn run_in_two(experiment: &Experiment, out: &Path) -> Outcome {
    let mut part = experiment.clone();
    part.protocol.periods = Some(2);
    run_on(&part, out, 2, Disk::default()).unwrap();
    run_on(experiment, out, 2, Disk::default()).unwrap()
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
    let found = run_in_two(&outside, &out);
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

/// The log of `from` with what a model served in a column of its own.
fn with_scores(from: &Path, scores: &Scores, to: &Path) {
    let log = Log::open(from).unwrap();
    let mut schema = log.schema().to_toml();
    schema += "\n[[field]]\nname = \"served\"\nkind = \"score\"\nversion = \"model\"\n";
    let schema = Schema::parse(&schema).unwrap();
    let mut writer = LogWriter::create(to, &schema, PartitionOptions::default()).unwrap();
    for batch in log.batches() {
        let batch = batch.unwrap();
        let logits = scores.join(&batch);
        let names: StringArray = logits.iter().map(|logit| logit.map(|_| "v7")).collect();
        let columns = batch.columns().iter().cloned().chain([Arc::new(logits) as ArrayRef, Arc::new(names)]);
        let batch = RecordBatch::try_new(arrow_schema(&schema), columns.collect()).unwrap();
        writer.write(&batch).unwrap();
    }
    writer.finish(ImportNotes::default()).unwrap();
}

#[test]
fn scores_in_the_log_are_as_scores_in_a_file() {
    let (log, folder) = (write_log(), tempfile::tempdir().unwrap());
    let own = reloop(log.path());
    let out = folder.path().join("own");
    let expected = run_on(&own, &out, 1, Disk::default()).unwrap();
    let file = folder.path().join("production.parquet");
    all_served(&out, &file);
    let scored = folder.path().join("scored");
    with_scores(&log.path().join("log"), &Scores::read(&file).unwrap(), &scored);

    let column = Experiment { log: scored, ..own };
    let out = folder.path().join("column");
    let found = run_in_two(&column, &out);
    // Versions hold the schema, which is another one; what they learned and scored is the same.
    let metrics = |outcome: &Outcome| -> Vec<PeriodMetrics> {
        let seeds = outcome.results.methods.iter().flat_map(|method| &method.seeds);
        seeds.flat_map(|seed| &seed.periods).map(|period| period.metrics.clone()).collect()
    };
    assert_eq!(metrics(&found), metrics(&expected));
    let store = Store::open(out.join("store")).unwrap();
    let lineage = store.manifest(&"incremental/1/0004".parse().unwrap()).unwrap().lineage;
    let named = &lineage.extra["served_scores"];
    assert!(named.starts_with("column served of ") && named.ends_with(" by v7"), "{lineage:?}");

    let empty = folder.path().join("empty");
    with_scores(&log.path().join("log"), &Scores::default(), &empty);
    let unscored = Experiment { log: empty, ..column.clone() };
    let error = format!("{:#}", run_on(&unscored, &folder.path().join("none"), 1, Disk::default()).unwrap_err());
    assert!(error.contains("\"served\"") && error.contains("no event has a value"), "{error}");

    let both = Experiment { served_scores: Some(file), ..column };
    let error = format!("{:#}", run_on(&both, &folder.path().join("both"), 1, Disk::default()).unwrap_err());
    assert!(error.contains("the log has scores of its own in \"served\""), "{error}");
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
