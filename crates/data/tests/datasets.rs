//! Data sets: small files in the layout of each, and the real ones where they are at hand.
//!
//! Real data are found by the environment variable `PERENNIAL_DATA`, a directory; without it those tests are skipped.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Int64Type, TimestampMicrosecondType};
use perennial_data::dataset::{DATASETS, Dataset, DatasetOptions};
use perennial_data::{ImportSummary, Log, import};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Imports a data set; its rows are one batch.
fn run(name: &str, dir: &Path, options: DatasetOptions) -> (ImportSummary, RecordBatch) {
    let out = tempfile::tempdir().unwrap();
    let recipe = Dataset::named(name).unwrap().recipe(dir, &options).unwrap();
    let summary = import(&recipe.options(out.path().join("log")), &|_| {}).unwrap();
    let log = Log::open(&out.path().join("log")).unwrap();
    let batches: Vec<RecordBatch> = log.batches().map(Result::unwrap).collect();
    let rows = arrow::compute::concat_batches(log.columns(), &batches).unwrap();
    (summary, rows)
}

fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(dir.path().join(name), bytes).unwrap());
    dir
}

/// One row as text, without the event's id.
fn row(rows: &RecordBatch, row: usize) -> String {
    let show = |column: &ArrayRef| match column.data_type() {
        DataType::Timestamp(..) => {
            column.as_primitive::<TimestampMicrosecondType>().value_as_datetime(row).unwrap().to_string()
        }
        _ => arrow::util::display::array_value_to_string(column, row).unwrap(),
    };
    rows.columns()[1..].iter().map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn movielens_100k() {
    let dir = directory(&[
        ("u.data", b"7\t2\t3\t20\n8\t1\t4\t10\n"),
        ("u.user", b"7|24|M|technician|85711\n8|53|F|other|94043\n"),
        (
            "u.item",
            b"1|Caf\xe9|x||y|0|1|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n2|B|x||y|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|1\n",
        ),
    ]);
    let (_, rows) = run("movielens", dir.path(), DatasetOptions::default());
    assert_eq!(row(&rows, 0), "1970-01-01 00:00:10 8 1 1.0 1970-01-01 00:00:10 F 53 other [Action, Comedy]");
    assert_eq!(row(&rows, 1), "1970-01-01 00:00:20 7 2 0.0 1970-01-01 00:00:20 M 24 technician [Western]");
}

#[test]
fn movielens_1m_and_latest() {
    let dir = directory(&[
        ("ratings.dat", b"1::5::5::10\n"),
        ("users.dat", b"1::F::18::10::48067\n"),
        ("movies.dat", b"5::Mis\xe9rables::Drama|War\n"),
    ]);
    let (_, rows) = run("movielens", dir.path(), DatasetOptions::default());
    assert_eq!(row(&rows, 0), "1970-01-01 00:00:10 1 5 1.0 1970-01-01 00:00:10 F 18 10 [Drama, War]");
    let dir = directory(&[
        ("ratings.csv", b"userId,movieId,rating,timestamp\n1,5,3.5,10\n"),
        ("movies.csv", b"movieId,title,genres\n5,\"Two, or three\",Drama|War\n"),
    ]);
    let options = DatasetOptions { positive_at_least: 3.5, ..DatasetOptions::default() };
    let (_, rows) = run("movielens", dir.path(), options);
    assert_eq!(row(&rows, 0), "1970-01-01 00:00:10 1 5 1.0 1970-01-01 00:00:10 [Drama, War]");
}

#[test]
fn libfm_takes_features_by_position() {
    let dir = directory(&[("a.libfm", b"-1 3:1 9:1\n1 4:1 8:1\n")]);
    let options = DatasetOptions { fields: Some(2), ..DatasetOptions::default() };
    let (_, rows) = run("libfm", dir.path(), options);
    assert_eq!(row(&rows, 1), "1970-01-01 00:00:01 1.0 1970-01-01 00:00:01 4 8");
    let libfm = Dataset::named("libfm").unwrap();
    assert!(libfm.recipe(dir.path(), &DatasetOptions::default()).unwrap_err().to_string().contains("--fields"));
}

#[test]
fn a_wrong_directory_says_what_was_expected() {
    let dir = directory(&[("README", b"")]);
    for dataset in DATASETS {
        let options = DatasetOptions { fields: Some(2), ..DatasetOptions::default() };
        let error = dataset.recipe(dir.path(), &options).unwrap_err().to_string();
        assert!(error.contains("is this the right directory"), "{}: {error}", dataset.name);
    }
    assert!(Dataset::named("movielense").err().unwrap().to_string().contains("movielens, globo"));
}

/// The directory of a real data set.
fn real(name: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("PERENNIAL_DATA") else {
        println!("skipped: PERENNIAL_DATA is not set");
        return None;
    };
    let dir = Path::new(&root).join(name);
    assert!(dir.exists(), "PERENNIAL_DATA is set but {} is not there", dir.display());
    Some(dir)
}

fn positives(rows: &RecordBatch, label: &str) -> usize {
    rows[label].as_primitive::<Float32Type>().values().iter().filter(|&&value| value == 1.0).count()
}

fn distinct(rows: &RecordBatch, column: &str) -> usize {
    rows[column].as_primitive::<Int64Type>().values().iter().collect::<HashSet<_>>().len()
}

#[test]
fn real_movielens_100k() {
    let Some(dir) = real("ml-100k") else { return };
    let (summary, rows) = run("movielens", &dir, DatasetOptions::default());
    // Counts of the data set's own README; 34,174 fours and 21,201 fives from `cut -f3 u.data | sort | uniq -c`.
    assert_eq!((summary.rows_read, rows.num_rows()), (100_000, 100_000));
    assert_eq!((distinct(&rows, "user"), distinct(&rows, "item")), (943, 1682));
    assert_eq!(positives(&rows, "liked"), 55_375);
    assert_eq!(["gender", "age", "occupation"].map(|name| rows[name].null_count()), [0, 0, 0]);
    assert!(rows["genres"].as_list::<i32>().iter().all(|genres| !genres.unwrap().is_empty()));
    assert!(row(&rows, 0).starts_with("1997-09-20 03:05:10"), "{}", row(&rows, 0));
}

#[test]
fn real_movielens_1m() {
    let Some(dir) = real("ml-1m-half") else { return };
    let (summary, rows) = run("movielens", &dir, DatasetOptions::default());
    assert_eq!((summary.rows_read, rows.num_rows()), (487_650, 487_650));
    assert_eq!(distinct(&rows, "user"), 2_999);
    assert_eq!(rows["gender"].null_count(), 0);
}

#[test]
fn real_globo_hours() {
    let Some(dir) = real("globo-clicks-w1") else { return };
    let some = tempfile::tempdir().unwrap();
    for hour in [0, 1, 2] {
        let name = format!("clicks_hour_{hour:03}.csv.gz");
        fs::copy(dir.join(&name), some.path().join(&name)).unwrap();
    }
    let (summary, rows) = run("globo", some.path(), DatasetOptions::default());
    assert_eq!(summary.manifest.notes.sources.len(), 3);
    assert_eq!(rows.num_rows() as u64, summary.rows_read);
    assert_eq!(positives(&rows, "click"), rows.num_rows());
}

#[test]
fn real_samples_of_criteo_avazu_and_open_bandit() {
    let Some(criteo) = real("criteo-sample-10k") else { return };
    let (_, rows) = run("criteo", &criteo, DatasetOptions::default());
    assert_eq!((rows.num_rows(), rows.num_columns()), (8_000, 2 + 2 + 39));
    let Some(avazu) = real("avazu-sample-10k") else { return };
    let (_, rows) = run("avazu", &avazu, DatasetOptions::default());
    assert_eq!(rows.num_rows(), 8_999);
    assert!(row(&rows, 0).starts_with("2014-10-21 00:00:00"), "{}", row(&rows, 0));
    let Some(bandit) = real("open-bandit-sample") else { return };
    let (_, rows) = run("open-bandit", &bandit.join("random-men-men.csv.gz"), DatasetOptions::default());
    assert_eq!((rows.num_rows(), positives(&rows, "click"), distinct(&rows, "item")), (10_000, 46, 34));
    assert_eq!((rows["item_0"].null_count(), rows["item_3"].null_count()), (0, 0));
}

#[test]
fn real_frappe_and_ader() {
    let Some(frappe) = real("frappe-libfm-partial") else { return };
    let options = DatasetOptions { fields: Some(10), ..DatasetOptions::default() };
    let (_, rows) = run("libfm", &frappe, options);
    assert_eq!((rows.num_rows(), positives(&rows, "label")), (86_582, 28_599));
    let Some(ader) = real("ader-diginetica") else { return };
    let (summary, rows) = run("ader", &ader, DatasetOptions::default());
    assert_eq!(rows.num_rows(), 993_483);
    assert_eq!((distinct(&rows, "session"), distinct(&rows, "item")), (204_789, 43_136));
    let sizes: Vec<u64> = summary.manifest.notes.sources.iter().map(|source| source.rows).collect();
    assert_eq!(sizes[..3], [70_739, 37_586, 31_089]);
}
