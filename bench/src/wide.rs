//! A wide log in memory, as display advertising has them: many ids, each from a domain of its own, and numbers.

use crate::fixture::Ids;
use perennial_core::{Column, Encoded, FeatureSet, Schema, Stream};
use perennial_learn::{Learned, TrainingConfig};
use perennial_model::encoder::RESERVED_ROWS;
use perennial_model::{BackboneConfig, Encoder, EncoderConfig};

/// Sizes of a wide log.
#[derive(Debug, Clone, Copy)]
pub struct Wide {
    /// Fields of ids.
    pub categorical: usize,
    /// Fields of numbers.
    pub numeric: usize,
    /// Ids in all, as many of each field.
    pub ids: usize,
}

impl Wide {
    /// The schema of the log.
    pub fn schema(&self) -> Schema {
        let ids = (0..self.categorical).map(|i| format!("{{ name = \"c{i}\", kind = \"id\", id = \"int\" }},\n"));
        let numbers = (0..self.numeric).map(|i| format!("{{ name = \"n{i}\", kind = \"numeric\" }},\n"));
        let fields: String = ids.chain(numbers).collect();
        let text = format!(
            "name = \"wide\"\nfield = [\n{fields}{{ name = \"when\", kind = \"timestamp\", unit = \"s\" }},\n\
             {{ name = \"click\", kind = \"label\" }},\n]"
        );
        Schema::parse(&text).expect("the schema is fixed")
    }

    /// A model with a row for every id.
    pub fn model(&self, config: &BackboneConfig, training: &TrainingConfig) -> anyhow::Result<Learned> {
        let features = FeatureSet::of(&self.schema(), false);
        let mut learned = Learned::new(config, Encoder::new(features, EncoderConfig::default()), training, 1)?;
        let keys: Vec<u64> = (0..self.ids_of_a_field() as u64).collect();
        let servable = &mut learned.servable;
        servable.params.grow(servable.backbone.spec(), &vec![keys; self.categorical]);
        Ok(learned)
    }

    /// Encoded examples: ids scattered over their tables, numbers from 0 to 1.
    pub fn examples(&self, ids: Ids, rows: usize) -> Encoded {
        let mut stream = Stream::new(&[7]);
        let mut columns = Vec::new();
        for _ in 0..self.categorical {
            let mut draw = ids.sampler(self.ids_of_a_field(), self.ids_of_a_field());
            columns.push(Column::Id((0..rows).map(|_| RESERVED_ROWS as u32 + draw(&mut stream)).collect()));
        }
        for _ in 0..self.numeric {
            columns.push(Column::Numeric((0..rows).map(|_| stream.unit_f64() as f32).collect()));
        }
        let label = (0..rows).map(|_| (stream.below(2) as u8).into()).collect();
        Encoded { columns, label, weight: vec![1.0; rows], ..Encoded::default() }
    }

    fn ids_of_a_field(&self) -> usize {
        self.ids / self.categorical
    }
}
