//! All that is needed to turn a row of a log into a logit.

use crate::encoder::Encoder;
use crate::generator::Newborn;
use crate::serving::Made;
use crate::{Backbone, BackboneConfig, Member, Mixed, ModelError, Optimisers, Params, Serving};
use perennial_core::{Column, Digest, DigestBuilder};
use perennial_nn::Workers;
use perennial_table::RowMode;

/// Parameters, encoder and recipe of one version: a value. Cloning is cheap after [`Params::share`].
#[derive(Debug, Clone)]
pub struct Servable {
    /// What ids and numbers become.
    pub encoder: Encoder,
    /// How a logit is computed.
    pub backbone: Backbone,
    /// From which values.
    pub params: Params,
}

impl Servable {
    /// A model that has seen nothing.
    pub fn new(
        config: &BackboneConfig,
        encoder: Encoder,
        optimisers: &Optimisers,
        mode: RowMode,
        seed: u64,
    ) -> Result<Servable, ModelError> {
        let backbone = Backbone::build(config, &encoder)?;
        let params = Params::new(backbone.spec(), &encoder, optimisers, mode, seed)?;
        Ok(Servable { encoder, backbone, params })
    }

    /// The base model, ready to score.
    pub fn serving(&self) -> Serving<'_> {
        Serving::new(self, Made::Base)
    }

    /// Generated parameters in place of the base model's own, ready to score.
    pub fn serving_generated<'a>(&'a self, generated: &'a Generated) -> Serving<'a> {
        Serving::new(self, Made::Generated(generated))
    }

    /// Several models that answer together, ready to score.
    pub fn serving_mixed<'a>(&'a self, mixed: &'a Mixed) -> Serving<'a> {
        Serving::new(self, Made::Mixed(mixed))
    }

    /// One of them alone.
    pub fn serving_member<'a>(&'a self, member: &'a Member) -> Serving<'a> {
        match &member.generated {
            None => self.serving(),
            Some(generated) => self.serving_generated(generated),
        }
    }

    /// See [`Serving::score`].
    pub fn score(
        &self,
        keys: &[Vec<u64>],
        columns: &[Column],
        rows: usize,
        workers: &Workers,
    ) -> Result<Vec<f32>, ModelError> {
        self.serving().score(keys, columns, rows, workers)
    }

    /// Digest over encoder and parameters.
    pub fn digest(&self) -> Digest {
        let mut builder = DigestBuilder::new("servable");
        builder.bytes(&self.encoder.header());
        for vocab in self.encoder.vocabularies() {
            builder.bytes(&vocab.to_bytes());
        }
        builder.digest(&self.params.digest()).finish()
    }
}

/// Parameters that a generator made of base models.
#[derive(Debug, Clone)]
pub struct Generated {
    /// Values of all parameters of the base model.
    pub params: Params,
    /// How ids that are not among them get theirs.
    pub newborn: Newborn,
}
