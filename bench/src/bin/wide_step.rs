//! One whole training step of a model on a wide log - lookup, forward, backward, update - in milliseconds, as JSON.

use anyhow::Result;
use clap::Parser;
use perennial_bench::fixture::Ids;
use perennial_bench::timing::Timing;
use perennial_bench::wide::Wide;
use perennial_learn::{Trainer, TrainingConfig};
use perennial_nn::Workers;

/// Times training steps of DeepFM on ids and numbers, or of another model.
#[derive(Debug, Parser)]
struct Arguments {
    /// Fields of ids
    #[arg(long, default_value_t = 26)]
    categorical: usize,
    /// Fields of numbers
    #[arg(long, default_value_t = 13)]
    numeric: usize,
    /// Ids in all
    #[arg(long, default_value_t = 1_000_000)]
    ids: usize,
    /// Examples per step
    #[arg(long, default_value_t = 4096)]
    batch: usize,
    /// Floats per vector of DeepFM
    #[arg(long, default_value_t = 16)]
    dim: usize,
    /// Widths of the hidden layers of DeepFM
    #[arg(long, value_delimiter = ',', default_value = "400,400,400")]
    hidden: Vec<usize>,
    /// Another model, as its configuration in JSON; `dim` and `hidden` are then its own
    #[arg(long)]
    model: Option<String>,
    /// How ids are drawn
    #[arg(long, value_enum, default_value = "zipf")]
    distribution: Ids,
    /// Threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Parts of a batch that are computed apart
    #[arg(long, default_value_t = 4)]
    shards: usize,
    /// Timed repetitions of `steps` steps
    #[arg(long, default_value_t = 7)]
    repeats: usize,
    /// Steps of a repetition, each on examples of its own
    #[arg(long, default_value_t = 10)]
    steps: usize,
}

#[allow(clippy::print_stdout, reason = "a benchmark prints its result")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Arguments { categorical, numeric, ids, batch, dim, ref hidden, workers, shards, repeats, steps, .. } =
        arguments;
    let wide = Wide { categorical, numeric, ids };
    let deepfm = serde_json::json!({
        "kind": "deepfm", "fields": { "dim": dim, "init": { "normal": { "std": 0.01 } } }, "mlp": { "hidden": hidden }
    });
    let config = match &arguments.model {
        None => serde_json::from_value(deepfm)?,
        Some(text) => serde_json::from_str(text)?,
    };
    let training = TrainingConfig { batch_size: batch, shards, ..TrainingConfig::default() };
    let mut learned = wide.model(&config, &training)?;
    let data = wide.examples(arguments.distribution, batch * steps);
    let order: Vec<u32> = (0..data.len() as u32).collect();
    let threads = Workers::new(workers);
    let mut trainer = Trainer::new(&training, 1);
    let mut last = 0.0;
    let timing = Timing::of(repeats, steps, || {
        for batch in order.chunks(batch) {
            (last, _) = trainer.step(&mut learned, &data, batch, &threads);
        }
    });
    let row = serde_json::json!({
        "form": "perennial", "categorical": categorical, "numeric": numeric, "ids": ids, "batch": batch, "dim": dim,
        "hidden": hidden, "distribution": format!("{:?}", arguments.distribution).to_lowercase(), "threads": workers,
        "shards": shards, "kernels": perennial_nn::kernel_set(),
        "ms_min": timing.min() * 1e3, "ms_median": timing.median() * 1e3, "ms_max": timing.max() * 1e3,
        "cpu_ms_min": timing.cpu_min().map(|seconds| seconds * 1e3),
        "examples_per_cpu_second": timing.cpu_min().map(|seconds| batch as f64 / seconds), "last_loss": last,
    });
    println!("{row}");
    Ok(())
}
