//! What a backbone declares, as its parts are put together.

use crate::view::Lookup;
use crate::{
    DenseId, DenseInit, DenseSpec, EmbeddingInit, ModelError, ModelSpec, StatisticId, StatisticSpec, TableId, TableSpec,
};
use perennial_core::VocabId;

/// Parameters and lookups, each added by the part that uses it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::backbone) struct Recipe {
    /// Parameters.
    pub(in crate::backbone) spec: ModelSpec,
    /// Lookups in the order in which a forward pass makes them.
    pub(in crate::backbone) lookups: Vec<Lookup>,
}

impl Recipe {
    /// Adds a dense tensor `[rows, cols]`.
    pub(in crate::backbone) fn dense(
        &mut self,
        name: impl Into<String>,
        [rows, cols]: [usize; 2],
        init: DenseInit,
    ) -> DenseId {
        self.spec.dense.push(DenseSpec { name: name.into(), rows, cols, init });
        DenseId(self.spec.dense.len() - 1)
    }

    /// Adds a table.
    pub(in crate::backbone) fn table(
        &mut self,
        name: String,
        vocab: VocabId,
        dim: usize,
        init: EmbeddingInit,
    ) -> TableId {
        self.spec.tables.push(TableSpec { name, vocab, dim, init });
        TableId(self.spec.tables.len() - 1)
    }

    /// Adds a lookup, unless the same is there already.
    pub(in crate::backbone) fn look_up(&mut self, lookup: Lookup) {
        if !self.lookups.contains(&lookup) {
            self.lookups.push(lookup);
        }
    }

    /// Adds a running statistic `[1, cols]`.
    pub(in crate::backbone) fn statistic(
        &mut self,
        name: String,
        cols: usize,
        initial: f32,
        momentum: f32,
    ) -> StatisticId {
        self.spec.statistics.push(StatisticSpec { name, cols, initial, momentum });
        StatisticId(self.spec.statistics.len() - 1)
    }
}

/// Refuses a width of nothing, and one that can only be a slip of the finger.
pub(in crate::backbone) fn check_width(key: &str, width: usize, most: usize) -> Result<(), ModelError> {
    match width {
        0 => Err(ModelError::Config { key: key.into(), problem: "at least 1 is needed".into() }),
        _ if width > most => {
            Err(ModelError::Config { key: key.into(), problem: format!("at most {most} is possible, got {width}") })
        }
        _ => Ok(()),
    }
}
