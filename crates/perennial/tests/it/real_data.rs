//! Public logs, where they are at hand: `PERENNIAL_DATA` names the folder that holds them.

use crate::desk::Desk;
use perennial::experiment::Experiment;
use std::path::{Path, PathBuf};

fn data() -> Option<PathBuf> {
    let Some(root) = std::env::var_os("PERENNIAL_DATA") else {
        println!("skipped: PERENNIAL_DATA is not set");
        return None;
    };
    assert!(Path::new(&root).is_dir(), "PERENNIAL_DATA is set but {} is no folder", Path::new(&root).display());
    Some(root.into())
}

/// Data set, where it lies, further arguments, rows.
const LOGS: [(&str, &str, &str, u64); 8] = [
    ("movielens", "ml-100k", "", 100_000),                         // its README
    ("movielens", "ml-1m-half", "--positive-at-least 4", 487_650), // `zcat ratings.dat.gz | wc -l`
    ("criteo", "criteo-sample-10k", "", 8_000),                    // `wc -l train.tsv`
    ("avazu", "avazu-sample-10k", "", 8_999),                      // `wc -l train.csv`, less the header
    ("libfm", "frappe-libfm-partial", "--fields 10", 86_582),      // `zcat *.libfm.gz | wc -l`
    ("open-bandit", "open-bandit-sample/random-men-men.csv.gz", "", 10_000), // `zcat | wc -l`, less the header
    ("ader", "ader-diginetica", "", 993_483),                      // `cat period_*.txt | wc -l`
    ("globo", "globo-clicks-w1", "", 1_539_265),                   // lines of the 192 files without their headers
];

#[test]
fn every_data_set_is_imported_whole() {
    let Some(data) = data() else { return };
    let desk = Desk::new();
    for (dataset, place, more, rows) in LOGS {
        let source = data.join(place);
        desk.done(&format!("import --dataset {dataset} {} --out log --replace {more}", source.display()));
        let manifest: serde_json::Value = serde_json::from_str(&desk.done("inspect log --verify --json").out).unwrap();
        assert_eq!(manifest["rows"], rows, "{place}");
    }
}

/// The shipped experiment on MovieLens-100K with one seed and two of its methods.
///
/// An independent implementation of the protocol in PyTorch gave, over the last 7 of 31 periods, an AUC of 0.622351 for
/// `popularity`, which nothing random enters, and of 0.694 with a standard deviation of 0.008 over seeds for
/// `incremental`.
#[test]
fn movielens_agrees_with_an_independent_implementation() {
    let Some(data) = data() else { return };
    let desk = Desk::new();
    desk.done(&format!("import --dataset movielens {} --out log", data.join("ml-100k").display()));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ml-100k.toml");
    let mut experiment = Experiment::read(&shipped).unwrap();
    experiment.log = "log".into();
    experiment.seeds = vec![1];
    experiment.method.retain(|method| ["frozen", "incremental"].contains(&method.name.as_str()));
    desk.write("ml-100k.toml", experiment.to_toml());
    desk.done("run ml-100k.toml --out run");
    let results = desk.results("run");
    assert_eq!(results.span, 24..31);
    let auc = |method: &str| {
        let periods = &results.method(method).unwrap().seeds[0].periods;
        let last = periods.iter().filter(|period| results.span.contains(&period.period));
        last.map(|period| period.metrics.get("auc").unwrap()).sum::<f64>() / 7.0
    };
    let (popularity, frozen, incremental) = (auc("popularity"), auc("frozen"), auc("incremental"));
    println!("popularity {popularity:.6}, frozen {frozen:.4}, incremental {incremental:.4}");
    assert!((popularity - 0.622351).abs() < 2e-4, "{popularity}");
    assert!((incremental - 0.694).abs() < 3.0 * 0.008, "{incremental}");
    assert!(incremental > frozen.max(popularity), "{incremental} {frozen} {popularity}");
}

/// Logs of advertising as they are handed out, ten thousand rows: many fields of ids, numbers with nulls, no user. The models
/// of the zoo take them as they come; so small a sample only shows that something is learned.
#[test]
fn samples_of_criteo_and_avazu_train_without_special_casing() {
    let Some(data) = data() else { return };
    let desk = Desk::new();
    for (dataset, place) in [("criteo", "criteo-sample-10k"), ("avazu", "avazu-sample-10k")] {
        desk.done(&format!("import --dataset {dataset} {} --out {dataset}", data.join(place).display()));
        for model in ["lr", "deepfm", "dcn"] {
            let tower = if model == "lr" { "" } else { ", fields = { dim = 4 }, mlp = { hidden = [16] }" };
            let text = format!(
                r#"
                name = "sample"
                log = "{dataset}"
                data = {{ slicing = {{ count = 4 }} }}
                protocol = {{ pretrain = 2 }}
                model = {{ kind = "{model}"{tower} }}
                training = {{ batch_size = 256, optimiser = {{ rule = "adam", learning_rate = 0.01 }} }}
                method = [{{ name = "incremental", strategy = "incremental" }}]
                "#
            );
            desk.write("sample.toml", text);
            let out = format!("run-{dataset}-{model}");
            desk.done(&format!("run sample.toml --out {out}"));
            let results = desk.results(&out);
            let periods = &results.method("incremental").unwrap().seeds[0].periods;
            let auc: Vec<f64> = periods.iter().map(|period| period.metrics.get("auc").unwrap()).collect();
            println!("{dataset}, {model}: {auc:.4?}");
            assert!(auc.iter().all(|auc| *auc > 0.55), "{dataset}, {model}: {auc:?}");
        }
    }
}
