//! A run with gates: what is served, what is said about it, and that it can be stopped and gone on with.

use crate::world::{experiment_text, goes_on_where_it_ended, run_on, write_log};
use perennial::disk::Disk;
use perennial::eval::{GateDecision, Results, SeedResults, Served};
use perennial::experiment::Experiment;
use perennial::run::{load_learned, scorer_of};
use perennial::store::{Store, VersionId};
use std::path::Path;

/// A batch update, a strategy that generates and one that mixes, each alone and behind gates that never open, that open at once and that may
/// do either.
fn gated(folder: &Path) -> Experiment {
    let never = "window = 2, min_periods = 1, promote = { margin = 9.0, confidence = 0.9 }";
    let at_once = "window = 1, min_periods = 1, promote = { margin = -8.0, confidence = 0.9 }, \
                   demote = { margin = -9.0, confidence = 0.9 }";
    let either = "window = 1, min_periods = 1, promote = { margin = 0.0, confidence = 0.6 }";
    let linear = "{ asmg_linear = { sequence = 1, constraint = \"fixed\", weights = [1.5] } }";
    let mixture = format!("{{ mixture = {{ experts = [\"incremental\", {linear}] }} }}");
    let mut text = experiment_text(folder);
    let batch = "{ batch = { window = 2 } }";
    for (name, strategy) in [("batch", batch), ("linear", linear), ("mixture", &mixture)] {
        text += &format!("[[method]]\nname = \"{name}\"\nstrategy = {strategy}\n");
    }
    for (name, strategy) in [("batch", batch), ("linear", linear), ("mixture", &mixture)] {
        for (kind, gate) in [("never", never), ("at-once", at_once), ("either", either)] {
            let criterion = if kind == "never" { "auc" } else { "log_loss" };
            text += &format!(
                "[[method]]\nname = \"{name}-{kind}\"\nstrategy = {strategy}\n\
                 gate = {{ resamples = 100, criterion = \"{criterion}\", {gate} }}\n"
            );
        }
    }
    Experiment::parse(&(text + "[keep]\nversions = \"all\"\nscores = true\n")).unwrap()
}

fn run<'a>(results: &'a Results, method: &str) -> &'a SeedResults {
    &results.method(method).unwrap().seeds[0]
}

fn metric(run: &SeedResults, period: u32, name: &str) -> Option<f64> {
    run.periods.iter().find(|record| record.period == period).unwrap().metrics.get(name)
}

#[test]
fn gates_serve_what_they_say_and_their_numbers_are_those_of_the_methods() {
    let log = write_log();
    let out = tempfile::tempdir().unwrap();
    let results = run_on(&gated(log.path()), out.path(), 2, Disk::default()).unwrap().results;
    let names = |base: &str| ["never", "at-once", "either"].map(|kind| format!("{base}-{kind}"));
    for (alone, gated) in ["batch", "linear", "mixture"].map(|name| (name, names(name))) {
        for name in gated {
            let gated = run(&results, &name);
            for (period, served) in gated.served() {
                let who = if served == Served::Base { "incremental" } else { alone };
                let expected = &run(&results, who).periods[period as usize - 2].metrics;
                assert_eq!(&gated.periods[period as usize - 2].metrics, expected, "{name}, period {period}");
                let Some(decision) = gated.decision(period).filter(|decision| decision.candidate.is_some()) else {
                    continue;
                };
                let metric = |of| metric(run(&results, of), period, decision.criterion.metric().name);
                assert_eq!((decision.candidate, decision.base), (metric(alone), metric("incremental")), "{name}");
                assert_eq!(decision.before, served, "{name}");
            }
            assert!(gated.periods.iter().any(|record| record.gate.is_some_and(|gate| gate.candidate.is_some())));
            let served_candidate = gated.served().any(|(_, served)| served == Served::Candidate);
            match () {
                _ if name.ends_with("never") => assert!(!served_candidate),
                _ if name.ends_with("at-once") => assert!(served_candidate, "{name}"),
                _ => {}
            }
        }
    }
}

#[test]
fn a_version_says_what_its_gate_decided_and_scores_as_it_served() {
    let log = write_log();
    let out = tempfile::tempdir().unwrap();
    let results = run_on(&gated(log.path()), out.path(), 2, Disk::default()).unwrap().results;
    let store = Store::open(out.path().join("store")).unwrap();
    let id = |method: &str| -> VersionId { format!("{method}/1/0004").parse().unwrap() };
    for (gated, like) in [
        ("batch-never", "incremental"),
        ("batch-at-once", "batch"),
        ("linear-never", "incremental"),
        ("linear-at-once", "linear"),
        ("mixture-never", "incremental"),
        ("mixture-at-once", "mixture"),
    ] {
        let manifest = store.manifest(&id(gated)).unwrap();
        let decision: GateDecision = serde_json::from_str(&manifest.lineage.extra["gate"]).unwrap();
        assert_eq!(Some(decision), run(&results, gated).decision(4));
        let (scorer, expected) = (scorer_of(&store, &id(gated)).unwrap(), scorer_of(&store, &id(like)).unwrap());
        assert_eq!(scorer.learned.digest(), expected.learned.digest(), "{gated}");
        assert!(load_learned(&store, &id(gated)).unwrap().gate.is_some());
        assert!(!store.manifest(&id(like)).unwrap().lineage.extra.contains_key("gate"));
    }
    let weights = &store.manifest(&id("mixture")).unwrap().lineage.extra["weights"];
    let weights: Vec<f64> = serde_json::from_str(weights).unwrap();
    assert!(weights.len() == 2 && (weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{weights:?}");
}

#[test]
fn a_run_with_gates_goes_on_where_it_ended_on_any_number_of_workers() {
    let log = write_log();
    goes_on_where_it_ended(&gated(log.path()), &[1, 2, 3]);
}
