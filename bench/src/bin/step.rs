//! One whole training step - lookup, forward, backward, update - in milliseconds, as JSON.

use anyhow::Result;
use clap::Parser;
use perennial_bench::fixture::{Ids, Shape, examples, model, model_of};
use perennial_bench::timing::Timing;
use perennial_learn::{Trainer, TrainingConfig};
use perennial_nn::Workers;

/// Times training steps of Embedding&MLP, or of another model.
#[derive(Debug, Parser)]
struct Arguments {
    /// Users, and items
    #[arg(long, default_value_t = 50_000)]
    ids: usize,
    /// Examples per step
    #[arg(long, default_value_t = 1024)]
    batch: usize,
    /// Items in a history
    #[arg(long, default_value_t = 30)]
    history: usize,
    /// Floats per embedding
    #[arg(long, default_value_t = 8)]
    dim: usize,
    /// Widths of hidden layers
    #[arg(long, value_delimiter = ',', default_value = "200,80")]
    hidden: Vec<usize>,
    /// Another model, as its configuration in JSON; `dim` and `hidden` are then its own
    #[arg(long)]
    model: Option<String>,
    /// How ids are drawn
    #[arg(long, value_enum, default_value = "uniform")]
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
    #[arg(long, default_value_t = 100)]
    steps: usize,
}

#[allow(clippy::print_stdout, reason = "a benchmark prints its result")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Arguments { ids, batch, history, dim, ref hidden, distribution, workers, shards, repeats, steps, .. } =
        arguments;
    let shape = Shape { ids, drawn: ids, history, dim, hidden: hidden.clone() };
    let training = TrainingConfig { batch_size: batch, shards, ..TrainingConfig::default() };
    let mut learned = match &arguments.model {
        None => model(&shape, &training)?,
        Some(config) => model_of(&serde_json::from_str(config)?, &shape, &training)?,
    };
    let data = examples(&shape, distribution, batch * steps);
    // In order, as the peer reads its batches: the ids are random already, and loading data is not what is timed.
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
        "form": "perennial", "ids": ids, "batch": batch, "history": history, "dim": dim, "hidden": hidden,
        "distribution": format!("{distribution:?}").to_lowercase(), "threads": workers, "shards": shards,
        "kernels": perennial_nn::kernel_set(),
        "ms_min": timing.min() * 1e3, "ms_median": timing.median() * 1e3, "ms_max": timing.max() * 1e3,
        "cpu_ms_min": timing.cpu_min().map(|seconds| seconds * 1e3),
        "examples_per_second": batch as f64 / timing.median(), "last_loss": last,
    });
    println!("{row}");
    Ok(())
}
