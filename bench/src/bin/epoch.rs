//! One pass of training over a prepared log - read, look up ids, grow tables, train - in examples per second of processor
//! time, as JSON.

use anyhow::Result;
use clap::Parser;
use perennial_bench::fixture::Ids;
use perennial_bench::timing::Timing;
use perennial_bench::wide::Wide;
use perennial_core::{Column, FeatureSet};
use perennial_data::{ImportOptions, import, log::Log};
use perennial_learn::{Archive, Env, LearnError, Learned, TrainingConfig, pretrain};
use perennial_model::{BackboneConfig, Encoder, EncoderConfig};
use perennial_nn::Workers;
use perennial_stream::{Cache, PrepareConfig, Prepared, SeenPeriod, prepare};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Trains a model from nothing on a log of 12 fields of ids, period files and all.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rows of the log
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// Ids in all
    #[arg(long, default_value_t = 1_000_000)]
    ids: usize,
    /// The model, as its configuration in JSON
    #[arg(long, default_value = r#"{"kind": "lr"}"#)]
    model: String,
    /// Examples per step
    #[arg(long, default_value_t = 4096)]
    batch: usize,
    /// Passes over the examples
    #[arg(long, default_value_t = 1)]
    epochs: u32,
    /// How ids are drawn
    #[arg(long, value_enum, default_value = "zipf")]
    distribution: Ids,
    /// Threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Timed repetitions
    #[arg(long, default_value_t = 3)]
    repeats: usize,
}

const FIELDS: usize = 12;
const PERIODS: usize = 4;

#[allow(clippy::print_stdout, reason = "a benchmark prints its result")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let wide = Wide { categorical: FIELDS, numeric: 0, ids: arguments.ids };
    let folder = tempfile::tempdir()?;
    let prepared = prepare_log(&wide, &arguments, folder.path())?;
    let config: BackboneConfig = serde_json::from_str(&arguments.model)?;
    let training =
        TrainingConfig { batch_size: arguments.batch, pretrain_epochs: arguments.epochs, ..TrainingConfig::default() };
    let blank = || {
        let encoder = Encoder::new(FeatureSet::of(&wide.schema(), false), EncoderConfig::default());
        Learned::new(&config, encoder, &training, 1)
    };
    let workers = Workers::new(arguments.workers);
    let mut last = None;
    let timing = Timing::of(arguments.repeats, arguments.rows * arguments.epochs as usize, || {
        let (seen, _) = prepared.pretraining(PERIODS).expect("the periods were prepared");
        last = train(&blank, &seen, &training, &workers).expect("the settings are sound");
    });
    let row = serde_json::json!({
        "form": "perennial", "model": arguments.model, "fields": FIELDS, "rows": arguments.rows, "ids": arguments.ids,
        "batch": arguments.batch, "epochs": arguments.epochs, "threads": arguments.workers,
        "distribution": format!("{:?}", arguments.distribution).to_lowercase(),
        "kernels": perennial_nn::kernel_set(), "examples_per_second": 1.0 / timing.median(),
        "examples_per_cpu_second": timing.cpu_min().map(|seconds| 1.0 / seconds), "last_loss": last,
    });
    println!("{row}");
    Ok(())
}

/// Writes a log as CSV, imports it, and cuts it into periods.
fn prepare_log(wide: &Wide, arguments: &Arguments, folder: &Path) -> Result<Prepared> {
    let (csv, out) = (folder.join("wide.csv"), folder.join("log"));
    write_csv(wide, arguments, &csv)?;
    import(&ImportOptions::new(vec![csv], wide.schema(), out.clone()), &|_| {})?;
    let config: PrepareConfig = serde_json::from_value(serde_json::json!({ "slicing": { "count": PERIODS } }))?;
    Ok(prepare(&Log::open(&out)?, &config, &Cache::at(folder.join("prepared")), &mut |_| true)?)
}

fn write_csv(wide: &Wide, arguments: &Arguments, path: &Path) -> Result<()> {
    let data = wide.examples(arguments.distribution, arguments.rows);
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let names: Vec<String> = (0..FIELDS).map(|field| format!("c{field}")).collect();
    writeln!(file, "{},when,click", names.join(","))?;
    for row in 0..arguments.rows {
        for column in &data.columns {
            let Column::Id(ids) = column else { unreachable!("there are only ids") };
            write!(file, "{},", ids[row])?;
        }
        writeln!(file, "{},{}", 1_500_000_000 + row / 100, data.label[row])?;
    }
    Ok(file.flush()?)
}

/// Trains a new model on all periods; the mean loss of the last pass.
fn train(
    blank: &(dyn Fn() -> Result<Learned, LearnError> + Sync),
    seen: &SeenPeriod,
    training: &TrainingConfig,
    workers: &Workers,
) -> Result<Option<f64>, LearnError> {
    let pretrained = blank()?;
    let env = Env {
        training,
        seed: 1,
        pretrained: &pretrained,
        blank,
        pretraining: &|| Ok(seen.clone()),
        archive: &Nothing,
        workers,
        progress: &|_, _| true,
    };
    Ok(pretrain(blank()?, seen, &env)?.1.loss)
}

/// No period was seen before.
struct Nothing;

impl Archive for Nothing {
    fn seen(&self, period: u32) -> Result<SeenPeriod, LearnError> {
        unreachable!("pre-training asks for no earlier period, least of all {period}")
    }
}
