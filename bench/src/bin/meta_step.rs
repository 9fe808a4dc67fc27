//! One whole step of training ASMG's generator - generate, differentiate, update - in milliseconds, as JSON.

use anyhow::Result;
use clap::Parser;
use perennial_bench::fixture::{Ids, Shape, distinct_rows, examples, model};
use perennial_bench::timing::Timing;
use perennial_core::Encoded;
use perennial_learn::{Sequence, TrainingConfig, Unrolled};
use perennial_model::generator::{Activity, Generator, GeneratorConfig, Reading, Snapshot, StateFormat, States};
use perennial_model::{Objective, Servable};
use perennial_nn::Workers;
use perennial_nn::optim::{Optimiser, Rule};

/// Times steps of GRUmulti: each generates what its batches read of a sequence of Embedding&MLP models, one batch per
/// model, and moves the weights of all generators by Adam.
#[derive(Debug, Parser)]
struct Arguments {
    /// Users, and items
    #[arg(long, default_value_t = 50_000)]
    ids: usize,
    /// Examples of each of the sequence's batches
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Items in a history
    #[arg(long, default_value_t = 30)]
    history: usize,
    /// Floats per embedding
    #[arg(long, default_value_t = 8)]
    dim: usize,
    /// Widths of hidden layers
    #[arg(long, value_delimiter = ',', default_value = "208,84")]
    hidden: Vec<usize>,
    /// Models in the sequence
    #[arg(long, default_value_t = 3)]
    models: usize,
    /// Floats of hidden state per parameter
    #[arg(long, default_value_t = 4)]
    state: usize,
    /// Threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Timed repetitions of `steps` steps
    #[arg(long, default_value_t = 7)]
    repeats: usize,
    /// Steps of a repetition, each on examples of its own
    #[arg(long, default_value_t = 20)]
    steps: usize,
}

#[allow(clippy::print_stdout, reason = "a benchmark prints its result")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Arguments { ids, batch, history, dim, ref hidden, models, state, workers, repeats, steps } = arguments;
    let shape = Shape { ids, drawn: ids, history, dim, hidden: hidden.clone() };
    let training = TrainingConfig::default();
    let servable = model(&shape, &training)?.servable;
    let data = examples(&shape, Ids::Uniform, batch * models * steps);
    let mut trained = MetaTraining::new(&servable, models, state, training.shards);
    let threads = Workers::new(workers);
    let order: Vec<u32> = (0..data.len() as u32).collect();
    let mut last = 0.0;
    let timing = Timing::of(repeats, steps, || {
        for step in order.chunks(batch * models) {
            let batches: Vec<&[u32]> = step.chunks(batch).collect();
            last = trained.step(&servable, &data, &batches, &threads);
        }
    });
    let dense: usize = servable.params.dense.iter().map(|dense| dense.values.len()).sum();
    let row = serde_json::json!({
        "form": "perennial", "ids": ids, "batch": batch, "models": models, "state": state, "threads": workers,
        "dense_coordinates": dense, "rows_read": distinct_rows(&data, batch * models), "dim": dim,
        "weights": trained.generator.size(), "kernels": perennial_nn::kernel_set(),
        "ms_min": timing.min() * 1e3, "ms_median": timing.median() * 1e3, "ms_max": timing.max() * 1e3,
        "cpu_ms_min": timing.cpu_min().map(|seconds| seconds * 1e3), "last_loss": last,
    });
    println!("{row}");
    Ok(())
}

/// A generator and the sequence that it is trained on: as many times the same model, which costs what others would.
struct MetaTraining {
    generator: Generator,
    optimiser: Optimiser,
    snapshots: Vec<Snapshot>,
    start: Vec<States>,
    unrolled: Unrolled,
    steps: u64,
}

impl MetaTraining {
    fn new(servable: &Servable, models: usize, hidden: usize, shards: usize) -> MetaTraining {
        let optimiser = Optimiser::new(Rule::ADAM, 1e-3);
        let config = GeneratorConfig { hidden, ..GeneratorConfig::default() };
        let params = servable.params.values_only();
        let activity = vec![Activity::default(); params.tables.len()];
        let generator = Generator::new(&config, servable.backbone.spec(), &optimiser, 1);
        MetaTraining {
            start: generator.zero_states(StateFormat::F32, &params),
            generator,
            optimiser,
            unrolled: Unrolled::new(shards, params.tables.len()),
            snapshots: vec![Snapshot { params, activity }; models],
            steps: 0,
        }
    }

    /// The mean of the losses of the batches, one for each model generated.
    fn step(&mut self, servable: &Servable, data: &Encoded, batches: &[&[u32]], workers: &Workers) -> f64 {
        let readings: Vec<Reading<'_>> = self.snapshots.iter().map(|now| Reading { now, before: None }).collect();
        let sequence = Sequence { readings: &readings, start: &self.start, copies: false };
        let (sets, shares) = (vec![Some(data); batches.len()], vec![1.0 / batches.len() as f64; batches.len()]);
        let Self { generator, unrolled, optimiser, steps, .. } = self;
        let backbone = &servable.backbone;
        let loss = workers.run(|| {
            unrolled.differentiate(generator, backbone, sequence, &sets, batches, &shares, Objective::BCE, workers)
        });
        *steps += 1;
        let step = optimiser.step(*steps, optimiser.learning_rate);
        let mut pairs: Vec<_> = generator.weights.iter_mut().zip(&unrolled.gradients).collect();
        workers.for_each(&mut pairs, |_, (dense, grads)| dense.update(grads, &step));
        loss
    }
}
