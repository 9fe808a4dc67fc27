//! Loops over plain slices. They know nothing of tapes.
//!
//! Each kernel has a plain source, generic over [`Real`](crate::Real), and an `f32` version in explicit SIMD that is
//! chosen at run time; a test in each file compares the two.

pub(crate) mod activation;
pub(crate) mod bce;
pub(crate) mod column_sum;
pub(crate) mod matmul;

pub use activation::Act;

/// The name of the instruction set that this machine's `f32` kernels use. Versions record it: results are equal bit
/// for bit on one kernel set only.
pub fn kernel_set() -> &'static str {
    "plain"
}
