//! What people get wrong, given to the real program: it ends with exit code 1 and says which file, where, and what to
//! try.

use crate::desk::Desk;
use crate::world::{experiment, experiment_text, files_beneath, run_on, write_log, write_other_log};
use arrow::compute::{concat_batches, take_record_batch};
use parquet::arrow::ArrowWriter;
use perennial::core::Digest;
use perennial::data::Log;
use perennial::disk::{Disk, Step, Watch};
use perennial::store::RunLock;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CLICKS: &str = r#"
    name = "clicks"
    field = [
      { name = "user", kind = "id", role = "user", id = "int" },
      { name = "item", kind = "id", role = "item" },
      { name = "price", kind = "numeric", role = "item" },
      { name = "t", kind = "timestamp", unit = "s" },
      { name = "click", kind = "label" },
    ]"#;

const HEADER: &str = "user,item,price,t,click\n";

/// A desk with the schema of clicks and these files of rows.
fn clicks(files: &[(&str, &[u8])]) -> Desk {
    let desk = Desk::new();
    desk.write("clicks.toml", CLICKS);
    files.iter().for_each(|(name, bytes)| desk.write(name, bytes));
    desk
}

/// Files of rows that must not become a log; nothing is left of the try.
#[track_caller]
fn not_imported(files: &[(&str, &[u8])], parts: &[&str]) {
    let desk = clicks(files);
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    desk.refused(&format!("import --schema clicks.toml {} --out log", names.join(" ")), parts);
    assert!(!desk.path("log").exists(), "a half log was left behind");
}

/// One file of rows under the right header.
#[track_caller]
fn rows_not_imported(rows: &str, parts: &[&str]) {
    not_imported(&[("clicks.csv", format!("{HEADER}{rows}").as_bytes())], parts);
}

/// A gzip file that ends within its first block: a header, a stored block of 1000 bytes (RFC 1951, section 3.2.4), and
/// of those only the first.
fn truncated_gzip() -> Vec<u8> {
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let length = 1000u16;
    let stored = [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes()].concat();
    [&header[..], &stored, HEADER.as_bytes(), b"7,a,1.5,10,1\n"].concat()
}

#[test]
fn a_missing_column_is_named_with_what_was_perhaps_meant() {
    let text = b"user,itm,price,t,click\n7,a,1.5,10,1\n";
    let tips = ["clicks.csv", "expected column \"item\"", "did you mean \"itm\"", "optional = true"];
    not_imported(&[("clicks.csv", text)], &tips);
}

#[test]
fn a_text_where_a_number_belongs_is_shown_with_its_line() {
    let parts = ["clicks.csv:3", "not a number", "price = \"cheap\"", "--max-bad"];
    rows_not_imported("7,a,1.5,10,1\n8,b,cheap,11,0\n", &parts);
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    rows_not_imported("7,a,NaN,10,1\n", &["clicks.csv:2", "NaN or infinite", "--max-bad"]);
    rows_not_imported("7,a,-inf,10,1\n", &["clicks.csv:2", "NaN or infinite"]);
}

#[test]
fn a_label_that_is_neither_0_nor_1_is_refused() {
    rows_not_imported("7,a,1,10,1\n7,a,1,11,2\n", &["clicks.csv:3", "neither 0 nor 1", "at_least"]);
    rows_not_imported("7,a,1,10,0.5\n", &["clicks.csv:2", "neither 0 nor 1"]);
}

#[test]
fn bad_files_are_named() {
    not_imported(&[("cut.csv.gz", &truncated_gzip())], &["cut.csv.gz", "in the middle", "fetch the file again"]);
    not_imported(&[("empty.csv", b"")], &["empty", "nothing to import"]);
    not_imported(&[("rows.parquet", b"7,a,1.5,10,1\n")], &["rows.parquet", "not a whole Parquet file"]);
    let text = format!("{HEADER}7,a,1.5,10,1\n");
    let twice: [(&str, &[u8]); 2] = [("a.csv", text.as_bytes()), ("b.csv", text.as_bytes())];
    not_imported(&twice, &["duplicate files", "a.csv", "b.csv", "import one of them"]);
}

#[test]
fn a_parquet_column_of_another_type_is_refused_before_any_row() {
    let desk = Desk::new();
    let log = write_log();
    let part = fs::read_dir(log.path().join("log/parts")).unwrap().next().unwrap().unwrap().path();
    fs::copy(part, desk.path("rows.parquet")).unwrap();
    let schema = r#"
        name = "x"
        field = [
          { name = "category", kind = "numeric" },
          { name = "when", kind = "timestamp", column = "time", unit = "us" },
          { name = "clicked", kind = "label" },
        ]"#;
    desk.write("x.toml", schema);
    let parts = ["rows.parquet", "column \"category\"", "expected", "correct the field's kind"];
    desk.refused("import --schema x.toml rows.parquet --out log", &parts);
}

/// The last two rows of the first part change places; checksums are right again.
fn unsort(log: &Path) {
    let whole = Log::open(log).unwrap();
    let part = whole.manifest().parts[0].clone();
    let rows: Vec<_> = whole.batches().take(1).map(Result::unwrap).collect();
    let rows = concat_batches(whole.columns(), &rows).unwrap();
    let last = rows.num_rows() as u32 - 1;
    let order = arrow::array::UInt32Array::from_iter((0..last - 1).chain([last, last - 1]));
    let file = log.join("parts").join(&part.file);
    let mut writer = ArrowWriter::try_new(File::create(&file).unwrap(), whole.columns().clone(), None).unwrap();
    writer.write(&take_record_batch(&rows, &order).unwrap()).unwrap();
    writer.close().unwrap();
    let bytes = fs::read(&file).unwrap();
    let mut manifest = whole.manifest().clone();
    (manifest.parts[0].bytes, manifest.parts[0].blake3) = (bytes.len() as u64, Digest::of_bytes(&bytes));
    fs::write(log.join("manifest.json"), serde_json::to_string(&manifest).unwrap()).unwrap();
}

#[test]
fn a_log_out_of_order_is_not_run() {
    let log = write_log();
    unsort(&log.path().join("log"));
    let desk = Desk::new();
    desk.write("small.toml", experiment_text(log.path()));
    desk.done(&format!("inspect --verify {}", log.path().join("log").display()));
    desk.refused("run small.toml --out run", &["part-", "row 299 is at", "import the log again, which sorts it"]);
}

#[test]
fn an_experiment_is_checked_before_anything_is_done() {
    let log = write_log();
    let desk = Desk::new();
    let text = experiment_text(log.path());
    let refused = |from: &str, to: &str, parts: &[&str]| {
        assert!(text.contains(from), "{from}");
        desk.write("small.toml", text.replace(from, to));
        desk.refused("run small.toml --out run", &[&["small.toml"], parts].concat());
        assert!(!desk.path("run").exists());
    };
    refused("pretrain = 2", "pretrian = 2", &["unknown field `pretrian`", "did you mean \"pretrain\"?"]);
    refused("strategy = \"frozen\"", "strategy = \"frzen\"", &["did you mean \"frozen\"?"]);
    refused("pretrain = 2", "pretrain = \"two\"", &["pretrain", "\"two\""]);
    refused("name = \"incremental\"", "name = \"frozen\"", &["\"frozen\" is there twice"]);
}

#[test]
fn more_pre_training_than_there_are_periods_is_refused() {
    let log = write_log();
    let desk = Desk::new();
    desk.write("small.toml", experiment_text(log.path()).replace("pretrain = 2", "pretrain = 6"));
    desk.refused("run small.toml --out run", &["6 periods", "protocol.pretrain = 6", "data.slicing"]);
}

#[test]
fn a_log_that_is_not_there_is_named() {
    let desk = Desk::new();
    let nowhere = desk.path("nowhere");
    desk.write("small.toml", experiment_text(&nowhere));
    desk.refused("run small.toml --out run", &["nowhere", "not a log", "perennial import"]);
    desk.refused("run nothing.toml", &["nothing.toml"]);
}

#[test]
fn a_folder_is_for_one_run_at_a_time_and_one_experiment() {
    let log = write_log();
    let desk = Desk::new();
    let text = experiment_text(log.path());
    desk.write("small.toml", &text);
    let first = RunLock::acquire(desk.path("run")).unwrap();
    let holder = format!("process {}", std::process::id());
    desk.refused("run small.toml --out run", &["in use by", &holder, "choose another folder"]);
    drop(first);
    desk.done("run small.toml --out run");
    desk.write("other.toml", text.replace("batch_size = 64", "batch_size = 32"));
    desk.refused(
        "run other.toml --out run",
        &["run of another experiment", "\"training\" differs", "--out", "delete it"],
    );
}

/// Versions that another log made must not score this one.
#[test]
fn a_log_that_changed_under_its_run_is_noticed() {
    let log = write_log();
    let desk = Desk::new();
    desk.write("small.toml", experiment_text(log.path()));
    desk.done("run small.toml --out run");
    write_other_log(log.path());
    desk.refused("run small.toml --out run", &["imported anew or changed", "--out", "delete"]);
    desk.done("demo --small --out demo");
    desk.refused("demo --small --out demo --world-seed 2 --quiet", &["the demo of another world"]);
}

/// A disk with room for so many bytes.
struct Room {
    left: AtomicU64,
}

impl Room {
    fn of(bytes: u64) -> Arc<Room> {
        Arc::new(Room { left: AtomicU64::new(bytes) })
    }
}

impl Watch for Room {
    fn before(&self, step: Step<'_>) -> io::Result<()> {
        let Step::Write(path, bytes) = step else { return Ok(()) };
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes.len() as u64));
        let Err(left) = taken else { return Ok(()) };
        fs::write(path, &bytes[..left as usize])?;
        self.left.store(0, Ordering::Relaxed);
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_disk_that_fills_up_while_a_version_is_written_costs_nothing_but_time() {
    let log = write_log();
    let folder = tempfile::tempdir().unwrap();
    let experiment = experiment(log.path());
    let endless = Room::of(u64::MAX);
    let undisturbed =
        run_on(&experiment, &folder.path().join("undisturbed"), 1, Disk::watched(endless.clone())).unwrap();
    let needed = u64::MAX - endless.left.load(Ordering::Relaxed);
    let mut in_store = 0;
    for part in 1..8 {
        let out = folder.path().join(format!("full-{part}"));
        let error = run_on(&experiment, &out, 1, Disk::watched(Room::of(needed * part / 8))).unwrap_err();
        let error = format!("{error:#}");
        if error.contains("/store/") {
            assert!(error.contains("versions RUN collect") && error.contains("run the same command again"), "{error}");
            in_store += 1;
        }
        let outcome = run_on(&experiment, &out, 1, Disk::default()).unwrap();
        assert_eq!(outcome.digest, undisturbed.digest, "after {error}");
    }
    assert!(in_store > 3, "only {in_store} of 7 times the disk was full while a version was written");
}

/// Whether to try what takes minutes and gigabytes as well.
fn big() -> bool {
    std::env::var_os("PERENNIAL_BIG").is_some_and(|value| value == "1")
}

/// A line of 64 MB, and with `PERENNIAL_BIG=1` one of 1 GB: neither is held in memory, quoted or not.
#[cfg(target_os = "linux")]
#[test]
fn a_line_without_end_is_passed_over_without_being_held() {
    let desk = clicks(&[("short.csv", format!("{HEADER}7,a,1.5,10,1\n").as_bytes())]);
    let (usual, _) = desk.done_within("import --schema clicks.toml short.csv --out short", u64::MAX);
    for (megabytes, quote) in [(64, ""), (64, "\""), (1024, "")] {
        if megabytes > 64 && !big() {
            continue;
        }
        write_long_line(&desk.path("long.csv"), megabytes, quote);
        let line = "import --schema clicks.toml long.csv --out log --replace --max-bad 50%";
        // Lines of up to 16 MiB are held, in a buffer that doubles as it grows; 28 MiB were measured for any length.
        let (peak, time) = desk.done_within(line, usual + (48 << 20));
        println!("{megabytes} MB {quote}: {} MiB above {}, {time:?}", (peak - usual) >> 20, usual >> 20);
        let bad = fs::read_to_string(desk.path("log/bad_rows.jsonl")).unwrap();
        assert!(bad.contains("\"line_too_long\"") && bad.contains("\"line\":3"), "{bad}");
        assert_eq!(Log::open(&desk.path("log")).unwrap().manifest().rows, 2);
    }
}

/// A good row, a long one, a good row.
fn write_long_line(path: &Path, megabytes: usize, quote: &str) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    write!(file, "{HEADER}7,a,1.5,10,1\n7,{quote}").unwrap();
    let block = vec![b'x'; 1 << 20];
    (0..megabytes).for_each(|_| file.write_all(&block).unwrap());
    write!(file, "{quote},1.5,11,1\n7,b,1.5,12,0\n").unwrap();
    file.flush().unwrap();
}

/// A field with 200,000 distinct values, with `PERENNIAL_BIG=1` one of ten million.
#[cfg(target_os = "linux")]
#[test]
fn a_field_of_very_many_values_costs_memory_in_proportion() {
    let desk = Desk::new();
    desk.write("clicks.toml", CLICKS);
    let experiment = r#"
        name = "wide"
        log = "log"
        [data]
        slicing = { count = 4 }
        history = 0
        [protocol]
        pretrain = 2
        [model]
        kind = "embedding_mlp"
        dim = 8
        hidden = [8]
        [[method]]
        name = "incremental"
        strategy = "incremental"
        "#;
    desk.write("wide.toml", experiment);
    let values = if big() { 10_000_000 } else { 200_000 };
    let mut file = BufWriter::new(File::create(desk.path("wide.csv")).unwrap());
    file.write_all(HEADER.as_bytes()).unwrap();
    for row in 0..values {
        writeln!(file, "{},item-{row},1.5,{row},{}", row % 1000, u8::from(row % 3 == 0)).unwrap();
    }
    file.flush().unwrap();
    drop(file);
    let (peak, time) = desk.done_within("import --schema clicks.toml wide.csv --out log", 1 << 30);
    println!("import of {values} values: {} MiB, {time:?}", peak >> 20);
    let (peak, time) = desk.done_within("run wide.toml --out run --workers 2", (64 << 20) + values * PER_VALUE);
    println!("run on {values} values: {} MiB, {time:?}, {} bytes a value", peak >> 20, peak / values);
    let said = desk.done("inspect run incremental/1/0002");
    assert!(said.out.contains(&format!("[{}, 8]", values * 3 / 4 + 2)), "{}", said.out);
}

/// Bytes of memory that a run may take for a distinct value of dimension 8; with ten million of them it takes 347 (and
/// 44 seconds). Values and two slots of Adam are 96 of them, in the version before and in the one being made.
#[cfg(target_os = "linux")]
const PER_VALUE: u64 = 400;

/// Scores and negatives are keyed by event: two of one name could not be told apart, least of all when a run goes on.
#[test]
fn events_of_one_name_are_refused() {
    let desk = Desk::new();
    let schema = CLICKS.replace("{ name = \"click\"", "{ name = \"eid\", kind = \"event_id\" },\n{ name = \"click\"");
    desk.write("clicks.toml", schema);
    let rows: String = (0..40).map(|i| format!("{},a,1.5,{},{},{}\n", i % 5, 10 + i, i % 7, i % 2)).collect();
    desk.write("clicks.csv", format!("user,item,price,t,eid,click\n{rows}"));
    desk.done("import --schema clicks.toml clicks.csv --out log");
    desk.write("run.toml", experiment_text(Path::new("")).replace("log = ", "log = \"log\" # "));
    desk.refused("run run.toml --out run", &["two events of the id"]);
}

/// A part of a log that changed since it was written is named, not trained on.
#[test]
fn a_damaged_log_is_not_trained_on() {
    let log = write_log();
    let folder = log.path().join("log");
    let part = files_beneath(&folder).into_iter().find(|path| path.extension().is_some_and(|end| end == "parquet"));
    let part = part.unwrap_or_else(|| panic!("no part in {}", folder.display()));
    let mut bytes = fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&part, bytes).unwrap();
    let out = tempfile::tempdir().unwrap();
    let error = format!("{:#}", run_on(&experiment(log.path()), out.path(), 1, Disk::default()).unwrap_err());
    assert!(error.contains(part.file_name().unwrap().to_str().unwrap()), "{error}");
}
