//! How long one row takes to score in process - encode, look up, forward - in microseconds, as JSON.

use anyhow::Result;
use clap::Parser;
use perennial_bench::fixture::{Shape, model};
use perennial_bench::timing::quantile;
use perennial_core::{Column, Examples, Spans, Stream};
use perennial_learn::TrainingConfig;
use perennial_model::Servable;
use std::time::Instant;

/// Times requests of one row against Embedding&MLP 200-80.
#[derive(Debug, Parser)]
struct Arguments {
    /// Users, and items
    #[arg(long, default_value_t = 50_000)]
    ids: usize,
    /// Items in a history
    #[arg(long, default_value_t = 30)]
    history: usize,
    /// Requests
    #[arg(long, default_value_t = 100_000)]
    requests: usize,
}

/// One row as a caller has it: keys per vocabulary, and columns that refer to them.
struct Request {
    keys: Vec<Vec<u64>>,
    columns: Vec<Column>,
}

#[allow(clippy::print_stdout, reason = "a benchmark prints its result")]
fn main() -> Result<()> {
    let Arguments { ids, history, requests } = Arguments::parse();
    let servable = servable(ids, history)?;
    let mut scorer = servable.serving().scorer();
    let mut stream = Stream::new(&[11]);
    let all: Vec<Request> = (0..requests).map(|_| request(&mut stream, ids, history)).collect();
    let mut microseconds = Vec::with_capacity(requests);
    let mut sum = 0.0;
    for request in all.iter().take(1000).chain(&all) {
        let clock = Instant::now();
        let logits = scorer.score(&request.keys, &request.columns, 1)?;
        microseconds.push(clock.elapsed().as_secs_f64() * 1e6);
        sum += logits[0];
    }
    let timed = &microseconds[1000.min(requests)..];
    let row = serde_json::json!({
        "ids": ids, "history": history, "requests": requests, "kernels": perennial_nn::kernel_set(),
        "us_p50": quantile(timed, 0.5), "us_p99": quantile(timed, 0.99), "us_min": quantile(timed, 0.0),
        "mean_logit": sum / microseconds.len() as f32,
    });
    println!("{row}");
    Ok(())
}

/// A model that has met every id.
fn servable(ids: usize, history: usize) -> Result<Servable> {
    let shape = Shape { ids: 0, drawn: 0, history, dim: 8, hidden: vec![200, 80] };
    let mut servable = model(&shape, &TrainingConfig::default())?.servable;
    let (keys, local): (Vec<u64>, Vec<u32>) = (0..ids as u32).map(|id| (u64::from(id), id)).unzip();
    let spans = Spans { start: vec![0; ids], len: vec![0; ids] };
    let mut columns = vec![Column::Id(local.clone()), Column::Id(local)];
    if history > 0 {
        columns.push(Column::bag(spans, Vec::new(), None));
    }
    let seen = Examples { keys: vec![keys.clone(), keys], columns, label: vec![1.0; ids], ..Examples::default() };
    let admitted = servable.encoder.observe(&[&seen]);
    servable.params.grow(servable.backbone.spec(), &admitted);
    Ok(servable)
}

/// A random user and item, and a history of random items.
fn request(stream: &mut Stream, ids: usize, history: usize) -> Request {
    let user = stream.below(ids as u64);
    let items: Vec<u64> = (0..=history).map(|_| stream.below(ids as u64)).collect();
    let mut columns = vec![Column::Id(vec![0]), Column::Id(vec![0])];
    if history > 0 {
        let spans = Spans { start: vec![0], len: vec![history as u32] };
        columns.push(Column::bag(spans, (1..=history as u32).collect(), None));
    }
    Request { keys: vec![vec![user], items], columns }
}
