//! Loops over plain slices. They know nothing of tapes.
//!
//! Each kernel has a plain source, generic over [`Real`](crate::Real), and an `f32` version in explicit SIMD that is
//! chosen at run time; a test in each file compares the two.

pub(crate) mod activation;
pub(crate) mod bce;
pub(crate) mod cell;
pub(crate) mod column_sum;
pub(crate) mod gelu;
mod math;
pub(crate) mod matmul;

pub use activation::Act;
pub use gelu::Gelu;

use pulp::{Arch, Simd, WithSimd};

/// The name of the instruction set that this machine's `f32` kernels use: `avx512`, `avx2`, `neon` or `plain`.
/// Versions record it, since results are equal bit for bit on one kernel set only.
pub fn kernel_set() -> &'static str {
    dispatch(Name)
}

/// Runs a kernel with the best instructions that this machine has.
fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    #[cfg(test)]
    if let Some(arch) = tests::FORCED.get() {
        return arch.dispatch(kernel);
    }
    Arch::new().dispatch(kernel)
}

struct Name;

impl WithSimd for Name {
    type Output = &'static str;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> &'static str {
        match S::F32_LANES {
            16 => "avx512",
            8 => "avx2",
            4 => "neon",
            _ => "plain",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use perennial_core::Stream;
    use std::cell::Cell;

    thread_local! {
        /// Instructions to use instead of the best ones.
        pub(crate) static FORCED: Cell<Option<Arch>> = const { Cell::new(None) };
    }

    /// Calls `test` once for each instruction set that this machine has.
    pub(crate) fn on_every_set(test: impl Fn()) {
        #[cfg(target_arch = "x86_64")]
        let smaller = pulp::x86::V3::try_new().map(Arch::V3);
        #[cfg(not(target_arch = "x86_64"))]
        let smaller = None;
        for arch in [Some(Arch::new()), smaller, Some(Arch::Scalar)].into_iter().flatten() {
            FORCED.set(Some(arch));
            test();
        }
        FORCED.set(None);
    }

    /// Uniform in [-4, 4).
    pub(crate) fn noise(len: usize, seed: u64) -> Vec<f32> {
        let mut stream = Stream::new(&[seed]);
        (0..len).map(|_| 8.0 * stream.unit_f32() - 4.0).collect()
    }

    pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().copied().map(f64::from).collect()
    }

    /// Within `tolerance`, relative to magnitudes above 1.
    #[track_caller]
    pub(crate) fn assert_close(got: &[f32], expected: &[f64], tolerance: f64, case: &str) {
        assert_eq!(got.len(), expected.len(), "{case}");
        for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
            let error = (f64::from(got) - expected).abs() / expected.abs().max(1.0);
            assert!(error <= tolerance, "{case}: element {i} is {got:e}, expected {expected:e}");
        }
    }

    #[test]
    fn the_kernel_set_has_a_name() {
        let last = Cell::new("");
        on_every_set(|| last.set(kernel_set()));
        assert_eq!(last.get(), "plain");
        assert!(["avx512", "avx2", "neon", "plain"].contains(&kernel_set()));
    }
}
