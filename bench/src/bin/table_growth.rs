//! Whether a training step costs the same on a table of twenty million rows as on one of a million, as JSON lines.
//!
//! All sizes are held at once and take turns, so that what else the machine does falls on all of them alike. Ids are
//! uniform over all rows, or follow a Zipf law over as many ids as the smallest table has rows, scattered over the
//! larger ones: both meet nearly the same number of distinct rows per batch at every size.

use anyhow::{Context, Result};
use clap::Parser;
use perennial_bench::fixture::{Ids, Shape, distinct_rows, examples, model};
use perennial_bench::timing::Timing;
use perennial_core::Encoded;
use perennial_learn::{Learned, Trainer, TrainingConfig};
use perennial_nn::Workers;

/// Times training steps of Embedding&MLP 200-80 against the number of rows of its tables.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rows of the table of users, and of the table of items; 192 bytes of memory for each
    #[arg(long, value_delimiter = ',', default_value = "1000000,5000000,20000000")]
    rows: Vec<usize>,
    /// Timed rounds
    #[arg(long, default_value_t = 9)]
    repeats: usize,
    /// Steps of a round, each on examples of its own
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

const BATCH: usize = 1024;

/// One size of table.
struct Subject {
    rows: usize,
    learned: Learned,
    data: Encoded,
    timing: Timing,
}

#[allow(clippy::print_stdout, reason = "a benchmark prints its result")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let training = TrainingConfig { batch_size: BATCH, ..TrainingConfig::default() };
    let smallest = *arguments.rows.iter().min().context("--rows wants at least one number")?;
    let shape = |ids| Shape { ids, drawn: smallest, history: 30, dim: 8, hidden: vec![200, 80] };
    let subjects = arguments.rows.iter().map(|&rows| {
        let learned = model(&shape(rows), &training)?;
        Ok(Subject { rows, learned, data: Encoded::default(), timing: Timing::default() })
    });
    let mut subjects: Vec<Subject> = subjects.collect::<Result<_>>()?;
    for ids in [Ids::Uniform, Ids::Zipf] {
        for subject in &mut subjects {
            let mut shape = shape(subject.rows);
            if ids == Ids::Uniform {
                shape.drawn = subject.rows;
            }
            subject.data = examples(&shape, ids, BATCH * arguments.steps);
            subject.timing = Timing::default();
        }
        take_turns(&mut subjects, &training, &arguments);
        for subject in &subjects {
            println!("{}", row(subject, ids, &subjects[0]));
        }
    }
    Ok(())
}

fn take_turns(subjects: &mut [Subject], training: &TrainingConfig, arguments: &Arguments) {
    let order: Vec<u32> = (0..(BATCH * arguments.steps) as u32).collect();
    let workers = Workers::new(arguments.workers);
    let mut trainer = Trainer::new(training, 1);
    let mut pass = |learned: &mut Learned, data: &Encoded| {
        for batch in order.chunks(BATCH) {
            trainer.step(learned, data, batch, &workers);
        }
    };
    for round in 0..=arguments.repeats {
        for Subject { learned, data, timing, .. } in subjects.iter_mut() {
            match round {
                0 => pass(learned, data),
                _ => timing.add(arguments.steps, || pass(learned, data)),
            }
        }
    }
}

fn row(subject: &Subject, ids: Ids, first: &Subject) -> serde_json::Value {
    let timing = &subject.timing;
    serde_json::json!({
        "rows": subject.rows, "distribution": format!("{ids:?}").to_lowercase(),
        "distinct_rows_per_batch": distinct_rows(&subject.data, BATCH).round(),
        "ms_min": timing.min() * 1e3, "ms_median": timing.median() * 1e3, "ms_max": timing.max() * 1e3,
        "cpu_ms_min": timing.cpu_min().map(|seconds| seconds * 1e3),
        "ratio_to_first": timing.median_ratio(&first.timing),
    })
}
