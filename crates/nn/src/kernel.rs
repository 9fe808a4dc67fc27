//! Loops over plain slices. They know nothing of tapes.
//!
//! Each kernel has a plain source, generic over [`Real`](crate::Real), and an `f32` version in explicit SIMD that is
//! chosen at run time; a test in each file compares the two.

pub(crate) mod activation;
pub(crate) mod bce;
pub(crate) mod column_sum;
mod math;
pub(crate) mod matmul;

pub use activation::Act;

use pulp::{Arch, Simd, WithSimd};

/// The name of the instruction set that this machine's `f32` kernels use: `avx512`, `avx2`, `neon` or `plain`.
/// Versions record it, since results are equal bit for bit on one kernel set only.
pub fn kernel_set() -> &'static str {
    Arch::new().dispatch(Name)
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
mod tests {
    use super::*;
    use perennial_core::Stream;

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
        assert!(["avx512", "avx2", "neon", "plain"].contains(&kernel_set()));
    }
}
