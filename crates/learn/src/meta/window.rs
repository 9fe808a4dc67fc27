//! The base models that a generator reads.

use crate::memory::{Pieces, damaged};
use crate::{LearnError, Learned};
use perennial_core::Encoded;
use perennial_model::generator::{Activity, Reading, Snapshot, row_counts};
use perennial_model::{Encoder, ModelSpec};
use std::collections::VecDeque;
use std::sync::Arc;

/// The last base models, oldest first: at most as many as the sequence is long.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    snapshots: VecDeque<Snapshot>,
    /// The model before the first, kept for the size of the first's change.
    older: Option<Snapshot>,
}

impl Window {
    pub(crate) fn len(&self) -> usize {
        self.snapshots.len()
    }

    /// Adds the base model that was just trained on `data`; beyond `limit` models the oldest leaves. Returns the one
    /// that left the sequence.
    pub(crate) fn push(&mut self, learned: &Learned, data: &Encoded, limit: usize) {
        let servable = &learned.servable;
        let (spec, params) = (servable.backbone.spec(), servable.params.values_only());
        let counts = row_counts(spec, servable.backbone.lookups(), &params, &data.columns);
        let last = self.snapshots.back();
        let activity = counts.into_iter().enumerate().map(|(table, count)| {
            let before = last.map(|last| last.activity[table].clone()).unwrap_or_default();
            before.next(count)
        });
        let activity = activity.collect();
        self.snapshots.push_back(Snapshot { params, activity });
        if self.snapshots.len() > limit {
            self.older = self.snapshots.pop_front();
        }
    }

    /// Gives rows to ids that were born since.
    pub(crate) fn grow_to(&mut self, spec: &ModelSpec, encoder: &Encoder) {
        self.snapshots.iter_mut().chain(&mut self.older).for_each(|snapshot| snapshot.grow_to(spec, encoder));
    }

    /// The sequence.
    pub(crate) fn readings(&self) -> Vec<Reading<'_>> {
        let before = self.older.iter().map(Some).chain(self.older.is_none().then_some(None));
        let before = before.chain(self.snapshots.iter().map(Some));
        self.snapshots.iter().zip(before).map(|(now, before)| Reading { now, before }).collect()
    }

    pub(crate) fn pieces(&self) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.put_json("size", &(self.snapshots.len(), self.older.is_some()));
        for (at, snapshot) in self.older.iter().chain(&self.snapshots).enumerate() {
            pieces.put_params(format!("{at:03}/params"), snapshot.params.clone());
            for (table, activity) in snapshot.activity.iter().enumerate() {
                pieces.put_bytes(format!("{at:03}/count/{table}"), to_bytes(&activity.count));
                pieces.put_bytes(format!("{at:03}/idle/{table}"), to_bytes(&activity.idle));
            }
        }
        pieces
    }

    pub(crate) fn from_pieces(mut pieces: Pieces) -> Result<Window, LearnError> {
        let (len, older): (usize, bool) = pieces.take_json("size")?;
        let mut snapshots = VecDeque::new();
        for at in 0..len + usize::from(older) {
            let mut params = pieces.take_params(&format!("{at:03}/params"))?;
            params.share();
            let mut activity = Vec::new();
            for table in 0..params.tables.len() {
                let mut numbers = |what: &str| numbers(&mut pieces, &format!("{at:03}/{what}/{table}"));
                activity.push(Activity { count: numbers("count")?, idle: numbers("idle")? });
            }
            snapshots.push_back(Snapshot { params, activity });
        }
        let older = if older { snapshots.pop_front() } else { None };
        Ok(Window { snapshots, older })
    }
}

fn to_bytes(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn numbers(pieces: &mut Pieces, name: &str) -> Result<Arc<Vec<u32>>, LearnError> {
    let bytes = pieces.take_bytes(name)?;
    let (chunks, rest) = bytes.as_chunks::<4>();
    match rest {
        [] => Ok(Arc::new(chunks.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect())),
        _ => Err(damaged(name, "it is no list of 32-bit numbers")),
    }
}
