//! The numbers that the engine computes with.

use crate::cell::{Cell, Step};
use crate::kernel::{Act, activation, bce, cell, column_sum, matmul};
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// `f32` for work, `f64` for checking gradients.
///
/// The kernels are part of the trait: their default bodies are the plain source, `f32` replaces them by explicit
/// SIMD.
pub trait Real:
    Copy
    + Default
    + Send
    + Sync
    + PartialOrd
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + bytemuck::Pod
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;

    /// The nearest number.
    fn from_f64(x: f64) -> Self;
    /// The same number.
    fn to_f64(self) -> f64;
    /// The nearest number.
    fn from_f32(x: f32) -> Self;
    /// e to the `self`.
    fn exp(self) -> Self;
    /// `ln(1 + self)`, precise near 0.
    fn ln_1p(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Magnitude.
    fn abs(self) -> Self;

    /// `max(self, 0)`; NaN stays NaN, unlike with `f32::max`.
    #[inline]
    fn relu(self) -> Self {
        if self < Self::ZERO { Self::ZERO } else { self }
    }

    /// `1 / (1 + exp(-self))` without overflow.
    #[inline]
    fn sigmoid(self) -> Self {
        let e = (-self.abs()).exp();
        let small = e / (Self::ONE + e);
        if self < Self::ZERO { small } else { Self::ONE - small }
    }

    /// `c[m, n] = a[m, k] b[k, n]`, or `+=` with `add`; `shape` is `[m, k, n]`.
    /// `scratch` is memory to be reused.
    #[doc(hidden)]
    fn matmul(shape: [usize; 3], a: &[Self], b: &[Self], c: &mut [Self], add: bool, scratch: &mut [Vec<Self>; 2]) {
        let _ = scratch;
        matmul::plain(shape, a, b, c, add);
    }

    /// `c[m, n] = a^T b` for `a[k, m]`, `b[k, n]`, or `+=` with `add`; `shape` is `[m, k, n]`.
    #[doc(hidden)]
    fn matmul_at(shape: [usize; 3], a: &[Self], b: &[Self], c: &mut [Self], add: bool, scratch: &mut [Vec<Self>; 2]) {
        let _ = scratch;
        matmul::plain_at(shape, a, b, c, add);
    }

    /// `c[m, n] = a b^T` for `a[m, k]`, `b[n, k]`, or `+=` with `add`; `shape` is `[m, k, n]`.
    #[doc(hidden)]
    fn matmul_bt(shape: [usize; 3], a: &[Self], b: &[Self], c: &mut [Self], add: bool, scratch: &mut [Vec<Self>; 2]) {
        let _ = scratch;
        matmul::plain_bt(shape, a, b, c, add);
    }

    /// `y[n, cols] = act(y + bias)`, in place; an empty `bias` is none.
    #[doc(hidden)]
    fn bias_act(y: &mut [Self], bias: &[Self], cols: usize, act: Act) {
        activation::plain(y, bias, cols, act);
    }

    /// `dz = dy * act'`, the slope taken from the activation's value `y`.
    #[doc(hidden)]
    fn act_backward(y: &[Self], dy: &[Self], dz: &mut [Self], act: Act) {
        activation::plain_backward(y, dy, dz, act);
    }

    /// `sums[cols] = ` column sums of `x[n, cols]`, or `+=` with `add`.
    #[doc(hidden)]
    fn column_sum(x: &[Self], sums: &mut [Self], add: bool) {
        column_sum::plain(x, sums, add);
    }

    /// Weighted sum of binary cross entropies over `scale`, and its slope by each logit.
    #[doc(hidden)]
    fn bce(logits: &[Self], labels: &[f32], weights: &[f32], scale: f64, slope: &mut [Self]) -> Self {
        bce::plain(logits, labels, weights, scale, slope)
    }

    /// One step of a recurrent cell: [`Cell::forward`].
    #[doc(hidden)]
    fn cell_forward(cell: Cell, step: &Step<Self>, forward: cell::Forward<Self>) {
        cell::plain_forward(cell, step, forward);
    }

    /// The gradient through it: [`Cell::backward`].
    #[doc(hidden)]
    fn cell_backward(cell: Cell, step: &Step<Self>, backward: cell::Backward<Self>) {
        cell::plain_backward(cell, step, backward);
    }
}

macro_rules! elementary {
    ($real:ty) => {
        const ZERO: $real = 0.0;
        const ONE: $real = 1.0;

        #[inline]
        fn from_f64(x: f64) -> $real {
            x as $real
        }
        #[inline]
        fn to_f64(self) -> f64 {
            f64::from(self)
        }
        #[inline]
        fn from_f32(x: f32) -> $real {
            <$real>::from(x)
        }
        #[inline]
        fn exp(self) -> $real {
            <$real>::exp(self)
        }
        #[inline]
        fn ln_1p(self) -> $real {
            <$real>::ln_1p(self)
        }
        #[inline]
        fn ln(self) -> $real {
            <$real>::ln(self)
        }
        #[inline]
        fn sqrt(self) -> $real {
            <$real>::sqrt(self)
        }
        #[inline]
        fn tanh(self) -> $real {
            <$real>::tanh(self)
        }
        #[inline]
        fn abs(self) -> $real {
            <$real>::abs(self)
        }
    };
}

impl Real for f64 {
    elementary!(f64);
}

impl Real for f32 {
    elementary!(f32);

    fn matmul(shape: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32], add: bool, scratch: &mut [Vec<f32>; 2]) {
        matmul::simd(shape, a, b, c, add, scratch);
    }
    fn matmul_at(shape: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32], add: bool, scratch: &mut [Vec<f32>; 2]) {
        matmul::simd_at(shape, a, b, c, add, scratch);
    }
    fn matmul_bt(shape: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32], add: bool, scratch: &mut [Vec<f32>; 2]) {
        matmul::simd_bt(shape, a, b, c, add, scratch);
    }
    fn bias_act(y: &mut [f32], bias: &[f32], cols: usize, act: Act) {
        activation::simd(y, bias, cols, act);
    }
    fn act_backward(y: &[f32], dy: &[f32], dz: &mut [f32], act: Act) {
        activation::simd_backward(y, dy, dz, act);
    }
    fn column_sum(x: &[f32], sums: &mut [f32], add: bool) {
        column_sum::simd(x, sums, add);
    }
    fn bce(logits: &[f32], labels: &[f32], weights: &[f32], scale: f64, slope: &mut [f32]) -> f32 {
        bce::simd(logits, labels, weights, scale, slope)
    }
    fn cell_forward(cell: Cell, step: &Step<f32>, forward: cell::Forward<f32>) {
        cell::simd_forward(cell, step, forward);
    }
    fn cell_backward(cell: Cell, step: &Step<f32>, backward: cell::Backward<f32>) {
        cell::simd_backward(cell, step, backward);
    }
}
