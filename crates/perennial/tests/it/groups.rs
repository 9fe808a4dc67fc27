//! Runs whose groups of parameters have optimisers of their own.

use crate::world::{experiment_text, goes_on_where_it_ended, run_on, write_log};
use perennial::disk::Disk;
use perennial::experiment::Experiment;
use std::path::Path;

fn grouped(log: &Path) -> Experiment {
    let text = experiment_text(log);
    let embedding = "kind = \"embedding_mlp\"\n        dim = 4\n        hidden = [6]";
    let wide = "kind = \"wide_deep\"\nfields = { dim = 4 }\nmlp = { hidden = [6] }";
    let groups = "rows = \"dense_parity\"\n\
                  groups = { embeddings = { l2 = 0.01 }, linear = { rule = \"adagrad\", learning_rate = 0.1 } }";
    assert!(text.contains(embedding));
    Experiment::parse(&text.replace(embedding, wide).replace("batch_size = 64", &format!("batch_size = 64\n{groups}")))
        .unwrap()
}

/// Versions hold as many slots of each tensor as its rule has.
#[test]
fn a_run_goes_on_where_it_ended() {
    let log = write_log();
    goes_on_where_it_ended(&grouped(log.path()), &[1, 2]);
}

#[test]
fn a_group_that_is_misspelled_or_missing_is_named() {
    let log = write_log();
    let parse = |groups: &str| {
        let text = experiment_text(log.path()).replace("batch_size = 64", &format!("batch_size = 64\n{groups}"));
        Experiment::parse(&text)
    };
    let error = format!("{:#}", parse("groups = { embedings = { l2 = 0.1 } }").unwrap_err());
    assert!(error.contains("embeddings"), "{error}");
    let error = format!("{:#}", parse("groups = { deep = { l2 = -1.0 } }").unwrap_err());
    assert!(error.contains("training.groups.deep"), "{error}");
    let lacking = parse("groups = { linear = { learning_rate = 0.1 } }").unwrap();
    let out = tempfile::tempdir().unwrap();
    let error = format!("{:#}", run_on(&lacking, out.path(), 1, Disk::default()).unwrap_err());
    assert!(error.contains("training.groups.linear") && error.contains("embeddings, deep"), "{error}");
}
