//! A base model as a generator reads it.

use super::{Feature, Layout};
use crate::{Encoder, ModelSpec, Params};
use perennial_core::Column;
use std::sync::Arc;

/// Values of a base model when a period closed, and what happened to its rows in that period.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Values, without slots of an optimiser.
    pub params: Params,
    /// One per table.
    pub activity: Vec<Activity>,
}

/// What happened to the rows of a table. Rows born later have count 0 and have rested for a period.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Activity {
    /// How often each row was read in the period.
    pub count: Arc<Vec<u32>>,
    /// Periods since each row was last read: 0 if it was read in this one.
    pub idle: Arc<Vec<u32>>,
}

impl Activity {
    /// Whether the row was read in the period.
    pub fn is_active(&self, row: usize) -> bool {
        self.count.get(row).is_some_and(|&count| count > 0)
    }

    fn count(&self, row: usize) -> u32 {
        self.count.get(row).copied().unwrap_or(0)
    }

    fn idle(&self, row: usize) -> u32 {
        self.idle.get(row).copied().unwrap_or(1)
    }

    /// The activity of the next period, in which rows were read so often.
    pub fn next(&self, count: Vec<u32>) -> Activity {
        let idle = count.iter().enumerate().map(|(row, &count)| match count {
            0 => self.idle.get(row).map_or(1, |idle| idle.saturating_add(1)),
            _ => 0,
        });
        Activity { idle: Arc::new(idle.collect()), count: Arc::new(count) }
    }
}

/// How often each row of each table is read by these columns.
pub fn row_counts(spec: &ModelSpec, lookups: &[crate::Lookup], params: &Params, columns: &[Column]) -> Vec<Vec<u32>> {
    let mut counts: Vec<Vec<u32>> = params.tables.iter().map(|table| vec![0; table.rows() as usize]).collect();
    debug_assert_eq!(counts.len(), spec.tables.len());
    for lookup in lookups {
        let crate::Lookup::Rows { table, feature, .. } = *lookup else { continue };
        let counts = &mut counts[table.0];
        match &columns[feature] {
            Column::Id(ids) => ids.iter().for_each(|&id| counts[id as usize] += 1),
            Column::Bag { spans, ids, .. } => {
                for example in 0..spans.start.len() {
                    ids[spans.range(example)].iter().for_each(|&id| counts[id as usize] += 1);
                }
            }
            Column::Numeric(_) => {}
        }
    }
    counts
}

impl Snapshot {
    /// Gives rows to ids that the encoder has admitted since, at their first values.
    pub fn grow_to(&mut self, spec: &ModelSpec, encoder: &Encoder) {
        self.params.grow_to(spec, encoder);
    }
}

/// One step of a sequence: the model read, and the one before it where there is one.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The model.
    pub now: &'a Snapshot,
    /// Its predecessor, for the size of the last change.
    pub before: Option<&'a Snapshot>,
}

impl Reading<'_> {
    /// Writes the inputs `[features + 1, lanes]` of a row of a table.
    pub(super) fn table_row(&self, features: &[Feature], table: usize, row: u32, out: &mut [f32]) {
        let values = self.now.params.tables[table].row(row);
        let (first, rest) = out.split_at_mut(values.len());
        first.copy_from_slice(values);
        let activity = &self.now.activity[table];
        for (feature, out) in features.iter().zip(rest.chunks_exact_mut(values.len())) {
            match feature {
                Feature::Change => {
                    let before = self.before.map(|before| before.params.tables[table].row(row));
                    changes(values, before, out);
                }
                Feature::Frequency => out.fill((1.0 + activity.count(row as usize) as f32).ln()),
                Feature::Age => out.fill((1.0 + activity.idle(row as usize) as f32).ln()),
            }
        }
    }

    /// Writes the inputs `[features + 1, lanes]` of a row of lanes of a dense tensor, padded with zeros.
    pub(super) fn dense_row(&self, features: &[Feature], tensor: usize, layout: &Layout, row: usize, out: &mut [f32]) {
        let stretch = |snapshot: &Snapshot| {
            let values = &snapshot.params.dense[tensor].values;
            let start = row * layout.lanes;
            start..values.len().min(start + layout.lanes)
        };
        let values = &self.now.params.dense[tensor].values[stretch(self.now)];
        out.fill(0.0);
        let (first, rest) = out.split_at_mut(layout.lanes);
        first[..values.len()].copy_from_slice(values);
        for (feature, out) in features.iter().zip(rest.chunks_exact_mut(layout.lanes)) {
            if *feature == Feature::Change {
                let before = self.before.map(|before| &before.params.dense[tensor].values[stretch(before)]);
                changes(values, before, &mut out[..values.len()]);
            }
        }
    }
}

fn changes(values: &[f32], before: Option<&[f32]>, out: &mut [f32]) {
    match before {
        None => out.fill(0.0),
        Some(before) => {
            for ((out, now), before) in out.iter_mut().zip(values).zip(before) {
                *out = (now - before).abs();
            }
        }
    }
}
