//! A click log in memory: one user, one item and a full history per example.

use perennial_core::{Column, Encoded, FeatureSet, Schema, Spans, Stream};
use perennial_learn::{Learned, TrainingConfig};
use perennial_model::encoder::RESERVED_ROWS;
use perennial_model::{BackboneConfig, Encoder, EncoderConfig};

/// How ids are drawn.
#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Ids {
    /// All alike.
    Uniform,
    /// In proportion to 1 / rank^1.05.
    Zipf,
}

/// Sizes of a fixture.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Rows of the table of users, and of the table of items.
    pub ids: usize,
    /// How many of them occur, scattered over the tables; at most `ids`.
    pub drawn: usize,
    /// Items in a history.
    pub history: usize,
    /// Floats per embedding.
    pub dim: usize,
    /// Widths of hidden layers.
    pub hidden: Vec<usize>,
}

/// The schema of the log.
pub fn schema() -> Schema {
    let text = r#"
        name = "bench"
        field = [
          { name = "user", kind = "id", role = "user", id = "int" },
          { name = "item", kind = "id", role = "item", id = "int" },
          { name = "when", kind = "timestamp", unit = "s" },
          { name = "click", kind = "label" },
        ]"#;
    Schema::parse(text).expect("the schema is fixed")
}

/// An Embedding&MLP with a row for every id.
pub fn model(shape: &Shape, training: &TrainingConfig) -> anyhow::Result<Learned> {
    let config = serde_json::json!({ "kind": "embedding_mlp", "dim": shape.dim, "hidden": shape.hidden });
    model_of(&serde_json::from_value(config)?, shape, training)
}

/// Any model with a row for every id; its own widths count, not those of the shape.
pub fn model_of(config: &BackboneConfig, shape: &Shape, training: &TrainingConfig) -> anyhow::Result<Learned> {
    let features = FeatureSet::of(&schema(), shape.history > 0);
    let mut learned = Learned::new(config, Encoder::new(features, EncoderConfig::default()), training, 1)?;
    let keys: Vec<u64> = (0..shape.ids as u64).collect();
    let servable = &mut learned.servable;
    servable.params.grow(servable.backbone.spec(), &[keys.clone(), keys]);
    Ok(learned)
}

/// Encoded examples with ids drawn over the whole tables.
pub fn examples(shape: &Shape, ids: Ids, rows: usize) -> Encoded {
    let mut stream = Stream::new(&[7]);
    let mut draw = ids.sampler(shape.ids, shape.drawn);
    let mut many = |n: usize| (0..n).map(|_| RESERVED_ROWS as u32 + draw(&mut stream)).collect::<Vec<u32>>();
    let (users, items, past) = (many(rows), many(rows), many(rows * shape.history));
    let len = shape.history as u32;
    let spans = Spans { start: (0..rows as u32).map(|i| i * len).collect(), len: vec![len; rows] };
    let mut columns = vec![Column::Id(users), Column::Id(items)];
    if shape.history > 0 {
        columns.push(Column::bag(spans, past, None));
    }
    let mut labels = Stream::new(&[8]);
    let label = (0..rows).map(|_| (labels.below(2) as u8).into()).collect();
    Encoded { columns, label, weight: vec![1.0; rows], ..Encoded::default() }
}

/// Distinct rows of tables per batch, on average: what a step's cost ought to depend on.
pub fn distinct_rows(data: &Encoded, batch: usize) -> f64 {
    let batches = data.len() / batch;
    let mut rows = 0;
    for examples in (0..batches).map(|i| i * batch..(i + 1) * batch) {
        let mut items = Vec::new();
        for column in &data.columns[1..] {
            match column {
                Column::Id(ids) => items.extend_from_slice(&ids[examples.clone()]),
                Column::Bag { spans, ids, .. } => {
                    examples.clone().for_each(|i| items.extend_from_slice(&ids[spans.range(i)]));
                }
                Column::Numeric(_) => {}
            }
        }
        let Column::Id(users) = &data.columns[0] else { unreachable!("the first column holds users") };
        rows += count_distinct(&mut users[examples].to_vec()) + count_distinct(&mut items);
    }
    rows as f64 / batches as f64
}

fn count_distinct(ids: &mut Vec<u32>) -> usize {
    ids.sort_unstable();
    ids.dedup();
    ids.len()
}

impl Ids {
    /// Draws from `drawn` of `ids` rows. Ranks are scattered over the rows, as ids that arrive over time are.
    pub fn sampler(self, ids: usize, drawn: usize) -> impl FnMut(&mut Stream) -> u32 {
        let mut rows: Vec<u32> = (0..ids as u32).collect();
        Stream::new(&[9]).shuffle(&mut rows);
        rows.truncate(drawn);
        let power = match self {
            Ids::Uniform => 0.0,
            Ids::Zipf => -1.05,
        };
        let mut sums: Vec<f64> = (1..=drawn).map(|rank| (rank as f64).powf(power)).collect();
        (1..drawn).for_each(|i| sums[i] += sums[i - 1]);
        move |stream| {
            let at = stream.unit_f64() * sums[drawn - 1];
            rows[sums.partition_point(|sum| *sum < at).min(drawn - 1)]
        }
    }
}
