//! Where a view reads values: stored parameters, or others that were made of them for one batch.

use crate::{DenseId, Params, Statistic, StatisticId, TableId};
use perennial_core::Column;
use perennial_table::{Place, Pool, Rows, Selected, Touches};

/// Values of all parameters, as far as a batch reads them.
pub trait Values: Sync {
    /// Shape and row-major values of a dense tensor.
    fn dense(&self, id: DenseId) -> ([usize; 2], &[f32]);

    /// Values of a running statistic.
    fn statistic(&self, id: StatisticId) -> &[f32];

    /// Width of a table.
    fn dim(&self, table: TableId) -> usize;

    /// See [`Rows::gather`].
    #[expect(clippy::too_many_arguments, reason = "those of the table's own method, and the table")]
    fn gather(
        &self,
        table: TableId,
        column: &Column,
        index: &[u32],
        pool: Pool,
        out: &mut [f32],
        place: Place,
        touches: Option<&mut Touches>,
    );
}

impl Values for Params {
    fn dense(&self, id: DenseId) -> ([usize; 2], &[f32]) {
        let dense = Params::dense(self, id);
        ([dense.rows, dense.cols], &dense.values)
    }

    fn statistic(&self, id: StatisticId) -> &[f32] {
        &Params::statistic(self, id).values
    }

    fn dim(&self, table: TableId) -> usize {
        self.table(table).dim()
    }

    fn gather(
        &self,
        table: TableId,
        column: &Column,
        index: &[u32],
        pool: Pool,
        out: &mut [f32],
        place: Place,
        touches: Option<&mut Touches>,
    ) {
        self.table(table).gather(column, index, pool, out, place, touches);
    }
}

/// Values made for one batch: every dense tensor, and the rows that the batch reads.
#[derive(Debug)]
pub struct BatchValues<'a> {
    /// Shape and values of each dense tensor, in the order of the spec.
    pub dense: Vec<([usize; 2], &'a [f32])>,
    /// The rows of each table, in the order of the spec.
    pub tables: Vec<Selected<'a>>,
    /// Running statistics, in the order of the spec: those of a model, since none are made.
    pub statistics: &'a [Statistic],
}

impl Values for BatchValues<'_> {
    fn dense(&self, id: DenseId) -> ([usize; 2], &[f32]) {
        self.dense[id.0]
    }

    fn statistic(&self, id: StatisticId) -> &[f32] {
        &self.statistics[id.0].values
    }

    fn dim(&self, table: TableId) -> usize {
        self.tables[table.0].dim
    }

    fn gather(
        &self,
        table: TableId,
        column: &Column,
        index: &[u32],
        pool: Pool,
        out: &mut [f32],
        place: Place,
        touches: Option<&mut Touches>,
    ) {
        self.tables[table.0].gather(column, index, pool, out, place, touches);
    }
}
