//! How fast logs are imported: writes a sorted log of 12 columns as CSV and as Parquet, and imports both.
//!
//! `cargo run --release -p perennial-data --example import_speed -- [ROWS] [DIRECTORY]`

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch};
use perennial_core::Schema;
use perennial_core::rng::Stream;
use perennial_data::{ImportOptions, import};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// One timestamp, two ids, six ids of few values, two numbers, one label.
const SCHEMA: &str = r#"
    name = "speed"
    field = [
      { name = "t", kind = "timestamp", unit = "ms" },
      { name = "user", kind = "id", role = "user", id = "int" },
      { name = "item", kind = "id", role = "item", id = "int" },
      { name = "c0", kind = "id", id = "int" },
      { name = "c1", kind = "id", id = "int" },
      { name = "c2", kind = "id", id = "int" },
      { name = "c3", kind = "id", id = "int" },
      { name = "c4", kind = "id", id = "int" },
      { name = "c5", kind = "id", id = "int" },
      { name = "price", kind = "numeric" },
      { name = "age", kind = "numeric" },
      { name = "click", kind = "label" },
    ]"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let rows: u64 = arguments.next().map_or(Ok(2_000_000), |text| text.parse())?;
    let scratch = tempfile::tempdir()?;
    let dir = arguments.next().map_or(scratch.path().to_owned(), Into::into);
    std::fs::create_dir_all(&dir)?;
    write_files(&dir, rows)?;
    for name in ["speed.csv", "speed.parquet"] {
        for threads in [1, 3] {
            let mut options = ImportOptions::new(vec![dir.join(name)], Schema::parse(SCHEMA)?, dir.join("log"));
            (options.partition.replace, options.threads) = (true, threads);
            let start = Instant::now();
            let summary = import(&options, &|_| {})?;
            let seconds = start.elapsed().as_secs_f64();
            let bytes: u64 = summary.manifest.parts.iter().map(|part| part.bytes).sum();
            let stderr = &mut std::io::stderr();
            let rate = rows as f64 / seconds / 1e6;
            writeln!(stderr, "{name}, {threads} thread(s): {rate:.2} M rows/s, {} bytes/row", bytes / rows)?;
        }
    }
    Ok(())
}

fn write_files(dir: &Path, rows: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut csv = BufWriter::new(File::create(dir.join("speed.csv"))?);
    writeln!(csv, "t,user,item,c0,c1,c2,c3,c4,c5,price,age,click")?;
    let mut parquet = None;
    let mut stream = Stream::new(&[12]);
    let mut time = 1_500_000_000_000;
    for start in (0..rows).step_by(100_000) {
        let batch = random_rows(&mut stream, &mut time, (rows - start).min(100_000) as usize)?;
        write_csv(&mut csv, &batch)?;
        let writer = match &mut parquet {
            Some(writer) => writer,
            none => {
                let file = File::create(dir.join("speed.parquet"))?;
                none.insert(parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None)?)
            }
        };
        writer.write(&batch)?;
    }
    if let Some(writer) = parquet {
        writer.close()?;
    }
    Ok(csv.flush()?)
}

fn random_rows(stream: &mut Stream, time: &mut i64, rows: usize) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut ids = |bound: u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values((0..rows).map(|_| stream.below(bound) as i64)))
    };
    let mut columns = vec![("user", ids(300_000)), ("item", ids(50_000))];
    let small = [("c0", 4), ("c1", 8), ("c2", 25), ("c3", 12), ("c4", 30), ("c5", 7)];
    columns.extend(small.map(|(name, bound)| (name, ids(bound))));
    let prices = (0..rows).map(|_| (stream.unit_f64() * 10_000.0).round() / 100.0).collect::<Vec<_>>();
    let ages = (0..rows).map(|_| stream.below(3_000) as f64 / 10.0).collect::<Vec<_>>();
    let clicks = (0..rows).map(|_| f32::from(u8::from(stream.below(20) == 0))).collect::<Vec<_>>();
    let times = (0..rows).map(|_| {
        *time += stream.below(50) as i64;
        *time
    });
    let times: ArrayRef = Arc::new(Int64Array::from_iter_values(times.collect::<Vec<_>>()));
    columns.insert(0, ("t", times));
    columns.push(("price", Arc::new(Float64Array::from(prices))));
    columns.push(("age", Arc::new(Float64Array::from(ages))));
    columns.push(("click", Arc::new(Float32Array::from(clicks))));
    RecordBatch::try_from_iter(columns)
}

fn write_csv(file: &mut impl Write, batch: &RecordBatch) -> Result<(), Box<dyn std::error::Error>> {
    let text = |column: &ArrayRef| arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8);
    let columns = batch.columns().iter().map(text).collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        for (i, column) in columns.iter().enumerate() {
            let cell = arrow::array::AsArray::as_string::<i32>(column).value(row);
            let cell = cell.strip_suffix(".0").unwrap_or(cell);
            write!(file, "{}{cell}", if i > 0 { "," } else { "" })?;
        }
        writeln!(file)?;
    }
    Ok(())
}
