//! The real program, command by command.

use crate::desk::Desk;
use crate::world::experiment_text;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use perennial::data::scores::Scores;
use perennial::eval::Results;
use perennial::world::{Marketplace, MarketplaceConfig, Users};
use serde_json::Value;
use std::collections::BTreeMap;

/// Few users, so that most come several times in a period. Six periods, of which the first two are for pre-training.
fn marketplace(rows: u32) -> Marketplace {
    let users = Users { count: 40, ..Users::default() };
    Marketplace::new(MarketplaceConfig { periods: 6, rows, users, ..MarketplaceConfig::default() }, 1).unwrap()
}

/// A desk with a log and an experiment on it, `small.toml`.
fn desk() -> Desk {
    let desk = Desk::new();
    marketplace(300).write(&desk.path("")).unwrap();
    desk.write("small.toml", experiment_text(&desk.path("")));
    desk
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in: {text}"))
}

#[test]
fn every_command_explains_itself() {
    let desk = Desk::new();
    let all = desk.done("--help").out;
    let listed = all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    for name in ["demo", "import", "run", "report", "compare", "score", "inspect", "versions", "schema"] {
        assert!(commands.contains(&name), "{name} is not in: {all}");
    }
    for name in commands {
        let said = desk.done(&format!("help {name}"));
        assert!(said.out.contains(&format!("Usage: perennial {name}")), "{}", said.out);
    }
    assert_eq!(desk.call("no-such-command").code, 2);
    assert_eq!(desk.call("run x.toml --quiet --json").code, 2);
}

#[test]
fn shells_complete_every_command() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = desk.done(&format!("completions {shell}")).out;
        assert!(["compare", "versions", "max-bad"].iter().all(|word| script.contains(word)), "{shell}: {script}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let desk = desk();
    for line in [
        "run gone.toml",
        "import --schema gone.toml a.csv --out gone",
        "import --dataset movielens gone --out out",
        "schema infer gone.csv",
        "report gone",
        "compare gone gone",
        "inspect gone",
        "versions gone",
        "score gone incremental/1 gone.csv --out gone.parquet",
    ] {
        desk.refused(line, &["gone"]);
    }
    let said = desk.call("--json report gone");
    assert_eq!(said.code, 1);
    assert!(json(&said.err)["error"][0].is_string(), "{}", said.err);
}

#[test]
fn the_demo_runs_end_to_end_and_again() {
    let desk = Desk::new();
    let said = desk.done("demo --small --out demo");
    for word in ["incremental", "popularity", "retrain", "AUC"] {
        assert!(said.out.contains(word), "no {word} in: {}", said.out);
    }
    let results = desk.results("demo");
    let page = std::fs::read_to_string(desk.path("demo/report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("incremental"));
    assert!(std::fs::read(desk.path("demo/results.parquet")).unwrap().starts_with(b"PAR1"));
    let again = desk.done("demo --small --out demo");
    assert!(again.err.contains(&results.digest().to_string()), "{}", again.err);
    assert_eq!(again.out, said.out);
}

#[test]
fn results_are_printed_for_people_and_for_programs() {
    let desk = desk();
    let plain = desk.done("run small.toml --out run");
    assert!(plain.err.contains("report: run/report.html") && plain.err.contains("digest: "), "{}", plain.err);
    let quiet = desk.done("run small.toml --out run --quiet");
    assert_eq!((quiet.out, quiet.err), (plain.out, String::new()));
    let printed = desk.done("run small.toml --out run --json");
    let results = desk.results("run");
    assert_eq!(Results::from_json(&printed.out).unwrap(), results);
    assert!(plain.err.contains(&results.digest().to_string()));

    let other = desk.done("--json run small.toml --out other");
    assert_eq!(Results::from_json(&other.out).unwrap().digest(), results.digest());
    let events: Vec<Value> = other.err.lines().map(json).collect();
    let count = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    // Two references, and three methods by two seeds, over four periods.
    assert_eq!(count("scored"), (2 + 3 * 2) * 4);
    // After each period but the last; and two seeds were pre-trained.
    assert_eq!(count("updated"), 3 * 2 * 3 + 2);
}

#[test]
fn a_report_is_written_again() {
    let desk = desk();
    let run = desk.done("run small.toml --out run");
    std::fs::remove_file(desk.path("run/report.html")).unwrap();
    assert_eq!(desk.done("report run").out, run.out);
    assert!(desk.path("run/report.html").is_file());
    desk.done("report run --html page.html --baseline popularity");
    assert!(std::fs::read_to_string(desk.path("page.html")).unwrap().contains("popularity"));
    assert_eq!(Results::from_json(&desk.done("report run --json").out).unwrap(), desk.results("run"));
    desk.refused("report run --baseline nobody", &["nobody"]);
}

#[test]
fn a_run_does_not_differ_from_itself() {
    let desk = desk();
    desk.done("run small.toml --out run");
    assert!(desk.done("compare run run").out.contains("incremental"));
    let lines = json(&desk.done("compare run run --json").out);
    let lines = lines.as_array().unwrap();
    assert!(lines.iter().any(|line| line["method"] == "incremental" && line["metric"] == "auc"), "{lines:?}");
    for line in lines {
        assert_eq!(line["before"], line["after"], "{line}");
        assert_eq!(line["difference"], 0.0, "{line}");
    }
}

#[test]
fn a_dry_run_estimates_and_does_not_run() {
    let desk = desk();
    assert!(desk.done("run small.toml --out run --dry-run").out.contains("examples to train on"));
    let estimate = json(&desk.done("run small.toml --out run --dry-run --json").out);
    assert_eq!((&estimate["rows"], &estimate["periods"], &estimate["jobs"]), (&1800.into(), &6.into(), &8.into()));
    // One epoch: 600 of pre-training, then three updates of 300 rows by `incremental` and of 600 by `batch-2`.
    let per_seed = 600 + 3 * 300 + 3 * 600;
    assert_eq!(estimate["trained_examples"], 2 * per_seed);
    assert!(estimate["seconds"].as_f64().unwrap() > 0.0);
    assert!(!desk.path("run/results.json").exists() && !desk.path("run/store").exists());
    desk.done("run small.toml --out run");
}

#[test]
fn versions_are_listed_shown_compared_checked_named_and_collected() {
    let desk = desk();
    desk.write("all.toml", experiment_text(&desk.path("")) + "[keep]\nversions = \"all\"\n");
    desk.done("run all.toml --out run");
    let ids = |text: &str| -> Vec<String> {
        let all = json(text);
        all.as_array().unwrap().iter().map(|entry| entry["version"]["id"].as_str().unwrap().to_owned()).collect()
    };
    let list = ids(&desk.done("versions run --json").out);
    // Three updates of three methods and two seeds, and what each seed started from.
    assert_eq!(list.len(), 3 * 3 * 2 + 2, "{list:?}");
    assert!(desk.done("versions run list").out.contains("incremental/2/0004"));

    let shown = json(&desk.done("versions run show incremental/1/0003 --json").out);
    assert_eq!(shown["lineage"]["parent"], "incremental/1/0002");
    assert!(desk.done("versions run show incremental/1").out.contains("incremental/1/0004"), "the last of a group");
    desk.refused("versions run show incremental/1/0044", &["incremental/1/0044", "did you mean"]);

    let same = desk.done("versions run diff frozen/1/0002 frozen/1/0003 --json");
    // The weights are the same, the histories are not: they are content too.
    assert_eq!(json(&same.out)["same_content"], false);
    assert!(json(&same.out)["text"].as_str().unwrap().contains("histories"), "{}", same.out);
    assert!(!same.out.contains("table/0/values"), "{}", same.out);
    let other = desk.done("versions run diff incremental/1/0002 incremental/1/0003").out;
    assert!(other.contains("differs") && other.contains("table/0/values"), "{other}");

    assert_eq!(json(&desk.done("versions run verify --json").out)["troubles"], Value::Array(vec![]));
    desk.done("versions run verify incremental/1/0003");

    desk.done("versions run alias live incremental/1/0002");
    assert!(desk.done("inspect run live --verify").out.contains("version  incremental/1/0002"));
    desk.done("versions run alias live incremental/1/0003");
    assert!(desk.done("versions run show live").out.contains("incremental/1/0003"));

    let dry = desk.done("versions run collect --dry-run").out;
    assert_eq!(ids(&desk.done("versions run --json").out).len(), list.len(), "{dry}");
    let swept = desk.done("versions run collect").out;
    assert_eq!(dry.replace("would remove", "removed"), swept);
    let left = ids(&desk.done("versions run --json").out);
    // The last of each method and seed, what each seed started from, and what an alias names.
    assert_eq!(left.len(), 3 * 2 + 2 + 1, "{left:?}");
    assert!(left.contains(&"incremental/1/0003".to_owned()), "{left:?}");
    desk.done("versions run verify");
}

#[test]
fn a_damaged_version_is_found() {
    let desk = desk();
    desk.done("run small.toml --out run");
    let shown = json(&desk.done("versions run show incremental/1 --json").out);
    let digest = shown["objects"]["histories"]["digest"].as_str().unwrap();
    let path = walk(&desk.path("run/store")).into_iter().find(|path| path.ends_with(digest)).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let parts = ["damage was found", "histories", "incremental/1/0004"];
    let said = desk.call("versions run verify");
    assert!(said.code == 1 && parts.iter().all(|part| said.err.contains(part)), "{said:?}");
    desk.refused("inspect run incremental/1", &["histories", "incremental/1/0004"]);
}

/// What can be read is listed beside what cannot, which can be removed.
#[test]
fn a_version_without_a_manifest_hides_no_other() {
    let desk = desk();
    desk.done("run small.toml --out run");
    desk.write("run/store/versions/incremental/1/0004.manifest", "");
    let said = desk.call("versions run");
    let told = said.out.contains("pretrained/1") && !said.out.contains("incremental/1/0004");
    assert!(said.code == 1 && told, "{said:?}");
    for part in ["versions cannot be read", "0004.manifest is damaged", "versions RUN delete VERSION"] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    desk.done("versions run delete incremental/1/0004");
    desk.done("versions run");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_log_is_inspected() {
    let desk = desk();
    let text = desk.done("inspect log --verify").out;
    assert!(text.contains("rows     1,800") && text.contains("parts    6") && text.contains("clicked"), "{text}");
    let manifest = json(&desk.done("inspect log --json").out);
    assert_eq!((&manifest["rows"], &manifest["format"]), (&1800.into(), &1.into()));
    desk.refused("inspect log incremental/1", &["is a log and has no versions"]);
}

#[test]
fn schemas_are_listed_shown_and_inferred() {
    let desk = Desk::new();
    let list = json(&desk.done("schema list --json").out);
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    for name in ["movielens", "globo", "criteo", "avazu", "libfm", "open-bandit", "ader"] {
        assert!(names.contains(&name), "{names:?}");
        assert!(desk.done("schema list").out.contains(name));
    }
    desk.write("train.tsv", "");
    assert!(desk.done("schema show criteo .").out.contains("name = \"criteo\""));
    desk.refused("schema show nothing .", &["nothing", "movielens"]);

    desk.write("clicks.csv", "user_id,item_id,price,timestamp,click\n7,a,1.5,1506826829,1\n8,b,2.5,1506826830,0\n");
    let inferred = desk.done("schema infer clicks.csv").out;
    desk.write("clicks.toml", &inferred);
    let imported = desk.done("import --schema clicks.toml clicks.csv --out log");
    assert!(imported.out.contains("2 rows in 1 parts"), "{inferred}\n{}", imported.out);
}

/// The rows of a batch of the marketplace as CSV, with or without their labels.
fn csv(rows: &RecordBatch, labels: bool) -> String {
    let int = |name: &str, row| rows[name].as_primitive::<Int64Type>().value(row);
    let mut text =
        format!("event_id,time,user,item,category,price,device,slot{}\n", if labels { ",clicked" } else { "" });
    for row in 0..rows.num_rows() {
        let event = rows["event_id"].as_primitive::<UInt64Type>().value(row);
        let time = rows["time"].as_primitive::<TimestampMicrosecondType>().value(row);
        let (user, item) = (int("user", row), int("item", row));
        let category = rows["category"].as_list::<i32>().value(row);
        let category: Vec<String> = category.as_primitive::<Int64Type>().values().iter().map(i64::to_string).collect();
        let price = rows["price"].as_primitive::<Float64Type>().value(row);
        let (category, device, slot) = (category.join("|"), int("device", row), int("slot", row));
        text += &format!("{event},{time},{user},{item},{category},{price},{device},{slot}");
        if labels {
            text += &format!(",{}", rows["clicked"].as_primitive::<Float32Type>().value(row));
        }
        text.push('\n');
    }
    text
}

/// Served logit = offline logit. A version holds the histories of its last period's end; the run saw those of each
/// event's own time. They are the same for a user until the first click within the period has passed, and so must be
/// the logits, bit for bit.
#[test]
fn a_version_scores_rows_as_the_run_did() {
    let desk = desk();
    desk.write("kept.toml", experiment_text(&desk.path("")) + "[keep]\nversions = \"all\"\nscores = true\n");
    desk.done("run kept.toml --out run --workers 2");
    let rows = marketplace(300).period(5).unwrap().rows;
    desk.write("rows.csv", csv(&rows, false));
    desk.write("labelled.csv", csv(&rows, true));
    let said = json(&desk.done("score run incremental/1/0004 rows.csv --out s.parquet --workers 1 --json").out);
    assert_eq!((&said["rows"], &said["version"]), (&300.into(), &"incremental/1/0004".into()));
    let served = Scores::read(&desk.path("s.parquet")).unwrap();
    desk.done("score run incremental/1 labelled.csv --out labelled.parquet");
    assert_eq!(Scores::read(&desk.path("labelled.parquet")).unwrap(), served, "labels change nothing");

    let recorded = Scores::read(&desk.path("run/scores/incremental/1/0005.parquet")).unwrap();
    assert_eq!((served.len(), recorded.len()), (300, 300));
    let mut clicked = BTreeMap::new();
    let (mut same_history, mut differ) = (0, 0);
    for row in 0..rows.num_rows() {
        let event = rows["event_id"].as_primitive::<UInt64Type>().value(row);
        let user = rows["user"].as_primitive::<Int64Type>().value(row);
        let time = rows["time"].as_primitive::<TimestampMicrosecondType>().value(row);
        let (served, recorded) = (served.get(event).unwrap(), recorded.get(event).unwrap());
        assert!(served.is_finite());
        if clicked.get(&user).is_none_or(|&first| time <= first) {
            assert_eq!(served.to_bits(), recorded.to_bits(), "event {event} of user {user}");
            same_history += 1;
        } else {
            differ += usize::from(served != recorded);
        }
        if rows["clicked"].as_primitive::<Float32Type>().value(row) == 1.0 {
            clicked.entry(user).or_insert(time);
        }
    }
    assert!(same_history > 100 && differ > 50, "{same_history} of the same history, {differ} others differ");
}

#[test]
fn a_run_is_the_same_from_any_folder() {
    let desk = desk();
    std::fs::create_dir(desk.path("deep")).unwrap();
    desk.write("deep/small.toml", experiment_text(std::path::Path::new("..")));
    desk.done("run deep/small.toml --out run");
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_perennial"));
    command.current_dir(desk.path("deep")).args(["run", "small.toml", "--out", "../run"]).assert().success();
}

/// An interrupt ends a run with 130, while the log is prepared as well as later; the same command goes on from there
/// and ends as if nothing had been.
#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let desk = desk();
    // Slow enough to be caught in the middle.
    marketplace(3000).write(&desk.path("")).unwrap();
    desk.done("run small.toml --out whole");
    for (out, told) in [("early", ["\"preparing\"", "log"]), ("late", ["\"updated\"", "\"frozen\""])] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
        command.current_dir(desk.path("")).args(["run", "small.toml", "--out", out, "--json", "--workers", "1"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| told.iter().all(|part| line.contains(part))));
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let rest: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{out}: {rest:?}");
        assert!(rest.last().unwrap().contains("run the same command again"), "{out}: {rest:?}");
        assert!(!desk.path(out).join("results.json").exists());
        desk.done(&format!("run small.toml --out {out}"));
        assert_eq!(desk.results(out).digest(), desk.results("whole").digest());
    }
}

#[test]
fn every_example_is_an_experiment() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            names.push(perennial::experiment::Experiment::read(&path).unwrap().name);
        }
    }
    assert!(names.iter().any(|name| name == "ml-100k") && names.len() >= 3, "{names:?}");
}

#[test]
fn every_example_of_a_search_can_be_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/tune");
    for name in ["ml-1m.toml", "frappe.toml"] {
        let search = perennial::tune::TuneConfig::read(&folder.join(name)).unwrap();
        assert!(search.base.is_file(), "{}", search.base.display());
    }
}

#[test]
fn every_example_of_a_split_can_be_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/split");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if path.to_str().unwrap().ends_with("schema.toml") {
            perennial::core::Schema::parse(&text).unwrap();
            continue;
        }
        let experiment = perennial::split::SplitExperiment::read(&path).unwrap();
        assert!(experiment.schema.exists(), "{} names no schema", path.display());
        names.push(experiment.name);
    }
    assert!(["frappe", "frappe-tuned"].iter().all(|name| names.iter().any(|other| other == name)), "{names:?}");
}

/// Scores never take the place of the rows that they are of, whatever the file is called.
#[test]
fn rows_are_not_overwritten_by_their_scores() {
    let desk = desk();
    desk.done("run small.toml --out run --quiet");
    desk.write("rows.csv", "user,item,time\n1,2,3\n");
    std::fs::create_dir(desk.path("deep")).unwrap();
    for out in ["rows.csv", "deep/../rows.csv"] {
        desk.refused(&format!("score run incremental/1 rows.csv --out {out}"), &["is where the rows are"]);
    }
    assert_eq!(std::fs::read_to_string(desk.path("rows.csv")).unwrap(), "user,item,time\n1,2,3\n");
}

/// A record that was changed by hand, or half of it, is not believed.
#[test]
fn a_record_that_was_tampered_with_is_named() {
    let desk = desk();
    desk.done("run small.toml --out run --quiet");
    let path = desk.path("run/ledger/incremental/1/scored-0003.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for other in [text.replacen("\"auc\": 0.", "\"auc\": 1.", 1), text[..text.len() / 2].to_owned(), String::new()] {
        assert_ne!(other, text);
        std::fs::write(&path, other).unwrap();
        desk.refused("run small.toml --out run", &["scored-0003.json is damaged", "delete it and run again"]);
    }
    std::fs::remove_file(&path).unwrap();
    desk.done("run small.toml --out run --quiet");
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_could_not_be_printed_is_a_failure() {
    let desk = desk();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_perennial"));
    command.current_dir(desk.path("")).args(["schema", "list"]).stdout(full).stderr(std::process::Stdio::piped());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
}
