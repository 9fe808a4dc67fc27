//! Embedding tables that grow, are trained row by row, and remember their past cheaply.
//!
//! A [`Table`] maps rows to vectors of one width. Its values and its optimiser's slots lie in planes of their own,
//! cut into pages that are copied on write: a [snapshot](Table::snapshot) shares every page until one side writes.
//! Row `r` belongs to shard `r % SHARDS`, so that workers update disjoint `&mut [Shard]` without locks.
//!
//! One training step over a batch, which is cut into parts that workers take:
//!
//! 1. where [`Table::needs_catch_up`] says so: [`Table::touch`] per part, then [`Shard::catch_up`] per shard;
//! 2. [`Table::gather`] per part: pooled rows into the part's inputs, and a list of what was touched;
//! 3. per shard: [`Shard::accumulate`] for each part *in order*, then [`Shard::apply`].
//!
//! Sums are added in the order of parts and positions, never of workers: the result has the same bits on any number
//! of them. Nothing is allocated once buffers have grown.
//!
//! ```
//! use perennial_core::Column;
//! use perennial_nn::optim::{Optimiser, Rule};
//! use perennial_table::{Init, Place, Pool, RowMode, Rows, Table, TableSpec, Touches};
//!
//! let spec = TableSpec { name: "item".into(), dim: 4, seed: 1, init: Init::Normal { std: 0.1 }, zeros: 0 };
//! let mut table = Table::new(spec)?;
//! table.grow(&[77, 99]); // rows 2 and 3
//! let optimiser = Optimiser::new(Rule::ADAM, 1e-3);
//! table.train_with(&optimiser, RowMode::Lazy)?;
//!
//! let items = Column::Id(vec![2, 3, 2]);
//! let (mut inputs, mut touches) = (vec![0.0; 3 * 4], Touches::default());
//! table.gather(&items, &[0, 1, 2], Pool::Sum, &mut inputs, Place::alone(4), Some(&mut touches));
//! let gradients = vec![0.5; 3 * 4];
//! let step = optimiser.step(1, optimiser.learning_rate);
//! for shard in table.shards_mut() {
//!     shard.accumulate(&touches, &gradients, Place::alone(4));
//!     assert_eq!(shard.apply(&step), 0, "no row became infinite or NaN");
//! }
//! # Ok::<(), perennial_table::TableError>(())
//! ```

mod accumulator;
mod block;
mod buffer;
mod chunks;
mod error;
mod gather;
mod init;
mod plane;
mod prefetch;
mod selection;
mod shard;
mod table;
mod touches;

pub use chunks::{CHUNK_ROWS, Chunk, Header, PlaneName};
pub use error::TableError;
pub use gather::{Place, Pool, Rows};
pub use init::{Init, UNKNOWN_KEY};
pub use prefetch::prefetch;
pub use selection::{Selected, Selection};
pub use shard::{RowMode, SHARDS, Shard};
pub use table::{PAD, Table, TableSpec, UNKNOWN};
pub use touches::Touches;
