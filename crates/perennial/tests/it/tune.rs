//! `perennial tune`: what is tried, what it is ranked by, and what is left of it.

use crate::desk::Desk;
use crate::train::desk as split_desk;
use crate::world::{experiment_text, write_log};
use perennial::eval::{Results, SplitResults, TuneResults};
use perennial::experiment::Experiment;
use std::path::Path;

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
         selection = { periods = 2, average_last = 1 }\n\
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
fn mistakes_are_named_before_anything_is_trained() {
    let desk = split_desk();
    let refused = |text: &str, parts: &[&str]| {
        desk.write("tune.toml", text);
        desk.refused("tune tune.toml", parts);
        assert!(!Path::new(&desk.path("runs")).exists());
    };
    let space = |key: &str| format!("name = \"t\"\nbase = \"toy.toml\"\nmethod = \"fm\"\n[space]\n\"{key}\" = [1]\n");
    refused(&space("training.optimiser.learning_rat"), &["learning_rat"]);
    refused(&space("training.batchsize"), &["batchsize", "did you mean \"batch_size\"?"]);
    refused(&space("name.x"), &["with name.x = 1"]);
    refused("name = \"t\"\nbase = \"toy.toml\"\n[space]\na = [1]\n", &["choose one: fm, reloop"]);
    refused("name = \"t\"\nbase = \"toy.toml\"\nmethod = \"x\"\n[space]\na = [1]\n", &["no \"x\"", "fm, reloop"]);
    let selection = "name = \"t\"\nbase = \"toy.toml\"\nmethod = \"fm\"\n\
                     selection = { periods = 2, average_last = 1 }\n[space]\na = [1]\n";
    refused(selection, &["validation examples"]);
}
