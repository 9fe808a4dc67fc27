//! `perennial train`: one static split, stopped, killed, extended and misread.

use crate::desk::{Desk, killed_after};
use perennial::core::Stream;
use perennial::disk::Disk;
use perennial::eval::SplitResults;
use perennial::split::{SplitEvent, SplitExperiment, SplitOptions, SplitWatch, train};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SCHEMA: &str = r#"
    name = "clicks"
    field = [
      { name = "when", kind = "timestamp", unit = "s", column = "@row" },
      { name = "user", kind = "id", role = "user", id = "int" },
      { name = "item", kind = "id", role = "item", id = "int" },
      { name = "clicked", kind = "label" },
    ]
"#;

const EXPERIMENT: &str = r#"
    name = "toy"
    schema = "clicks.schema"
    seeds = [1, 2]
    report_epochs = [2]
    [train]
    files = ["clicks.csv"]
    rows = { first = 900 }
    [valid]
    files = ["clicks.csv"]
    rows = { last = 300 }
    [test]
    files = ["test.csv"]
    [training]
    batch_size = 64
    epochs = 4
    optimiser = { rule = "adam", learning_rate = 0.01 }
    rows = "dense_parity"
    clip_norm = 10.0
    [schedule]
    stop_after = 2
    plateau = { patience = 1, factor = 0.5 }
    [[method]]
    name = "fm"
    model = { kind = "fm", fields = { dim = 4 } }
    [[method]]
    name = "reloop"
    objective = { bce = 0.8, self_correction = 0.2 }
    previous = { out_of_fold = { folds = 2 } }
    model = { kind = "dnn", fields = { dim = 4 }, mlp = { hidden = [8] } }
"#;

/// Users like items of their own parity, and one click in five is by mistake.
fn clicks(seed: u64, rows: usize) -> String {
    let mut stream = Stream::new(&[seed]);
    let mut text = "user,item,clicked\n".to_owned();
    for _ in 0..rows {
        let (user, item) = (stream.below(20), stream.below(30));
        let clicked = (user + item).is_multiple_of(2) != (stream.below(5) == 0);
        text += &format!("{user},{item},{}\n", u8::from(clicked));
    }
    text
}

/// A split, and an experiment on it.
pub(crate) fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("clicks.schema", SCHEMA);
    desk.write("clicks.csv", clicks(1, 1200));
    desk.write("test.csv", clicks(2, 400));
    desk.write("toy.toml", EXPERIMENT);
    desk
}

fn results(desk: &Desk, out: &str) -> SplitResults {
    SplitResults::from_json(&std::fs::read_to_string(desk.path(out).join("results.json")).unwrap()).unwrap()
}

#[test]
fn a_split_is_trained_on_compared_and_found_finished() {
    let desk = desk();
    let said = desk.done("train toy.toml --workers 1 --each-seed");
    for part in ["fm", "reloop", "epoch 2", "the best", "the last", "out of 2 folds", "900 to train", "2 seeds"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let first = results(&desk, "runs/toy");
    // 20 users and 30 items, a row for unknown ids each: vectors of 4, weights of 1, a bias.
    assert_eq!(first.methods[0].seeds[0].parameters, (21 + 31) * (4 + 1) + 1);
    assert_eq!((first.rows.train, first.rows.valid, first.rows.test), (900, 300, 400));
    let auc = first.methods[0].seeds[0].epochs.last().unwrap().test.get("auc").unwrap();
    assert!(auc > 0.7, "{auc}");
    assert_eq!(first.methods[0].previous, None);
    assert_eq!(first.methods[1].previous.as_deref(), Some("out of 2 folds"));

    let bytes = std::fs::read(desk.path("runs/toy/results.json")).unwrap();
    let json = desk.done("train toy.toml --workers 2 --json");
    assert_eq!(SplitResults::from_json(&json.out).unwrap(), first);
    assert!(json.err.contains("\"runs\":0"), "nothing is run again: {}", json.err);
    assert_eq!(std::fs::read(desk.path("runs/toy/results.json")).unwrap(), bytes);
    desk.done("train toy.toml --workers 2 --quiet --out other");
    assert_eq!(results(&desk, "other").digest(), first.digest(), "two workers");
}

/// Scores that are wrong about every label correct nothing: the loss is the rest of it, bit for bit. Others do.
#[test]
fn logged_scores_come_from_the_files() {
    let desk = desk();
    let shown = "{ name = \"shown\", kind = \"score\", optional = true },\n    ]";
    desk.write("clicks.schema", SCHEMA.replace("    ]", &format!("      {shown}")));
    let logged = EXPERIMENT.replace("{ out_of_fold = { folds = 2 } }", "\"logged\"");
    desk.write("toy.toml", &logged);
    let reloop = "objective = { bce = 0.8, self_correction = 0.2 }\n    previous = \"logged\"";
    desk.write("plain.toml", logged.replace(reloop, "objective = { bce = 0.8 }"));
    let trained = |experiment: &str, score: fn(bool) -> &'static str| {
        let with_score = |(row, line): (usize, &str)| {
            let last = if row == 0 { "shown" } else { score(line.ends_with('1')) };
            format!("{line},{last}\n")
        };
        desk.write("clicks.csv", clicks(1, 1200).lines().enumerate().map(with_score).collect::<String>());
        desk.done(&format!("train {experiment} --quiet --out out"));
        let found = results(&desk, "out");
        std::fs::remove_dir_all(desk.path("out")).unwrap();
        (found.methods[1].previous.clone(), found.methods[1].seeds[0].digest)
    };
    let wrong = trained("toy.toml", |clicked| if clicked { "0" } else { "1" });
    let right = trained("toy.toml", |clicked| if clicked { "0.9" } else { "0.1" });
    let plain = trained("plain.toml", |_| "0.5");
    assert_eq!(wrong.0.as_deref(), Some("logged"));
    assert_eq!(wrong.1, plain.1);
    assert_ne!(right.1, plain.1);

    desk.write("clicks.csv", clicks(1, 1200));
    desk.refused("train toy.toml --out none", &["method \"reloop\"", "no row to train on has a \"shown\""]);
    desk.write("clicks.schema", SCHEMA);
    desk.refused("train toy.toml --out none", &["has no field of kind \"score\"", "clicks.schema"]);
}

/// Groups that only one model has are said beside it.
#[test]
fn a_method_may_have_groups_of_its_own() {
    let desk = desk();
    let groups = "name = \"fm\"\n    groups.linear = { rule = \"adagrad\", learning_rate = 0.05 }";
    let own = EXPERIMENT.replace("name = \"fm\"", groups);
    desk.write("own.toml", &own);
    desk.done("train toy.toml --quiet --out shared");
    desk.done("train own.toml --quiet --out own");
    let (shared, own_results) = (results(&desk, "shared"), results(&desk, "own"));
    assert_ne!(shared.methods[0].seeds[0].digest, own_results.methods[0].seeds[0].digest);
    assert_eq!(shared.methods[1].seeds[0].digest, own_results.methods[1].seeds[0].digest);
    desk.write("own.toml", own.replace("groups.linear", "groups.deep"));
    desk.refused("train own.toml --quiet --out refused", &["training.groups.deep", "the model has no such parameters"]);
}

/// Asks to stop after so many runs.
struct StopAfter(AtomicUsize);

impl SplitWatch for StopAfter {
    fn tell(&self, event: SplitEvent<'_>) {
        if let SplitEvent::Finished { .. } = event {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn stop(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn a_stopped_and_a_grown_comparison_are_as_one_made_at_once() {
    let desk = desk();
    let whole = SplitExperiment::read(&desk.path("toy.toml")).unwrap();
    let call = |experiment: &SplitExperiment, out: &str, runs| {
        let watch = StopAfter(AtomicUsize::new(runs));
        let options = SplitOptions {
            out: desk.path(out),
            data: None,
            hold_test_back: false,
            workers: 1,
            disk: Disk::default(),
            watch: &watch,
        };
        train(experiment, &options)
    };
    let expected = call(&whole, "whole", usize::MAX).unwrap().digest();
    for runs in 1..=3 {
        assert!(call(&whole, "stopped", 1).is_err(), "after {runs}");
        assert!(!desk.path("stopped/results.json").exists());
    }
    assert_eq!(call(&whole, "stopped", usize::MAX).unwrap().digest(), expected);

    let mut part = whole.clone();
    part.seeds.truncate(1);
    part.method.remove(0);
    assert_ne!(call(&part, "grown", usize::MAX).unwrap().digest(), expected);
    assert_eq!(call(&whole, "grown", usize::MAX).unwrap().digest(), expected);
}

#[test]
fn a_comparison_killed_at_random_moments_ends_with_the_same_results() {
    let desk = desk();
    let clock = Instant::now();
    desk.done("train toy.toml --workers 1 --quiet --out whole");
    let (whole, expected) = (clock.elapsed().as_secs_f64(), results(&desk, "whole").digest());
    let mut stream = Stream::new(&[23]);
    for attempt in 0..3 {
        let out = format!("killed-{attempt}");
        loop {
            let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
            command.current_dir(desk.path("")).args(["train", "toy.toml", "--workers", "1", "--quiet", "--out", &out]);
            let child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
            if !killed_after(child, Duration::from_secs_f64(whole * stream.unit_f64())) {
                break;
            }
        }
        assert_eq!(results(&desk, &out).digest(), expected, "attempt {attempt}");
    }
}

#[test]
fn mistakes_are_named() {
    let desk = desk();
    let refused = |from: &str, to: &str, parts: &[&str]| {
        assert!(EXPERIMENT.contains(from), "{from}");
        desk.write("wrong.toml", EXPERIMENT.replacen(from, to, 1));
        desk.refused("train wrong.toml --workers 1 --out wrong", parts);
    };
    refused("stop_after", "stop_aftr", &["wrong.toml", "did you mean \"stop_after\""]);
    refused("first = 900", "first = 901", &["\"train\" and \"valid\" have 1 rows in common"]);
    refused("last = 300", "last = 1201", &["\"valid\"", "1201 rows are wanted, but the files hold 1200"]);
    refused("test.csv", "nope.csv", &["\"test\"", "nope.csv"]);
    refused("clicks.schema", "nope.schema", &["nope.schema"]);
    refused("{ dim = 4 } }", "{ dim = 4, inputs = [\"itm\"] } }", &["method \"fm\"", "itm"]);
}

#[test]
fn runs_of_other_settings_or_other_data_are_refused() {
    let desk = desk();
    desk.done("train toy.toml --workers 1 --quiet");
    desk.write("other.toml", EXPERIMENT.replace("epochs = 4", "epochs = 5"));
    desk.refused("train other.toml --workers 1", &["other settings or other data", "runs/fm/1.json"]);
    desk.write("test.csv", clicks(3, 400));
    desk.refused("train toy.toml --workers 1", &["other settings or other data"]);
}

/// Labels of -1 and 1, ids by position, rows in the order of their file: the same as CSV, bit for bit.
#[test]
fn libfm_files_are_read() {
    let desk = desk();
    let libfm = |text: &str| {
        let lines = text.lines().skip(1).map(|line| {
            let cells: Vec<u32> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
            format!("{} {}:1 {}:1\n", if cells[2] == 1 { "1" } else { "-1" }, cells[0], cells[1])
        });
        lines.collect::<String>()
    };
    desk.write("clicks.libfm", libfm(&clicks(1, 1200)));
    desk.write("test.libfm", libfm(&clicks(2, 400)));
    desk.write(
        "libfm.schema",
        SCHEMA
            .replace("name = \"user\"", "column = \"f0\", name = \"user\"")
            .replace("name = \"item\"", "column = \"f1\", name = \"item\"")
            .replace("name = \"clicked\"", "column = \"label\", at_least = 0.5, name = \"clicked\""),
    );
    desk.write("libfm.toml", EXPERIMENT.replace(".csv", ".libfm").replace("clicks.schema", "libfm.schema"));
    desk.done("train toy.toml --workers 1 --quiet --out csv");
    desk.done("train libfm.toml --workers 1 --quiet --out libfm");
    assert_eq!(results(&desk, "libfm").digest(), results(&desk, "csv").digest());
}

/// What is scored with the version that a run kept has the metrics that the run reports of its best epoch.
#[test]
fn the_model_that_is_kept_scores_as_it_was_measured() {
    let desk = desk();
    desk.done("train toy.toml --quiet");
    let said = desk.done("versions runs/toy");
    assert!(said.out.contains("fm/1/") && said.out.contains("reloop/2/"), "{}", said.out);
    desk.done("score runs/toy fm/2 test.csv --out scores.parquet");
    let scores = perennial::data::scores::Scores::read(&desk.path("scores.parquet")).unwrap();
    assert_eq!(scores.len(), 400);

    // `score` gives rows of a file ids of their own; the rows of a log have theirs.
    desk.done("import --schema clicks.schema test.csv --out log");
    desk.done("score runs/toy fm/2 log --out log.parquet");
    let scores = perennial::data::scores::Scores::read(&desk.path("log.parquet")).unwrap();
    let (mut logits, mut labels) = (Vec::new(), Vec::new());
    for batch in perennial::data::log::Log::open(&desk.path("log")).unwrap().batches() {
        use arrow::array::AsArray;
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let events = column("event_id").as_primitive::<arrow::datatypes::UInt64Type>();
        let clicked = column("clicked").as_primitive::<arrow::datatypes::Float32Type>();
        logits.extend(events.values().iter().map(|&event| scores.get(event).unwrap()));
        labels.extend_from_slice(clicked.values());
    }
    let measured = perennial::eval::evaluate(&logits, &labels, &vec![1.0; 400], &[0; 400]).unwrap();
    let results = results(&desk, "runs/toy");
    let run = &results.methods[0].seeds[1];
    let reported = &run.epochs[run.best as usize - 1].test;
    assert_eq!(measured.get("auc"), reported.get("auc"));
    assert_eq!(measured.get("log_loss"), reported.get("log_loss"));
}
