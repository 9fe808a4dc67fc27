//! All that is needed to turn a row of a log into a logit.

use crate::encoder::Encoder;
use crate::generator::Newborn;
use crate::view::{PlainView, ViewBuffers};
use crate::{Backbone, BackboneConfig, ModelError, Params};
use perennial_core::{Column, Digest, DigestBuilder};
use perennial_nn::optim::Optimiser;
use perennial_nn::{Tape, Workers};
use perennial_table::{RowMode, Table};

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

/// Examples scored by one task. A multiple of no vector width matters here: it bounds the tape's memory.
const SCORING_SHARD: usize = 1024;

impl Servable {
    /// A model that has seen nothing.
    pub fn new(
        config: &BackboneConfig,
        encoder: Encoder,
        optimiser: &Optimiser,
        mode: RowMode,
        seed: u64,
    ) -> Result<Servable, ModelError> {
        let backbone = Backbone::build(config, &encoder)?;
        let params = Params::new(backbone.spec(), &encoder, optimiser, mode, seed)?;
        Ok(Servable { encoder, backbone, params })
    }

    /// The base model, ready to score.
    pub fn serving(&self) -> Serving<'_> {
        Serving { encoder: &self.encoder, backbone: &self.backbone, params: &self.params, newborn: None }
    }

    /// Generated parameters in place of the base model's own, ready to score.
    pub fn serving_generated<'a>(&'a self, generated: &'a Generated) -> Serving<'a> {
        Serving { params: &generated.params, newborn: Some(&generated.newborn), ..self.serving() }
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

/// All that turns unlabelled examples into logits.
#[derive(Debug, Clone, Copy)]
pub struct Serving<'a> {
    encoder: &'a Encoder,
    backbone: &'a Backbone,
    params: &'a Params,
    newborn: Option<&'a Newborn>,
}

impl Serving<'_> {
    /// Logits of unlabelled examples, given by their interned keys and columns. Changes nothing: ids that the
    /// encoder does not know get rows in a snapshot that is thrown away.
    pub fn score(
        &self,
        keys: &[Vec<u64>],
        columns: &[Column],
        rows: usize,
        workers: &Workers,
    ) -> Result<Vec<f32>, ModelError> {
        let inputs = self.encoder.encode_unlabelled(keys, columns)?;
        if inputs.beyond.iter().all(Vec::is_empty) {
            return Ok(self.logits(self.params, &inputs.columns, rows, workers));
        }
        let mut grown = self.params.clone();
        let known: Vec<u32> = grown.tables.iter().map(Table::rows).collect();
        grown.grow(self.backbone.spec(), &inputs.beyond);
        if let Some(newborn) = self.newborn {
            newborn.generate(&mut grown, &known);
        }
        Ok(self.logits(&grown, &inputs.columns, rows, workers))
    }

    fn logits(&self, params: &Params, columns: &[Column], rows: usize, workers: &Workers) -> Vec<f32> {
        let index: Vec<u32> = (0..rows as u32).collect();
        let mut logits = vec![0.0; rows];
        let mut shards: Vec<_> = index.chunks(SCORING_SHARD).zip(logits.chunks_mut(SCORING_SHARD)).collect();
        let per_task = shards.len().div_ceil(workers.count()).max(1);
        let mut tasks: Vec<_> = shards.chunks_mut(per_task).collect();
        workers.for_each(&mut tasks, |_, task| {
            let (mut tape, mut buffers) = (Tape::new(), ViewBuffers::default());
            for (index, logits) in task.iter_mut() {
                tape.reset();
                let mut view = PlainView::scoring(params, columns, index, &mut buffers);
                let out = self.backbone.forward(&mut view, &mut tape);
                logits.copy_from_slice(tape.value(out));
            }
        });
        logits
    }
}
