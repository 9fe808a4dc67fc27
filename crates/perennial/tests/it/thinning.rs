//! Runs that train on a share of the negatives.

use crate::world::{experiment, goes_on_where_it_ended, run_on, write_log};
use perennial::disk::Disk;
use perennial::eval::Results;
use perennial::experiment::Experiment;
use perennial::model::Objective;
use std::path::Path;

fn thinned(log: &Path, kept: f64) -> Experiment {
    let mut experiment = experiment(log);
    experiment.training.negatives_kept = kept;
    experiment.training.pretrain_epochs = 10;
    // What was served is compared with, on the scale of training.
    let method = experiment.method.iter_mut().find(|method| method.name == "incremental").unwrap();
    method.objective = Some(Objective { bce: 0.7, distillation: 0.3, ..Objective::BCE });
    experiment
}

fn calibration(results: &Results, method: &str) -> f64 {
    let periods = results.method(method).unwrap().seeds[0].periods.iter();
    let all: Vec<f64> = periods.map(|record| record.metrics.get("calibration").unwrap()).collect();
    all.iter().sum::<f64>() / all.len() as f64
}

/// A fifth of the negatives makes odds five times too high: without correction 2 to 3 times as many clicks would be promised
/// as are seen. References are made of all examples.
#[test]
fn probabilities_are_those_of_the_whole_log() {
    let log = write_log();
    let folder = tempfile::tempdir().unwrap();
    let run = |kept, name: &str| {
        run_on(&thinned(log.path(), kept), &folder.path().join(name), 2, Disk::default()).unwrap().results
    };
    let (whole, thinned) = (run(1.0, "whole"), run(0.2, "thinned"));
    let trained = |results: &Results| -> u64 {
        results.method("incremental").unwrap().seeds[0].periods.iter().map(|record| record.trained_rows).sum()
    };
    assert!(trained(&thinned) < trained(&whole));
    for method in ["incremental", "frozen"] {
        let (whole, thinned) = (calibration(&whole, method), calibration(&thinned, method));
        assert!((thinned - 1.0).abs() < 0.3, "{method}: {thinned}, on all negatives {whole}");
    }
    assert_eq!(calibration(&whole, "popularity"), calibration(&thinned, "popularity"));
}

#[test]
fn a_run_goes_on_where_it_ended() {
    let log = write_log();
    goes_on_where_it_ended(&thinned(log.path(), 0.5), &[2]);
}
