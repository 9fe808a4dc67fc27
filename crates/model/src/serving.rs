//! From unlabelled examples to logits: many at once on all workers, or a few at a time with the least delay.

use crate::generator::Newborn;
use crate::mixed::logit_of_mean;
use crate::view::{PlainView, ViewBuffers, place_dense};
use crate::{Backbone, Generated, Mixed, ModelError, Params, Servable};
use perennial_core::Column;
use perennial_nn::{Mark, Tape, Var, Workers};
use perennial_table::Table;
use std::borrow::Cow;

/// Examples scored by one pass: bounds the tape's memory.
const SHARD: usize = 1024;

/// All that turns unlabelled examples into logits.
#[derive(Debug, Clone, Copy)]
pub struct Serving<'a> {
    base: &'a Servable,
    made: Made<'a>,
}

/// What answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Made<'a> {
    /// The base model.
    Base,
    /// Generated parameters in its place.
    Generated(&'a Generated),
    /// Several of these.
    Mixed(&'a Mixed),
}

/// One model that answers, alone or with others.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    weight: f64,
    params: &'a Params,
    newborn: Option<&'a Newborn>,
}

impl<'a> Serving<'a> {
    pub(crate) fn new(base: &'a Servable, made: Made<'a>) -> Serving<'a> {
        Serving { base, made }
    }

    /// Logits of unlabelled examples, given by their interned keys and columns. Changes nothing: ids that the
    /// encoder does not know get rows in a snapshot that is thrown away.
    pub fn score(
        &self,
        keys: &[Vec<u64>],
        columns: &[Column],
        rows: usize,
        workers: &Workers,
    ) -> Result<Vec<f32>, ModelError> {
        let parts = self.parts();
        let (params, columns) = self.encode(&parts, keys, columns)?;
        let index: Vec<u32> = (0..rows as u32).collect();
        let mut logits = vec![0.0; rows];
        let mut shards: Vec<_> = index.chunks(SHARD).zip(logits.chunks_mut(SHARD)).collect();
        let per_task = shards.len().div_ceil(workers.count()).max(1);
        let mut tasks: Vec<_> = shards.chunks_mut(per_task).collect();
        workers.for_each(&mut tasks, |_, task| {
            let mut ensemble = Ensemble::new(&parts);
            for (index, logits) in task.iter_mut() {
                ensemble.logits(&self.base.backbone, &params, &columns, index, logits);
            }
        });
        Ok(logits)
    }

    /// A scorer that keeps what does not change from one request to the next.
    pub fn scorer(self) -> Scorer<'a> {
        let parts = self.parts();
        Scorer { ensemble: Ensemble::new(&parts), parts, index: Vec::new(), serving: self }
    }

    /// The models that answer.
    fn parts(&self) -> Vec<Part<'a>> {
        let of = |weight, generated: Option<&'a Generated>| match generated {
            None => Part { weight, params: &self.base.params, newborn: None },
            Some(generated) => Part { weight, params: &generated.params, newborn: Some(&generated.newborn) },
        };
        match self.made {
            Made::Base => vec![of(1.0, None)],
            Made::Generated(generated) => vec![of(1.0, Some(generated))],
            Made::Mixed(mixed) => {
                mixed.members.iter().map(|member| of(member.weight, member.generated.as_ref())).collect()
            }
        }
    }

    /// The encoded columns, and parameters of each part that have a row for each of their ids.
    fn encode(
        &self,
        parts: &[Part<'a>],
        keys: &[Vec<u64>],
        columns: &[Column],
    ) -> Result<(Vec<Cow<'a, Params>>, Vec<Column>), ModelError> {
        let inputs = self.base.encoder.encode_unlabelled(keys, columns)?;
        let grown = |part: &Part<'a>| {
            if inputs.beyond.iter().all(Vec::is_empty) {
                return Cow::Borrowed(part.params);
            }
            let mut grown = part.params.clone();
            let known: Vec<u32> = grown.tables.iter().map(Table::rows).collect();
            grown.grow(self.base.backbone.spec(), &inputs.beyond);
            if let Some(newborn) = part.newborn {
                newborn.generate(&mut grown, &known);
            }
            Cow::Owned(grown)
        };
        Ok((parts.iter().map(grown).collect(), inputs.columns))
    }
}

/// Scores request after request on the caller's thread. The dense tensors stay where the kernels read them, so that a
/// request costs its own rows and the multiplication, not a copy of the model.
#[derive(Debug)]
pub struct Scorer<'a> {
    serving: Serving<'a>,
    parts: Vec<Part<'a>>,
    ensemble: Ensemble,
    index: Vec<u32>,
}

impl Scorer<'_> {
    /// Logits of a request's `rows` examples: the same, bit for bit, as those of [`Serving::score`].
    pub fn score(&mut self, keys: &[Vec<u64>], columns: &[Column], rows: usize) -> Result<Vec<f32>, ModelError> {
        let (params, columns) = self.serving.encode(&self.parts, keys, columns)?;
        self.index.clear();
        self.index.extend(0..rows as u32);
        let mut logits = vec![0.0; rows];
        for (index, logits) in self.index.chunks(SHARD).zip(logits.chunks_mut(SHARD)) {
            self.ensemble.logits(&self.serving.base.backbone, &params, &columns, index, logits);
        }
        Ok(logits)
    }
}

/// Forward passes through all models that answer; mostly there is one.
#[derive(Debug)]
struct Ensemble {
    weights: Vec<f64>,
    passes: Vec<Passes>,
}

impl Ensemble {
    fn new(parts: &[Part<'_>]) -> Ensemble {
        Ensemble {
            weights: parts.iter().map(|part| part.weight).collect(),
            passes: parts.iter().map(|part| Passes::new(part.params)).collect(),
        }
    }

    /// Writes the logits of the examples `index` of `columns`; `params` are those of each model, with rows for all ids.
    fn logits(
        &mut self,
        backbone: &Backbone,
        params: &[Cow<'_, Params>],
        columns: &[Column],
        index: &[u32],
        logits: &mut [f32],
    ) {
        if let ([passes], [params]) = (&mut self.passes[..], params) {
            return logits.copy_from_slice(passes.logits(backbone, params, columns, index));
        }
        let models = self.passes.iter_mut().zip(params);
        let of_models: Vec<&[f32]> =
            models.map(|(passes, params)| passes.logits(backbone, params, columns, index)).collect();
        for (row, logit) in logits.iter_mut().enumerate() {
            let of_row = of_models.iter().map(|of_model| f64::from(of_model[row]));
            *logit = logit_of_mean(self.weights.iter().copied().zip(of_row)) as f32;
        }
    }
}

/// Forward passes over a tape that holds the dense tensors.
#[derive(Debug)]
struct Passes {
    tape: Tape<f32>,
    placed: Vec<Var>,
    start: Mark,
    buffers: ViewBuffers,
}

impl Passes {
    fn new(params: &Params) -> Passes {
        let mut tape = Tape::new();
        let placed = place_dense(params, &mut tape);
        Passes { placed, start: tape.mark(), tape, buffers: ViewBuffers::default() }
    }

    /// Logits of the examples `index` of `columns`. `params` may have other rows than those this was made with, but
    /// must have the same dense tensors.
    fn logits(&mut self, backbone: &Backbone, params: &Params, columns: &[Column], index: &[u32]) -> &[f32] {
        self.tape.rewind(self.start);
        let mut view = PlainView::scoring(params, columns, index, &mut self.buffers, &self.placed);
        let out = backbone.forward(&mut view, &mut self.tape);
        self.tape.value(out)
    }
}
