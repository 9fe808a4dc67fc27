//! What an objective costs beside plain cross-entropy, as JSON: pairs of stretches of training, in turns.

use anyhow::Result;
use clap::Parser;
use perennial_bench::fixture::{Ids, Shape, examples, model, model_of};
use perennial_bench::timing::{Timing, quantile};
use perennial_core::{Encoded, Stream};
use perennial_learn::{Learned, Trainer, TrainingConfig};
use perennial_model::Objective;
use perennial_nn::Workers;

/// Times training steps under an objective and under cross-entropy alone, of the same model on the same examples.
#[derive(Debug, Parser)]
struct Arguments {
    /// The objective, in JSON
    #[arg(long, default_value = r#"{ "bce": 0.8, "self_correction": 0.2 }"#)]
    objective: String,
    /// Another model than Embedding&MLP 200-80, as its configuration in JSON
    #[arg(long)]
    model: Option<String>,
    /// Users, and items
    #[arg(long, default_value_t = 50_000)]
    ids: usize,
    /// Examples per step
    #[arg(long, default_value_t = 1024)]
    batch: usize,
    /// Threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Timed pairs
    #[arg(long, default_value_t = 15)]
    pairs: usize,
    /// Steps of each half of a pair
    #[arg(long, default_value_t = 50)]
    steps: usize,
}

#[allow(clippy::print_stdout, reason = "a benchmark prints its result")]
fn main() -> Result<()> {
    let Arguments { objective, model, ids, batch, workers, pairs, steps } = Arguments::parse();
    let objective: Objective = serde_json::from_str(&objective)?;
    let shape = Shape { ids, drawn: ids, history: 30, dim: 8, hidden: vec![200, 80] };
    let mut data = examples(&shape, Ids::Uniform, batch * steps);
    let mut stream = Stream::new(&[13]);
    data.previous = (0..data.len()).map(|_| stream.normal() as f32).collect();
    let threads = Workers::new(workers);
    let mut with = Half::new(objective, model.as_deref(), &shape, batch)?;
    let mut without = Half::new(Objective::BCE, model.as_deref(), &shape, batch)?;
    for _ in 0..=pairs {
        with.train(&data, steps, &threads);
        without.train(&data, steps, &threads);
    }
    // The first pair warmed up.
    let ratios: Vec<f64> = with.seconds[1..].iter().zip(&without.seconds[1..]).map(|(a, b)| a / b).collect();
    let row = serde_json::json!({
        "objective": objective.name(), "batch": batch, "threads": workers, "pairs": pairs,
        "kernels": perennial_nn::kernel_set(), "ms_with": quantile(&with.seconds[1..], 0.5) * 1e3,
        "ms_without": quantile(&without.seconds[1..], 0.5) * 1e3,
        "ratio_median": quantile(&ratios, 0.5), "ratio_quartiles": [quantile(&ratios, 0.25), quantile(&ratios, 0.75)],
        "ratio_interval_95": interval(&ratios),
    });
    println!("{row}");
    Ok(())
}

/// Order statistics between which the median lies with a chance of 95 %, by the signs of the differences: of 15 pairs
/// the 4th and the 12th.
fn interval(ratios: &[f64]) -> [f64; 2] {
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let inside = ((n - 1.96 * n.sqrt()) / 2.0).floor().max(0.0) as usize;
    [sorted[inside], sorted[sorted.len() - 1 - inside]]
}

/// One of the two that take turns.
struct Half {
    training: TrainingConfig,
    learned: Learned,
    /// Per step, pair by pair.
    seconds: Vec<f64>,
}

impl Half {
    fn new(objective: Objective, config: Option<&str>, shape: &Shape, batch: usize) -> Result<Half> {
        let training = TrainingConfig { batch_size: batch, objective, ..TrainingConfig::default() };
        let learned = match config {
            None => model(shape, &training)?,
            Some(config) => model_of(&serde_json::from_str(config)?, shape, &training)?,
        };
        Ok(Half { training, learned, seconds: Vec::new() })
    }

    fn train(&mut self, data: &Encoded, steps: usize, threads: &Workers) {
        let order: Vec<u32> = (0..data.len() as u32).collect();
        let mut trainer = Trainer::new(&self.training, 1);
        let learned = &mut self.learned;
        let mut timing = Timing::default();
        timing.add(steps, || {
            for batch in order.chunks(self.training.batch_size) {
                trainer.step(learned, data, batch, threads);
            }
        });
        self.seconds.push(timing.min());
    }
}
