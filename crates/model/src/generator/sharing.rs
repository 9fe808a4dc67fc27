//! Which coordinates of a tensor share a generator.

use crate::{DenseSpec, ModelError, TableSpec};
use serde::{Deserialize, Serialize};

/// Which coordinates of one tensor share a generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// None: one for every scalar.
    Coordinate,
    /// Those of a row.
    Row,
    /// Those of a column; for a table, those of an embedding dimension over all ids.
    Column,
    /// All.
    Tensor,
}

/// Sharing by the role of a tensor. The defaults are ASMG's (section 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// Embedding tables: `column` or `tensor`, since rows come and go.
    pub tables: Sharing,
    /// Dense tensors with several rows and columns: kernels of layers.
    pub matrices: Sharing,
    /// Dense tensors with one row or one column: biases, scales of norms, output layers.
    pub vectors: Sharing,
    /// One generator for everything, whatever the above say (beyond the paper: `params` numbers in all).
    pub everything: bool,
}

impl Default for Shares {
    fn default() -> Self {
        Shares {
            tables: Sharing::Column,
            matrices: Sharing::Coordinate,
            vectors: Sharing::Coordinate,
            everything: false,
        }
    }
}

impl Shares {
    /// Refuses what cannot be.
    pub fn check(&self) -> Result<(), ModelError> {
        match self.tables {
            Sharing::Column | Sharing::Tensor => Ok(()),
            Sharing::Coordinate | Sharing::Row => Err(ModelError::Config {
                key: "share.tables".into(),
                problem: "a generator per row cannot be, since rows are born; \"column\" and \"tensor\" can".into(),
            }),
        }
    }

    pub(super) fn of_dense(&self, spec: &DenseSpec) -> Layout {
        let vector = spec.rows == 1 || spec.cols == 1;
        let sharing = match (self.everything, vector) {
            (true, _) => Sharing::Tensor,
            (false, true) => self.vectors,
            (false, false) => self.matrices,
        };
        Layout::of_dense(sharing, spec.rows, spec.cols)
    }

    pub(super) fn of_table(&self, spec: &TableSpec) -> Layout {
        match self.everything || self.tables == Sharing::Tensor {
            true => Layout { lanes: spec.dim, blocks: 1, stored: 1 },
            false => Layout { lanes: spec.dim, blocks: 1, stored: spec.dim },
        }
    }
}

/// How the coordinates of a tensor lie in rows of lanes, and which generator each of them has. Generators lie in blocks,
/// `[blocks][params, stored]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Coordinates in a row; the last row of a dense tensor may be padded.
    pub lanes: usize,
    /// 1 if all rows share their generators, else the number of rows.
    pub blocks: usize,
    /// Generators in a block: one per lane, or one for all lanes.
    pub stored: usize,
}

/// Lanes of tensors without a natural width. Generators of so many coordinates, 16 kB, fit into the nearest cache.
const LANES: usize = 64;

/// Lanes of the widest vectors there are.
const VECTOR: usize = 16;

impl Layout {
    fn of_dense(sharing: Sharing, rows: usize, cols: usize) -> Layout {
        let len = rows * cols;
        let lanes = len.clamp(1, LANES);
        match sharing {
            Sharing::Coordinate => Layout { lanes, blocks: len.div_ceil(lanes), stored: lanes },
            Sharing::Row => Layout { lanes: cols, blocks: rows, stored: 1 },
            Sharing::Column => Layout { lanes: cols, blocks: 1, stored: cols },
            Sharing::Tensor => Layout { lanes, blocks: 1, stored: 1 },
        }
    }

    /// Rows of a dense tensor of so many coordinates.
    pub fn rows(&self, len: usize) -> usize {
        len.div_ceil(self.lanes)
    }

    /// Rows that lie side by side best: as many narrow ones as fill a vector, where all share their generators.
    pub fn pack(&self) -> usize {
        let fits = self.blocks == 1 && VECTOR.is_multiple_of(self.lanes);
        if fits { VECTOR / self.lanes } else { 1 }
    }

    /// Block of a row.
    pub fn block(&self, row: usize) -> usize {
        if self.blocks == 1 { 0 } else { row }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coordinate_has_a_generator() {
        for (sharing, generators) in
            [(Sharing::Coordinate, 35), (Sharing::Row, 5), (Sharing::Column, 7), (Sharing::Tensor, 1)]
        {
            let layout = Layout::of_dense(sharing, 5, 7);
            assert_eq!(layout.blocks * layout.stored, generators, "{sharing:?}");
            assert!(layout.rows(35) * layout.lanes >= 35);
        }
        // 150 coordinates fill three rows of 64 lanes, the last of them padded.
        let padded = Layout::of_dense(Sharing::Coordinate, 10, 15);
        assert_eq!((padded.lanes, padded.blocks, padded.rows(150)), (64, 3, 3));
    }

    #[test]
    fn a_generator_per_id_is_refused() {
        let shares = Shares { tables: Sharing::Coordinate, ..Shares::default() };
        assert!(shares.check().unwrap_err().to_string().contains("rows are born"));
    }
}
