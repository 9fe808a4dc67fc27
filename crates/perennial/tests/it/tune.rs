//! `perennial tune`: what is tried, what it is ranked by, and what is left of it.

use crate::desk::{Desk, killed_after};
use crate::train::desk as split_desk;
use crate::world::{experiment_text, write_log};
use perennial::core::Stream;
use perennial::eval::{Results, SplitResults, TuneResults};
use perennial::experiment::Experiment;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SPLIT: &str = "name = \"rates\"\nbase = \"toy.toml\"\nmethod = \"fm\"\n\
                     [space]\n\"training.optimiser.learning_rate\" = [1e-4, 0.05]\n\"method.model.fields.dim\" = [2, 4]\n";

fn tuned(json: &str) -> TuneResults {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_split_is_searched_without_its_test_files() {
    let desk = split_desk();
    desk.write("tune.toml", SPLIT);
    let test = std::fs::read(desk.path("test.csv")).unwrap();
    std::fs::remove_file(desk.path("test.csv")).unwrap();
    let said = desk.done("tune tune.toml --workers 1");
    for part in ["rank", "learning_rate", "dim", "AUC", "2 seeds"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let first = tuned(&std::fs::read_to_string(desk.path("runs/rates/tune.json")).unwrap());
    assert_eq!((first.trials.len(), first.command.as_str()), (4, "train"));
    assert_eq!(first.trials[0].settings["training.optimiser.learning_rate"], "0.05", "1e-4 learns nothing here");

    for entry in std::fs::read_dir(desk.path("runs/rates/trials")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path().join("results.json")).unwrap();
        let results = SplitResults::from_json(&text).unwrap();
        assert_eq!(results.rows.test, 0);
        let epochs = results.methods[0].seeds.iter().flat_map(|run| &run.epochs);
        assert!(epochs.into_iter().all(|epoch| epoch.test.values.is_empty()), "no trial has a test metric");
    }

    // Nothing is trained again, whoever asks.
    let again = desk.done("tune tune.toml --workers 2 --json");
    assert_eq!(tuned(&again.out), first);

    // The best is what `train` makes of it: the same validation metrics, now with test metrics.
    desk.write("test.csv", test);
    desk.done("train runs/rates/best.toml --out best");
    let best = std::fs::read_to_string(desk.path("best/results.json")).unwrap();
    let best = SplitResults::from_json(&best).unwrap();
    let runs = &best.methods[0].seeds;
    let of_best = |run: &perennial::eval::SplitRun| run.epochs[run.best as usize - 1].valid.get("auc").unwrap();
    assert_eq!(runs.iter().map(of_best).collect::<Vec<_>>(), first.trials[0].values);
}

#[test]
fn a_continual_experiment_is_searched_on_periods_that_come_first() {
    let (desk, log) = (Desk::new(), write_log());
    desk.write("small.toml", experiment_text(log.path()));
    desk.write(
        "tune.toml",
        "name = \"rates\"\nbase = \"small.toml\"\nmethod = \"incremental\"\nseeds = [3]\n\
         search = { random = { trials = 3, seed = 1 } }\nmetric = \"log_loss\"\n\
         selection = { periods = [3, 3] }\n\
         [space]\n\"training.optimiser.learning_rate\" = { log_uniform = [1e-4, 1e-1] }\n\
         \"method.strategy\" = [\"incremental\", { batch = { window = 2 } }]\n",
    );
    desk.done("tune tune.toml --workers 2 --quiet");
    let results = tuned(&std::fs::read_to_string(desk.path("runs/rates/tune.json")).unwrap());
    assert_eq!(results.trials.len(), 3);
    let values: Vec<f64> = results.trials.iter().map(|trial| trial.values[0]).collect();
    assert!(values.is_sorted(), "a smaller LogLoss is better: {values:?}");
    let mut trials = 0;
    for entry in std::fs::read_dir(desk.path("runs/rates/trials")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path().join("results.json")).unwrap();
        let results = Results::from_json(&text).unwrap();
        assert_eq!((results.periods.len(), results.span.clone()), (2, 3..4), "later periods are not looked at");
        trials += 1;
    }
    assert_eq!(trials, 3);
    let best = Experiment::read(&desk.path("runs/rates/best.toml")).unwrap();
    assert_eq!((best.protocol.periods, best.protocol.average_last), (None, Some(2)), "the experiment is whole again");
    desk.done("run runs/rates/best.toml --out best --quiet");
}

#[test]
fn periods_that_cannot_be_selected_on_are_named() {
    let (desk, log) = (Desk::new(), write_log());
    desk.write("small.toml", experiment_text(log.path()));
    let refused = |selection: &str, key: &str, parts: &[&str]| {
        let text = format!("base = \"small.toml\"\nmethod = \"incremental\"\n{selection}\n[space]\n{key} = [1]\n");
        desk.write("tune.toml", text);
        desk.refused("tune tune.toml", parts);
    };
    let epochs = "\"training.epochs\"";
    refused("", epochs, &["say which periods trials are ranked on", "periods = [20, 22]"]);
    refused("selection = { periods = [1, 3] }", epochs, &["period 1 is trained on", "the first that is scored is 2"]);
    refused("selection = { periods = [3, 6] }", epochs, &["periods 0 to 5, and not 6"]);
    refused("selection = { periods = [3, 3] }", "\"protocol.pretrain\"", &["and not in \"protocol\""]);
    refused("selection = { periods = [3, 3] }", "\"data.data_seed\"", &["data.data_seed decides"]);
    refused("selection = { periods = [3, 3] }", "\"data.histroy\"", &["did you mean \"history\"?"]);
}

/// Period 5 is among those that the experiment is judged by, and so is period 4.
#[test]
fn selection_on_what_is_judged_is_pointed_out() {
    let (desk, log) = (Desk::new(), write_log());
    desk.write("small.toml", experiment_text(log.path()));
    let text = |last: u32| {
        format!(
            "base = \"small.toml\"\nmethod = \"frozen\"\nseeds = [1]\nselection = {{ periods = [{last}, {last}] }}\n\
             [space]\n\"training.epochs\" = [1]\n"
        )
    };
    for (last, note) in [(4, "average_last = 1 leaves them out"), (5, "nothing is left")] {
        desk.write("judged.toml", text(last));
        let said = desk.done("tune judged.toml --workers 1");
        assert!(said.err.contains(note), "{}", said.err);
        assert!(desk.path("runs/tune-judged/best.toml").exists(), "the name is that of the file");
    }
}

/// A learning rate at which the first step leads out of all numbers.
#[test]
fn a_trial_that_diverges_is_ranked_last_and_not_tried_again() {
    let desk = split_desk();
    let text = SPLIT.replace("[1e-4, 0.05]", "[1e30, 0.05]").replace("[2, 4]", "[2]");
    desk.write("tune.toml", &text);
    let said = desk.done("tune tune.toml --workers 1");
    assert!(said.out.contains("diverged"), "{}", said.out);
    let first = tuned(&std::fs::read_to_string(desk.path("runs/rates/tune.json")).unwrap());
    assert_eq!(first.trials.iter().map(|trial| trial.diverged).collect::<Vec<_>>(), [false, true]);
    let again = desk.done("tune tune.toml --workers 1 --json");
    assert_eq!(tuned(&again.out), first);
    assert!(!again.err.contains("\"event\":\"epoch\"") && !again.err.contains("note\":\"method"), "{}", again.err);

    desk.write("all.toml", text.replace("1e30, 0.05", "1e30, 1e29").replace("rates", "all"));
    desk.refused("tune all.toml --workers 1 --quiet", &["every trial diverged"]);
    assert!(!desk.path("runs/all/best.toml").exists());
}

/// Killed at random moments and run again, with as many threads as chance will have: the same as never killed.
fn check_kills(desk: &Desk, search: &str, seed: u64) {
    let clock = Instant::now();
    desk.done(&format!("tune {search} --workers 1 --quiet --out whole"));
    let whole = clock.elapsed().as_secs_f64();
    let left = |out: &str| {
        let read = |name: &str| std::fs::read_to_string(desk.path(out).join(name)).unwrap();
        (tuned(&read("tune.json")).digest(), read("best.toml"))
    };
    let expected = left("whole");
    let mut stream = Stream::new(&[seed]);
    let mut killed = 0;
    for attempt in 0..3 {
        let out = format!("killed-{attempt}");
        loop {
            let workers = (1 + stream.below(2)).to_string();
            let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
            command.current_dir(desk.path("")).args(["tune", search, "--quiet", "--workers", &workers, "--out", &out]);
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            if !killed_after(child, Duration::from_secs_f64(whole * stream.unit_f64())) {
                break;
            }
            killed += 1;
        }
        assert_eq!(left(&out), expected, "attempt {attempt} after {killed} kills");
    }
    assert!(killed > 0, "a search that nobody killed proves nothing");
}

#[test]
fn a_killed_search_on_a_split_ends_as_one_made_at_once() {
    let desk = split_desk();
    desk.write("tune.toml", SPLIT.replace("[1e-4, 0.05]", "[1e-4, 0.05, 1e30]").replace("[2, 4]", "[2]"));
    check_kills(&desk, "tune.toml", 31);
}

#[test]
fn a_killed_search_on_a_continual_experiment_ends_as_one_made_at_once() {
    let (desk, log) = (Desk::new(), write_log());
    desk.write("small.toml", experiment_text(log.path()));
    desk.write(
        "tune.toml",
        "base = \"small.toml\"\nmethod = \"batch-2\"\nselection = { periods = [2, 3] }\n\
         [space]\n\"method.strategy.batch.window\" = { choice = [1, 2] }\n\"training.epochs\" = [1, 2]\n",
    );
    check_kills(&desk, "tune.toml", 37);
}

#[test]
fn mistakes_are_named_before_anything_is_trained() {
    let desk = split_desk();
    let refused = |text: &str, parts: &[&str]| {
        desk.write("tune.toml", text);
        desk.refused("tune tune.toml", parts);
        assert!(!Path::new(&desk.path("runs")).exists());
    };
    let space = |key: &str| format!("name = \"t\"\nbase = \"toy.toml\"\nmethod = \"fm\"\n[space]\n\"{key}\" = [1]\n");
    refused(&space("training.optimiser.learning_rat"), &["learning_rat", "did you mean \"learning_rate\"?"]);
    refused(&space("trainig.batch_size"), &["space.\"trainig.batch_size\"", "did you mean \"training\"?"]);
    refused(&space("method.modl.fields.dim"), &["did you mean \"model\"?"]);
    refused(&space("method.model.feilds.dim"), &["did you mean \"fields\"?"]);
    refused(&space("schedule.stop_aftr"), &["did you mean \"stop_after\"?"]);
    refused(&space("schedule.stop_after.x"), &["\"stop_after\" is a value"]);
    refused(&space("training.batchsize"), &["batchsize", "did you mean \"batch_size\"?"]);
    refused(&space("name.x"), &["with name.x = 1"]);
    for key in ["valid.files", "test.files", "seeds"] {
        refused(&space(key), &["trials may differ in training, schedule, numeric, method"]);
    }
    let watch = space("schedule.watch").replace("[1]", "[\"log_loss\"]");
    refused(&watch, &["schedule.watch decides what trials are compared by"]);
    let whole = space("schedule").replace("[1]", "[{ watch = \"log_loss\" }]");
    refused(&whole, &["schedule.watch decides what trials are compared by"]);
    refused("name = \"t\"\nbase = \"toy.toml\"\n[space]\na = [1]\n", &["choose one: fm, reloop"]);
    refused("name = \"t\"\nbase = \"toy.toml\"\nmethod = \"x\"\n[space]\na = [1]\n", &["no \"x\"", "fm, reloop"]);
    let selection = "name = \"t\"\nbase = \"toy.toml\"\nmethod = \"fm\"\n\
                     selection = { periods = [3, 3] }\n[space]\na = [1]\n";
    refused(selection, &["validation examples"]);
}
