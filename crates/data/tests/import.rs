//! Importing, as a user of the library does it: every format, every kind of bad input, and the sort.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use flate2::write::GzEncoder;
use perennial_core::rng::Stream;
use perennial_core::{Schema, Span};
use perennial_data::import::SideTable;
use perennial_data::read::{Delimited, Format};
use perennial_data::{Cut, Error, ImportOptions, ImportSummary, Log, PartitionOptions, import};
use perennial_disk::Disk;
use perennial_disk::fault::{Fault, Faults, Survives};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

const CLICKS: &str = r#"
    name = "clicks"
    field = [
      { name = "user", kind = "id", role = "user", id = "int" },
      { name = "item", kind = "id", role = "item" },
      { name = "price", kind = "numeric", role = "item" },
      { name = "t", kind = "timestamp", unit = "s" },
      { name = "click", kind = "label" },
    ]"#;

const SERVED: &str = r#"
    name = "served"
    field = [
      { name = "t", kind = "timestamp", unit = "s" },
      { name = "click", kind = "label" },
      { name = "shown", kind = "score", column = "p", version = "model" },
    ]"#;

#[test]
fn scores_are_kept_as_logits_with_who_gave_them() {
    let bench = Bench::new();
    bench.file("a.csv", "t,click,p,model\n1,0,0.25,v1\n2,1,,\n3,0,1,v2\n4,1,0,\n5,0,0.5,v2\n");
    bench.import(SERVED, &["a.csv"]);
    let rows = bench.rows();
    let shown: Vec<Option<f32>> = rows["shown"].as_primitive::<Float32Type>().iter().collect();
    // ln(1/3); what was rounded to 0 or 1 stays finite.
    assert_eq!(shown, [Some(-1.098_612_3), None, Some(16.0), Some(-16.0), Some(0.0)]);
    let version = texts(&rows["shown.version"]);
    assert_eq!(version, [Some("v1"), None, Some("v2"), None, Some("v2")].map(|name| name.map(str::to_owned)));

    bench.file("b.csv", "t,click,p,model\n1,0,1.5,v1\n2,1,-0.1,v1\n3,0,0.5,v1\n");
    let mut options = bench.options(SERVED, &["b.csv"]);
    options.max_bad = 1.0;
    let summary = import(&options, &|_| {}).unwrap();
    assert_eq!(summary.manifest.notes.bad_rows["not_a_probability"], 2);
    let logits = SERVED.replace("column = \"p\"", "column = \"p\", scale = \"logit\"");
    bench.import(&logits, &["b.csv"]);
    let shown: Vec<Option<f32>> = bench.rows()["shown"].as_primitive::<Float32Type>().iter().collect();
    assert_eq!(shown, [Some(1.5), Some(-0.1), Some(0.5)]);
    bench.file("c.csv", "t,click,p,model\n1,0,1e300,v1\n2,1,nan,v1\n3,0,3,\n");
    let mut options = bench.options(&logits, &["c.csv"]);
    options.max_bad = 1.0;
    let bad = import(&options, &|_| {}).unwrap().manifest.notes.bad_rows;
    assert_eq!(bad, [("not_finite".to_owned(), 2)].into());
}

/// A place for files to import, and for the log.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn options(&self, schema: &str, files: &[&str]) -> ImportOptions {
        let files = files.iter().map(|name| self.path(name)).collect();
        let mut options = ImportOptions::new(files, Schema::parse(schema).unwrap(), self.path("log"));
        options.partition.replace = true;
        options
    }

    fn import(&self, schema: &str, files: &[&str]) -> ImportSummary {
        import(&self.options(schema, files), &|_| {}).unwrap()
    }

    fn refused(&self, options: &ImportOptions) -> String {
        let error = import(options, &|_| {}).unwrap_err().to_string();
        assert!(!self.path("log").exists(), "a half log was left behind after: {error}");
        error
    }

    /// All rows of the log, as one batch.
    fn rows(&self) -> RecordBatch {
        let log = Log::open(&self.path("log")).unwrap();
        let batches: Vec<RecordBatch> = log.batches().map(Result::unwrap).collect();
        arrow::compute::concat_batches(log.columns(), &batches).unwrap()
    }

    fn times(&self) -> Vec<i64> {
        self.rows()["time"].as_primitive::<TimestampMicrosecondType>().values().to_vec()
    }
}

fn ints(column: &ArrayRef) -> Vec<Option<i64>> {
    column.as_primitive::<Int64Type>().iter().collect()
}

fn texts(column: &ArrayRef) -> Vec<Option<String>> {
    column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

fn floats(column: &ArrayRef) -> Vec<Option<f64>> {
    column.as_primitive::<Float64Type>().iter().collect()
}

fn labels(column: &ArrayRef) -> Vec<Option<f32>> {
    column.as_primitive::<Float32Type>().iter().collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

const TEXT: &str = "user,item,price,t,click\n7,a,1.5,10,1\n8,b,,20,0\n9,a,-2,20,1\n";

fn check_clicks(bench: &Bench) {
    let rows = bench.rows();
    assert_eq!(ints(&rows["user"]), [Some(7), Some(8), Some(9)]);
    assert_eq!(texts(&rows["item"]), ["a", "b", "a"].map(|text| Some(text.to_owned())));
    assert_eq!(floats(&rows["price"]), [Some(1.5), None, Some(-2.0)]);
    assert_eq!(labels(&rows["click"]), [Some(1.0), Some(0.0), Some(1.0)]);
    assert_eq!(bench.times(), [10_000_000, 20_000_000, 20_000_000]);
    assert_eq!(rows["click.observable"].to_data(), rows["time"].to_data());
}

#[test]
fn every_text_format_gives_the_same_rows() {
    let json = "{\"user\":7,\"item\":\"a\",\"price\":1.5,\"t\":10,\"click\":true}\n\
                {\"user\":\"8\",\"item\":\"b\",\"t\":20,\"click\":0}\n\
                {\"user\":9,\"item\":\"a\",\"price\":-2,\"t\":20,\"click\":1}\n";
    let (head, tail) = TEXT.split_at(30);
    let zst = zstd::stream::encode_all(TEXT.as_bytes(), 1).unwrap();
    for (name, bytes) in [
        ("a.csv", TEXT.as_bytes().to_vec()),
        ("a.tsv", TEXT.replace(',', "\t").into_bytes()),
        ("a.csv.gz", gzip(TEXT)),
        ("members.csv.gz", [gzip(head), gzip(tail)].concat()),
        ("a.csv.zst", zst),
        ("a.jsonl", json.as_bytes().to_vec()),
        ("a.jsonl.gz", gzip(json)),
    ] {
        let bench = Bench::new();
        bench.file(name, bytes);
        let summary = bench.import(CLICKS, &[name]);
        assert_eq!((summary.rows_read, summary.manifest.rows), (3, 3), "{name}");
        check_clicks(&bench);
    }
}

#[test]
fn parquet_of_many_types_gives_the_same_rows() {
    let bench = Bench::new();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a"]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("extra", text.clone()),
        ("user", Arc::new(Float64Array::from(vec![7.0, 8.0, 9.0]))),
        ("item", arrow::compute::cast(&text, &"Dictionary(Int32, Utf8)".parse().unwrap()).unwrap()),
        ("price", Arc::new(StringArray::from(vec![Some("1.5"), None, Some("-2")]))),
        ("t", Arc::new(arrow::array::TimestampMillisecondArray::from(vec![10_000, 20_000, 20_000]))),
        ("click", Arc::new(arrow::array::BooleanArray::from(vec![true, false, true]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = fs::File::create(bench.path("a.parquet")).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bench.import(CLICKS, &["a.parquet"]);
    check_clicks(&bench);

    let whole = fs::read(bench.path("a.parquet")).unwrap();
    bench.file("cut.parquet", &whole[..whole.len() / 2]);
    fs::remove_dir_all(bench.path("log")).unwrap();
    assert!(bench.refused(&bench.options(CLICKS, &["cut.parquet"])).contains("cut.parquet"));
    let wrong = CLICKS.replace("kind = \"numeric\", role = \"item\"", "kind = \"ids\", id = \"int\", column = \"t\"");
    let error = bench.refused(&bench.options(&wrong, &["a.parquet"]));
    assert!(error.contains("column \"t\"") && error.contains("a list of ids"), "{error}");
}

#[test]
fn every_kind_of_field_is_read() {
    let schema = r#"
        name = "x"
        field = [
          { name = "u", kind = "id", role = "user" },
          { name = "tags", kind = "ids", id = "int", separator = " " },
          { name = "past", kind = "sequence" },
          { name = "t", kind = "timestamp", format = "%Y-%m-%d %H:%M:%S", zone = "Europe/Paris" },
          { name = "liked", kind = "label", column = "rating", at_least = 4 },
          { name = "bought", kind = "label", observed_at = "bought_at" },
          { name = "w", kind = "weight" },
          { name = "part", kind = "period", column = "@file" },
          { name = "id", kind = "event_id" },
          { name = "later", kind = "numeric", optional = true },
          { name = "row", kind = "numeric", column = "@row" },
        ]"#;
    let bench = Bench::new();
    let header = "u,tags,past,t,rating,bought,bought_at,w,id";
    bench.file("1.csv", format!("{header}\na,3 4,x|y,2024-07-01 02:00:00,5,,,,11\n"));
    let later = "b,,,2024-12-01 01:00:00,3,1,2024-12-02 00:00:00,0.5,18446744073709551615,2.5";
    bench.file("2.csv", format!("{header},later\n{later}\n"));
    bench.import(schema, &["1.csv", "2.csv"]);
    let rows = bench.rows();
    // 2024-07-01T00:00:00Z and 2024-12-01T00:00:00Z: Paris is two hours ahead in summer and one in winter.
    assert_eq!(bench.times(), [1_719_792_000_000_000, 1_733_011_200_000_000]);
    assert_eq!(ints(&rows["tags"].as_list::<i32>().value(0)), [Some(3), Some(4)]);
    assert_eq!(rows["tags"].as_list::<i32>().value(1).len(), 0);
    assert_eq!(texts(&rows["past"].as_list::<i32>().value(0)), [Some("x".to_owned()), Some("y".to_owned())]);
    assert_eq!(labels(&rows["liked"]), [Some(1.0), Some(0.0)]);
    assert_eq!(labels(&rows["bought"]), [None, Some(1.0)]);
    assert!(rows["bought.observable"].is_null(0));
    let seen = rows["bought.observable"].as_primitive::<TimestampMicrosecondType>().value(1);
    assert_eq!(seen, 1_733_094_000_000_000); // 2024-12-01T23:00:00Z
    assert_eq!(labels(&rows["w"]), [Some(1.0), Some(0.5)]);
    assert_eq!(rows["part"].as_primitive::<Int32Type>().values(), &[0, 1]);
    assert_eq!(rows["event_id"].as_primitive::<UInt64Type>().values(), &[11, u64::MAX]);
    assert_eq!(floats(&rows["later"]), [None, Some(2.5)]);
    assert_eq!(floats(&rows["row"]), [Some(0.0), Some(1.0)]);
}

/// Rows of users 0.. at the given times.
fn csv_at(times: impl IntoIterator<Item = i64>) -> String {
    let row = |(user, time): (usize, i64)| format!("{user},i{},0.5,{time},1\n", user % 7);
    std::iter::once("user,item,price,t,click\n".to_owned()).chain(times.into_iter().enumerate().map(row)).collect()
}

#[test]
fn the_log_does_not_depend_on_memory_or_threads() {
    let bench = Bench::new();
    let mut stream = Stream::new(&[3]);
    let times: Vec<i64> = (0..60_000).map(|row| if row < 20_000 { row } else { stream.below(30_000) as i64 }).collect();
    bench.file("a.csv", csv_at(times.iter().copied()));
    let mut options = bench.options(CLICKS, &["a.csv"]);
    options.partition.cut = Cut::Rows(25_000);
    let whole = import(&options, &|_| {}).unwrap().manifest;
    let users = ints(&bench.rows()["user"]);
    let mut expected: Vec<usize> = (0..times.len()).collect();
    expected.sort_by_key(|&row| times[row]); // stable
    assert_eq!(users, expected.into_iter().map(|row| Some(row as i64)).collect::<Vec<_>>());

    // Chunks of this log take more than 64 kB, so that each of them is spilled.
    for (memory, threads) in [(1 << 30, 1), (64 << 10, 2), (1 << 20, 3)] {
        (options.memory, options.threads) = (memory, threads);
        assert_eq!(import(&options, &|_| {}).unwrap().manifest, whole, "memory {memory}, threads {threads}");
    }
}

#[test]
fn many_runs_are_merged_in_rounds() {
    let bench = Bench::new();
    // 90 files of one row each, newest first: with no memory at all every one is a run.
    let names: Vec<String> = (0..90).map(|i| format!("{i}.csv")).collect();
    for (i, name) in names.iter().enumerate() {
        bench.file(name, format!("user,item,price,t,click\n{i},a,1,{},1\n", 1000 - i / 2));
    }
    let mut options = bench.options(CLICKS, &names.iter().map(String::as_str).collect::<Vec<_>>());
    options.memory = 0;
    import(&options, &|_| {}).unwrap();
    let expected: Vec<Option<i64>> = (0..45).rev().flat_map(|pair| [Some(2 * pair), Some(2 * pair + 1)]).collect();
    assert_eq!(ints(&bench.rows()["user"]), expected);
}

#[test]
fn event_ids_name_rows_wherever_they_lie() {
    let (one, two) = (Bench::new(), Bench::new());
    one.file("a.csv", csv_at([3, 1, 2]));
    two.file("a.csv", csv_at([3, 1, 2]));
    two.file("b.csv", csv_at([5, 4]));
    one.import(CLICKS, &["a.csv"]);
    two.import(CLICKS, &["b.csv", "a.csv"]);
    let ids = |bench: &Bench| bench.rows()["event_id"].as_primitive::<UInt64Type>().values().to_vec();
    assert_eq!(ids(&one), ids(&two)[..3]);
}

#[test]
fn partitions_and_frequent_users() {
    let bench = Bench::new();
    let rows = "user,item,price,t,click\n1,a,1,0,1\n2,a,1,3600,1\n1,b,1,7200,1\n1,c,1,7201,2\n";
    bench.file("a.csv", rows);
    let mut options = bench.options(CLICKS, &["a.csv"]);
    (options.min_events, options.max_bad) = (Some(2), 0.5);
    options.partition = PartitionOptions { cut: Cut::Span(Span::parse("1h").unwrap()), replace: true };
    let summary = import(&options, &|_| {}).unwrap();
    assert_eq!(ints(&bench.rows()["user"]), [Some(1), Some(1)]);
    assert_eq!(summary.manifest.notes.filtered_rows, 1);
    assert_eq!(summary.manifest.parts.len(), 2);
    options.min_events = Some(3); // the bad row does not count
    assert_eq!(import(&options, &|_| {}).unwrap().manifest.rows, 0);
}

#[test]
fn side_tables_add_columns() {
    let bench = Bench::new();
    bench.file("a.csv", TEXT);
    let schema =
        CLICKS.replace("{ name = \"t\"", "{ name = \"job\", kind = \"id\", role = \"user\" },\n{ name = \"t\"");
    let schema = schema.replace("role = \"user\", id = \"int\"", "role = \"user\", id = \"int\", key = true");
    let mut options = bench.options(&schema, &["a.csv"]);
    let row = |user: &str, job: &str| (user.as_bytes().to_vec(), vec![job.as_bytes().to_vec()]);
    options.sides = vec![SideTable::new("user", &["job"], [row("7", "cook"), row("9", "")])];
    import(&options, &|_| {}).unwrap();
    assert_eq!(texts(&bench.rows()["job"]), [Some("cook".to_owned()), None, None]);
}

#[test]
fn bad_rows_are_counted_and_written_aside() {
    let bench = Bench::new();
    let bad: &[(&[u8], &str)] = &[
        (b",a,1,10,1", "missing_user"),
        (b"1,,1,10,1", "missing_item"),
        (b"1,a,1,,1", "bad_time"),
        (b"1,a,1,soon,1", "bad_time"),
        (b"1,a,1,9999999999999,1", "bad_time"),
        (b"1,a,1,10,2", "bad_label"),
        (b"1,a,1,10,yes", "not_a_number"),
        (b"1,a,NaN,10,1", "not_finite"),
        (b"1,a,-inf,10,1", "not_finite"),
        (b"1,a,cheap,10,1", "not_a_number"),
        (b"1.5,a,1,10,1", "not_a_number"),
        (b"1,a", "too_few_columns"),
        (b"1,a,1,10,1,1", "too_many_columns"),
        (b"1,\xff,1,10,1", "invalid_utf8"),
        (b"1,\"a,1,10,1", "unclosed_quote"),
    ];
    let mut text = b"user,item,price,t,click\n".to_vec();
    bad.iter().for_each(|(row, _)| text.extend([row, &b"\n5,ok,1,7,0\n"[..]].concat()));
    bench.file("a.csv", text);
    let mut options = bench.options(CLICKS, &["a.csv"]);
    options.max_bad = 0.5;
    let summary = import(&options, &|_| {}).unwrap();
    assert_eq!(bench.rows().num_rows(), bad.len());
    assert_eq!(summary.manifest.notes.bad_rows.values().sum::<u64>(), bad.len() as u64);
    let aside = fs::read_to_string(bench.path("log/bad_rows.jsonl")).unwrap();
    let found: Vec<serde_json::Value> = aside.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for ((row, reason), (i, found)) in bad.iter().zip(found.iter().enumerate()) {
        assert_eq!(found["reason"], *reason, "{}", String::from_utf8_lossy(row));
        assert_eq!((&found["file"], &found["line"]), (&"a.csv".into(), &(2 * i + 2).into()));
    }
    assert_eq!(found[9]["excerpt"], "cheap");
    assert_eq!(found[9]["column"], "price");
}

#[test]
fn too_many_bad_rows_stop_the_import() {
    let bench = Bench::new();
    bench.file("a.csv", csv_at(0..30_000).replace(",0.5,", ",x,"));
    let error = bench.refused(&bench.options(CLICKS, &["a.csv"]));
    assert!(error.contains("not a number") && error.contains("a.csv:2: ") && error.contains("--max-bad"), "{error}");
    assert!(!error.contains("30000"), "it stops early: {error}");
    let one_in_ten: String = csv_at(0..10).replace("3,i3,0.5", "3,i3,x");
    bench.file("b.csv", one_in_ten);
    assert!(bench.refused(&bench.options(CLICKS, &["b.csv"])).contains("1 of 10 rows are bad (10.0 %)"));
}

#[test]
fn bad_files_are_named() {
    let bench = Bench::new();
    let long: String = csv_at(0..20_000);
    let zipped = gzip(&long);
    bench.file("cut.csv.gz", &zipped[..zipped.len() / 2]);
    let zst = zstd::stream::encode_all(long.as_bytes(), 1).unwrap();
    bench.file("cut.csv.zst", &zst[..zst.len() / 2]);
    let mut broken = zipped.clone();
    let middle = broken.len() / 2;
    broken[middle..middle + 64].fill(0xff);
    bench.file("broken.csv.gz", broken);
    bench.file("text.parquet", "no parquet at all");
    for name in ["cut.csv.gz", "cut.csv.zst", "broken.csv.gz", "text.parquet"] {
        let error = bench.refused(&bench.options(CLICKS, &[name]));
        assert!(error.contains(name), "{error}");
    }
    bench.file("other.csv", TEXT.replace("item", "itm"));
    let error = bench.refused(&bench.options(CLICKS, &["other.csv"]));
    assert!(error.contains("expected column \"item\"") && error.contains("did you mean \"itm\""), "{error}");
    bench.file("a.csv", TEXT);
    bench.file("b.csv", TEXT);
    assert!(bench.refused(&bench.options(CLICKS, &["a.csv", "b.csv"])).contains("duplicate files"));
    bench.file("data.bin", TEXT);
    assert!(bench.refused(&bench.options(CLICKS, &["data.bin"])).contains("--format"));
}

#[test]
fn empty_files_are_mentioned_unless_all_are_empty() {
    let bench = Bench::new();
    bench.file("nothing.csv", "");
    bench.file("header.csv", "user,item,price,t,click\n");
    bench.file("nothing.csv.gz", gzip(""));
    let empty = ["nothing.csv", "header.csv", "nothing.csv.gz"];
    assert!(bench.refused(&bench.options(CLICKS, &empty)).contains("all 3 files are empty"));
    bench.file("a.csv", TEXT);
    let summary = bench.import(CLICKS, &[&empty[..], &["a.csv"]].concat());
    assert_eq!(summary.warnings.len(), 3);
    assert!(summary.warnings[0].contains("nothing.csv"));
    check_clicks(&bench);
}

#[test]
fn a_line_without_end_is_one_bad_row() {
    let bench = Bench::new();
    let mut text = TEXT.as_bytes().to_vec();
    text.extend(std::iter::repeat_n(b'x', 3 << 20));
    text.extend(b"\n");
    bench.file("a.csv", text);
    let mut options = bench.options(CLICKS, &["a.csv"]);
    (options.max_line, options.max_bad) = (1 << 16, 0.5);
    let summary = import(&options, &|_| {}).unwrap();
    assert_eq!(summary.manifest.notes.bad_rows["line_too_long"], 1);
    assert!(fs::metadata(bench.path("log/bad_rows.jsonl")).unwrap().len() < 1000);
    check_clicks(&bench);
}

#[test]
fn a_failed_replacement_keeps_the_old_log() {
    let bench = Bench::new();
    bench.file("a.csv", TEXT);
    bench.import(CLICKS, &["a.csv"]);
    bench.file("bad.csv", "user,item,price,t,click\nx,a,1,1,1\n");
    assert!(import(&bench.options(CLICKS, &["bad.csv"]), &|_| {}).is_err());
    check_clicks(&bench);
    let mut options = bench.options(CLICKS, &["a.csv"]);
    options.partition.replace = false;
    assert!(matches!(import(&options, &|_| {}), Err(Error::Occupied { .. })));
}

#[test]
fn files_without_header_are_named_by_the_options() {
    let bench = Bench::new();
    bench.file("a.dat", "7::a::1.5::10::1\n8::b::::20::0\n9::a::-2::20::1\n");
    let mut options = bench.options(CLICKS, &["a.dat"]);
    options.format = Some(Format::Delimited(Delimited::plain("::", &["user", "item", "price", "t", "click"])));
    import(&options, &|_| {}).unwrap();
    check_clicks(&bench);
}

#[test]
fn times_may_have_fractions() {
    let bench = Bench::new();
    bench.file("a.csv", "user,item,price,t,click\n7,a,1.5,10.25,1\n");
    bench.import(CLICKS, &["a.csv"]);
    assert_eq!(bench.times(), [10_250_000]);
}

/// Files whose import takes rows back, spills runs, merges them, cuts parts and refuses a row; and another log in their
/// place.
fn every_kind_of_write() -> (Bench, ImportOptions) {
    let bench = Bench::new();
    bench.file("before.csv", TEXT);
    bench.import(CLICKS, &["before.csv"]);
    let names = ["a.csv", "b.csv", "c.csv", "d.csv"];
    for (nth, name) in names.iter().enumerate() {
        let time = [30, 40, 10, 20][nth];
        bench.file(name, format!("user,item,price,t,click\n{nth},a,1.5,{time},1\n{nth},b,,{},0\n", time + 1));
    }
    bench.file("bad.csv", "user,item,price,t,click\n1,a,1,50,7\n");
    let mut options = bench.options(CLICKS, &["a.csv", "b.csv", "c.csv", "d.csv", "bad.csv"]);
    (options.max_bad, options.memory, options.threads) = (0.5, 0, 1);
    options.partition.cut = Cut::Rows(3);
    (bench, options)
}

/// Whatever is cut, there is the old log, the new one or none that opens, and the same import finishes.
#[test]
fn an_import_cut_at_any_write_point_leaves_no_mixture() {
    let (bench, options) = every_kind_of_write();
    let old = Log::open(&bench.path("log")).unwrap().manifest().clone();
    let counter = Faults::none();
    let on = |disk: Disk| ImportOptions { disk, ..options.clone() };
    let new = import(&on(Disk::watched(counter.clone())), &|_| {}).unwrap().manifest;
    assert_eq!((new.parts.len(), new.rows), (3, 8));
    let faults = [
        Fault::PowerCut(Survives::Everything),
        Fault::PowerCut(Survives::Names),
        Fault::PowerCut(Survives::Nothing),
        Fault::Error(std::io::ErrorKind::StorageFull),
    ];
    // One fault at each step, in turn; with `PERENNIAL_FAULTS=all` every fault at every step.
    let all = std::env::var("PERENNIAL_FAULTS").is_ok_and(|value| value == "all");
    for (nth, fault) in faults.into_iter().enumerate() {
        for step in (0..counter.steps()).filter(|step| all || step % faults.len() == nth) {
            let (bench, options) = every_kind_of_write();
            let watched = ImportOptions { disk: Disk::watched(Faults::at(step, fault)), ..options.clone() };
            let cut = import(&watched, &|_| {});
            let found = Log::open(&bench.path("log")).ok().map(|log| {
                log.verify().unwrap();
                log.manifest().clone()
            });
            match (&cut, &found) {
                (Err(_), None) => {}
                (Err(_), Some(found)) => assert!(*found == old || *found == new, "{fault:?} at {step}: {found:?}"),
                // The log was there; what was left to do was to tidy up.
                (Ok(_), found) => assert_eq!(found.as_ref(), Some(&new), "{fault:?} at {step}"),
            }
            if let (Fault::Error(_), Err(error)) = (fault, &cut) {
                assert!(matches!(error, Error::Io { .. }), "step {step}: {error}");
            }
            assert_eq!(import(&options, &|_| {}).unwrap().manifest, new, "{fault:?} at {step}");
            Log::open(&bench.path("log")).unwrap().verify().unwrap();
            assert!(!bench.path("log/.partial").exists(), "{fault:?} at {step}");
        }
    }
}
