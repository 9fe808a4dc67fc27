//! Numbers of some coordinates at once: one real number, or a vector of `f32`.
//!
//! The formulas of a cell are written once against these traits. With [`One`] they are the plain source, with
//! [`Wide`] the SIMD kernel.

use crate::Real;
use crate::kernel::math;
use pulp::Simd;
use std::marker::PhantomData;
use std::ops::{Add, Mul, Sub};

/// How many coordinates there are, and how their numbers come from memory.
pub(super) trait Lanes: Copy {
    type Real: Copy;
    /// A number per lane, in memory.
    type Vector: Copy;
    /// A number per lane, to compute with.
    type Value: Value;

    fn zero(self) -> Self::Value;
    fn value(self, vector: Self::Vector) -> Self::Value;
    fn vector(self, value: Self::Value) -> Self::Vector;
    /// The numbers of `from`, at most a vector of them, and zeros.
    fn load(self, from: &[Self::Real]) -> Self::Vector;
    /// As many numbers as `to` has.
    fn store(self, to: &mut [Self::Real], vector: Self::Vector);
    /// Memory as vectors.
    fn vectors(from: &[Self::Real]) -> &[Self::Vector];
    fn vectors_mut(to: &mut [Self::Real]) -> &mut [Self::Vector];
}

/// Arithmetic on each number.
pub(super) trait Value: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// `self + a b`.
    fn plus_product(self, a: Self, b: Self) -> Self;
    /// `self - a b`.
    fn minus_product(self, a: Self, b: Self) -> Self;
    fn sigmoid(self) -> Self;
    fn tanh(self) -> Self;
}

/// A single coordinate.
#[derive(Clone, Copy)]
pub(super) struct One<T>(pub(super) PhantomData<T>);

impl<T: Real> Lanes for One<T> {
    type Real = T;
    type Vector = T;
    type Value = T;

    fn zero(self) -> T {
        T::ZERO
    }
    fn value(self, vector: T) -> T {
        vector
    }
    fn vector(self, value: T) -> T {
        value
    }
    fn load(self, from: &[T]) -> T {
        from[0]
    }
    fn store(self, to: &mut [T], vector: T) {
        to[0] = vector;
    }
    fn vectors(from: &[T]) -> &[T] {
        from
    }
    fn vectors_mut(to: &mut [T]) -> &mut [T] {
        to
    }
}

impl<T: Real> Value for T {
    fn plus_product(self, a: T, b: T) -> T {
        self + a * b
    }
    fn minus_product(self, a: T, b: T) -> T {
        self - a * b
    }
    fn sigmoid(self) -> T {
        Real::sigmoid(self)
    }
    fn tanh(self) -> T {
        Real::tanh(self)
    }
}

/// As many coordinates as an instruction takes.
#[derive(Clone, Copy)]
pub(super) struct Wide<S>(pub(super) S);

impl<S: Simd> Lanes for Wide<S> {
    type Real = f32;
    type Vector = S::f32s;
    type Value = Numbers<S>;

    #[inline(always)]
    fn zero(self) -> Numbers<S> {
        Numbers(self.0, self.0.splat_f32s(0.0))
    }
    #[inline(always)]
    fn value(self, vector: S::f32s) -> Numbers<S> {
        Numbers(self.0, vector)
    }
    #[inline(always)]
    fn vector(self, value: Numbers<S>) -> S::f32s {
        value.1
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> S::f32s {
        match Self::vectors(from).first() {
            Some(&whole) => whole,
            None => self.0.partial_load_f32s(from),
        }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32], vector: S::f32s) {
        match Self::vectors_mut(to).first_mut() {
            Some(whole) => *whole = vector,
            None => self.0.partial_store_f32s(to, vector),
        }
    }
    #[inline(always)]
    fn vectors(from: &[f32]) -> &[S::f32s] {
        S::as_simd_f32s(from).0
    }
    #[inline(always)]
    fn vectors_mut(to: &mut [f32]) -> &mut [S::f32s] {
        S::as_mut_simd_f32s(to).0
    }
}

/// A vector and the instructions for it.
#[derive(Clone, Copy)]
pub(super) struct Numbers<S: Simd>(S, S::f32s);

impl<S: Simd> Add for Numbers<S> {
    type Output = Self;

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Numbers(self.0, self.0.add_f32s(self.1, b.1))
    }
}

impl<S: Simd> Sub for Numbers<S> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Numbers(self.0, self.0.sub_f32s(self.1, b.1))
    }
}

impl<S: Simd> Mul for Numbers<S> {
    type Output = Self;

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        Numbers(self.0, self.0.mul_f32s(self.1, b.1))
    }
}

impl<S: Simd> Value for Numbers<S> {
    #[inline(always)]
    fn plus_product(self, a: Self, b: Self) -> Self {
        Numbers(self.0, self.0.mul_add_e_f32s(a.1, b.1, self.1))
    }
    #[inline(always)]
    fn minus_product(self, a: Self, b: Self) -> Self {
        Numbers(self.0, self.0.negate_mul_add_e_f32s(a.1, b.1, self.1))
    }
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Numbers(self.0, math::quick_sigmoid(self.0, self.1))
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        Numbers(self.0, math::quick_tanh(self.0, self.1))
    }
}
