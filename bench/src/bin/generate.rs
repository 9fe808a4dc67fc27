//! How long a generator takes to make a serving model of all parameters, and what it remembers of them, as JSON.

use anyhow::Result;
use clap::Parser;
use perennial_bench::fixture::{Shape, model};
use perennial_bench::timing::Timing;
use perennial_learn::TrainingConfig;
use perennial_model::generator::{Activity, Generator, GeneratorConfig, Reading, Snapshot, StateFormat};
use perennial_nn::Workers;
use perennial_nn::optim::{Optimiser, Rule};

/// Times one step of ASMG's generator over all parameters of Embedding&MLP 20-10.
#[derive(Debug, Parser)]
struct Arguments {
    /// Users, and items
    #[arg(long, default_value_t = 625_000)]
    ids: usize,
    /// Floats per embedding
    #[arg(long, default_value_t = 8)]
    dim: usize,
    /// Threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Timed repetitions
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

#[allow(clippy::print_stdout, reason = "a benchmark prints its result")]
fn main() -> Result<()> {
    let Arguments { ids, dim, workers, repeats } = Arguments::parse();
    let shape = Shape { ids, drawn: ids, history: 30, dim, hidden: vec![20, 10] };
    let servable = model(&shape, &TrainingConfig::default())?.servable;
    let params = servable.params.values_only();
    let tables = params.tables.iter().map(|table| table.rows() as usize * dim).sum::<usize>();
    let parameters = tables + params.dense.iter().map(|dense| dense.values.len()).sum::<usize>();
    let optimiser = Optimiser::new(Rule::ADAM, 1e-2);
    let generator = Generator::new(&GeneratorConfig::default(), servable.backbone.spec(), &optimiser, 1);
    let snapshot = Snapshot { activity: vec![Activity::default(); params.tables.len()], params };
    let reading = Reading { now: &snapshot, before: None };
    let threads = Workers::new(workers);
    let mut rows = Vec::new();
    for format in [StateFormat::F32, StateFormat::Bf16, StateFormat::I16, StateFormat::I8] {
        let mut states = generator.zero_states(format, &snapshot.params);
        let timing = Timing::of(repeats, 1, || {
            let made = generator.step(&reading, &mut states, true, |_, _| false, &threads);
            assert!(made.is_some(), "parameters were asked for");
        });
        let bytes: usize = states.iter().map(|states| states.bytes()).sum();
        rows.push(serde_json::json!({
            "states": format, "seconds_min": timing.min(), "seconds_median": timing.median(),
            "state_bytes_per_parameter": bytes as f64 / parameters as f64,
        }));
    }
    let report = serde_json::json!({
        "parameters": parameters, "workers": workers, "kernels": perennial_nn::kernel_set(),
        "snapshot_bytes_per_parameter": snapshot.params.bytes() as f64 / parameters as f64, "formats": rows,
    });
    println!("{report:#}");
    Ok(())
}
