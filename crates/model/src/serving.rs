//! From unlabelled examples to logits: many at once on all workers, or a few at a time with the least delay.

use crate::encoder::Encoder;
use crate::generator::Newborn;
use crate::view::{PlainView, ViewBuffers, place_dense};
use crate::{Backbone, ModelError, Params};
use perennial_core::Column;
use perennial_nn::{Mark, Tape, Var, Workers};
use perennial_table::Table;
use std::borrow::Cow;

/// Examples scored by one pass: bounds the tape's memory.
const SHARD: usize = 1024;

/// All that turns unlabelled examples into logits.
#[derive(Debug, Clone, Copy)]
pub struct Serving<'a> {
    encoder: &'a Encoder,
    backbone: &'a Backbone,
    params: &'a Params,
    newborn: Option<&'a Newborn>,
}

impl<'a> Serving<'a> {
    pub(crate) fn new(
        encoder: &'a Encoder,
        backbone: &'a Backbone,
        params: &'a Params,
        newborn: Option<&'a Newborn>,
    ) -> Serving<'a> {
        Serving { encoder, backbone, params, newborn }
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
        let (params, columns) = self.encode(keys, columns)?;
        let index: Vec<u32> = (0..rows as u32).collect();
        let mut logits = vec![0.0; rows];
        let mut shards: Vec<_> = index.chunks(SHARD).zip(logits.chunks_mut(SHARD)).collect();
        let per_task = shards.len().div_ceil(workers.count()).max(1);
        let mut tasks: Vec<_> = shards.chunks_mut(per_task).collect();
        workers.for_each(&mut tasks, |_, task| {
            let mut passes = Passes::new(&params);
            for (index, logits) in task.iter_mut() {
                logits.copy_from_slice(passes.logits(self.backbone, &params, &columns, index));
            }
        });
        Ok(logits)
    }

    /// A scorer that keeps what does not change from one request to the next.
    pub fn scorer(self) -> Scorer<'a> {
        Scorer { passes: Passes::new(self.params), index: Vec::new(), serving: self }
    }

    /// The encoded columns, and parameters that have a row for each of their ids.
    fn encode(&self, keys: &[Vec<u64>], columns: &[Column]) -> Result<(Cow<'a, Params>, Vec<Column>), ModelError> {
        let inputs = self.encoder.encode_unlabelled(keys, columns)?;
        if inputs.beyond.iter().all(Vec::is_empty) {
            return Ok((Cow::Borrowed(self.params), inputs.columns));
        }
        let mut grown = self.params.clone();
        let known: Vec<u32> = grown.tables.iter().map(Table::rows).collect();
        grown.grow(self.backbone.spec(), &inputs.beyond);
        if let Some(newborn) = self.newborn {
            newborn.generate(&mut grown, &known);
        }
        Ok((Cow::Owned(grown), inputs.columns))
    }
}

/// Scores request after request on the caller's thread. The dense tensors stay where the kernels read them, so that a
/// request costs its own rows and the multiplication, not a copy of the model.
#[derive(Debug)]
pub struct Scorer<'a> {
    serving: Serving<'a>,
    passes: Passes,
    index: Vec<u32>,
}

impl Scorer<'_> {
    /// Logits of a request's `rows` examples: the same, bit for bit, as those of [`Serving::score`].
    pub fn score(&mut self, keys: &[Vec<u64>], columns: &[Column], rows: usize) -> Result<Vec<f32>, ModelError> {
        let (params, columns) = self.serving.encode(keys, columns)?;
        self.index.clear();
        self.index.extend(0..rows as u32);
        let mut logits = Vec::with_capacity(rows);
        for shard in self.index.chunks(SHARD) {
            logits.extend_from_slice(self.passes.logits(self.serving.backbone, &params, &columns, shard));
        }
        Ok(logits)
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
