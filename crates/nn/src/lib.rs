//! The compute engine: a small tape with coarse operations whose buffers are reused, and the kernels beneath it.
//!
//! One training step is: [`Tape::reset`], leaves for the parameters, operations, a scalar loss,
//! [`Tape::backward`], gradients read from the leaves. Once its buffers have grown, a step allocates nothing.
//!
//! ```
//! use perennial_nn::{Act, Tape};
//!
//! let mut tape = Tape::<f32>::new();
//! let x = tape.constant(2, 3, |x| x.copy_from_slice(&[1.0, 0.0, 2.0, 0.0, 1.0, 1.0]));
//! let w = tape.leaf(3, 1, |w| w.copy_from_slice(&[0.5, -0.5, 0.25]));
//! let logits = tape.linear(x, w, None, Act::Identity);
//! let loss = tape.bce_with_logits(logits, &[1.0, 0.0], &[1.0, 1.0], 2.0);
//! tape.backward(loss);
//! assert_eq!(tape.value(logits), [1.0, -0.25]);
//! assert_eq!(tape.grad(w).len(), 3);
//! ```
//!
//! Parallelism is by shards of a batch: each shard has a tape of its own and [`Workers`] run them; no operation
//! uses threads. Every operation is generic over [`Real`]: its plain source runs in f64 against finite differences
//! ([`check_gradient`]), its f32 kernels are compared with the plain source.

mod arena;
pub mod cell;
mod gradient_check;
mod kernel;
mod op;
pub mod optim;
mod real;
mod tape;
mod workers;

pub use gradient_check::{WorstCoordinate, check_gradient};
pub use kernel::{Act, kernel_set};
pub use op::{CO_ACTION_LAYERS, CoActionShape, Hinge, Normalised, PairLoss};
pub use real::Real;
pub use tape::{Groups, Mark, Tape, Var};
pub use workers::Workers;
