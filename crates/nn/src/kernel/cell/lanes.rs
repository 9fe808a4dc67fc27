//! Numbers of some coordinates at once: one real number, or vectors of `f32`.
//!
//! The formulas of a cell are written once against these traits. With [`One`] they are the plain source, with
//! [`Wide`] the SIMD kernel.

use crate::Real;
use crate::kernel::math;
use pulp::Simd;
use std::ops::{Add, Mul, Sub};

/// How many coordinates a tile has, and how its numbers come from memory.
///
/// A [`Weight`](Lanes::Weight) has one number per lane, shared by the tile's rows; a [`Value`](Lanes::Value) has one
/// per row and lane. Slices start at the tile's first lane.
pub(super) trait Lanes: Copy {
    type Real: Copy;
    type Weight: Copy;
    type Value: Value<Self::Weight>;
    /// Rows of a tile.
    const ROWS: usize;

    fn zero(self) -> Self::Value;
    fn zero_weight(self) -> Self::Weight;
    fn load_weight(self, from: &[Self::Real]) -> Self::Weight;
    fn store_weight(self, to: &mut [Self::Real], weight: Self::Weight);
    /// Rows lie `row` numbers apart.
    fn load(self, from: &[Self::Real], row: usize) -> Self::Value;
    fn store(self, to: &mut [Self::Real], row: usize, value: Self::Value);
    /// The weight in every row.
    fn spread(self, weight: Self::Weight) -> Self::Value;
    /// `sum + ` the rows of `a`, in order.
    fn sum_rows(self, sum: Self::Weight, a: Self::Value) -> Self::Weight;
    /// `sum + ` the rows of `a b`, in order.
    fn sum_products(self, sum: Self::Weight, a: Self::Value, b: Self::Value) -> Self::Weight;
}

/// Arithmetic on each number.
pub(super) trait Value<Weight>: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// `weight * self`.
    fn times(self, weight: Weight) -> Self;
    /// `self + weight * a`.
    fn plus_times(self, weight: Weight, a: Self) -> Self;
    /// `self + a b`.
    fn plus_product(self, a: Self, b: Self) -> Self;
    /// `self - a b`.
    fn minus_product(self, a: Self, b: Self) -> Self;
    fn sigmoid(self) -> Self;
    fn tanh(self) -> Self;
}

/// A single coordinate of a single row.
#[derive(Clone, Copy)]
pub(super) struct One<T>(pub(super) std::marker::PhantomData<T>);

impl<T: Real> Lanes for One<T> {
    type Real = T;
    type Weight = T;
    type Value = T;
    const ROWS: usize = 1;

    fn zero(self) -> T {
        T::ZERO
    }
    fn zero_weight(self) -> T {
        T::ZERO
    }
    fn load_weight(self, from: &[T]) -> T {
        from[0]
    }
    fn store_weight(self, to: &mut [T], weight: T) {
        to[0] = weight;
    }
    fn load(self, from: &[T], _: usize) -> T {
        from[0]
    }
    fn store(self, to: &mut [T], _: usize, value: T) {
        to[0] = value;
    }
    fn spread(self, weight: T) -> T {
        weight
    }
    fn sum_rows(self, sum: T, a: T) -> T {
        sum + a
    }
    fn sum_products(self, sum: T, a: T, b: T) -> T {
        sum + a * b
    }
}

impl<T: Real> Value<T> for T {
    fn times(self, weight: T) -> T {
        weight * self
    }
    fn plus_times(self, weight: T, a: T) -> T {
        self + weight * a
    }
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

/// A vector of lanes in each of `ROWS` rows. It is a full vector if `FULL`, else its first `width` lanes.
///
/// Rows side by side share a weight that was loaded, and fill the waiting times of each other's sums.
#[derive(Clone, Copy)]
pub(super) struct Wide<S, const ROWS: usize, const FULL: bool> {
    pub(super) simd: S,
    pub(super) width: usize,
}

impl<S: Simd, const ROWS: usize, const FULL: bool> Wide<S, ROWS, FULL> {
    #[inline(always)]
    fn load_vector(self, from: &[f32]) -> S::f32s {
        if FULL {
            S::as_simd_f32s(&from[..S::F32_LANES]).0[0]
        } else {
            self.simd.partial_load_f32s(&from[..self.width])
        }
    }

    #[inline(always)]
    fn store_vector(self, to: &mut [f32], vector: S::f32s) {
        if FULL {
            S::as_mut_simd_f32s(&mut to[..S::F32_LANES]).0[0] = vector;
        } else {
            self.simd.partial_store_f32s(&mut to[..self.width], vector);
        }
    }
}

impl<S: Simd, const ROWS: usize, const FULL: bool> Lanes for Wide<S, ROWS, FULL> {
    type Real = f32;
    type Weight = S::f32s;
    type Value = Vectors<S, ROWS>;
    const ROWS: usize = ROWS;

    #[inline(always)]
    fn zero(self) -> Vectors<S, ROWS> {
        self.spread(self.zero_weight())
    }
    #[inline(always)]
    fn zero_weight(self) -> S::f32s {
        self.simd.splat_f32s(0.0)
    }
    #[inline(always)]
    fn load_weight(self, from: &[f32]) -> S::f32s {
        self.load_vector(from)
    }
    #[inline(always)]
    fn store_weight(self, to: &mut [f32], weight: S::f32s) {
        self.store_vector(to, weight);
    }
    #[inline(always)]
    fn load(self, from: &[f32], row: usize) -> Vectors<S, ROWS> {
        let mut value = self.zero();
        for r in 0..ROWS {
            value.of_row[r] = self.load_vector(&from[r * row..]);
        }
        value
    }
    #[inline(always)]
    fn store(self, to: &mut [f32], row: usize, value: Vectors<S, ROWS>) {
        for r in 0..ROWS {
            self.store_vector(&mut to[r * row..], value.of_row[r]);
        }
    }
    #[inline(always)]
    fn spread(self, weight: S::f32s) -> Vectors<S, ROWS> {
        Vectors { simd: self.simd, of_row: [weight; ROWS] }
    }
    #[inline(always)]
    fn sum_rows(self, mut sum: S::f32s, a: Vectors<S, ROWS>) -> S::f32s {
        for r in 0..ROWS {
            sum = self.simd.add_f32s(sum, a.of_row[r]);
        }
        sum
    }
    #[inline(always)]
    fn sum_products(self, mut sum: S::f32s, a: Vectors<S, ROWS>, b: Vectors<S, ROWS>) -> S::f32s {
        for r in 0..ROWS {
            sum = self.simd.mul_add_e_f32s(a.of_row[r], b.of_row[r], sum);
        }
        sum
    }
}

/// One vector for each of `ROWS` rows.
#[derive(Clone, Copy)]
pub(super) struct Vectors<S: Simd, const ROWS: usize> {
    simd: S,
    of_row: [S::f32s; ROWS],
}

/// A method on [`Vectors`] that does the same in every row. A plain loop: closures might stay calls, which are compiled
/// without wide instructions.
macro_rules! in_every_row {
    ($name:ident($($argument:ident: $kind:ty),*), |$simd:ident, $a:ident, $r:ident| $result:expr) => {
        #[inline(always)]
        fn $name(mut self $(, $argument: $kind)*) -> Self {
            let $simd = self.simd;
            for $r in 0..ROWS {
                let $a = self.of_row[$r];
                self.of_row[$r] = $result;
            }
            self
        }
    };
}

impl<S: Simd, const ROWS: usize> Add for Vectors<S, ROWS> {
    type Output = Self;
    in_every_row!(add(b: Self), |simd, a, r| simd.add_f32s(a, b.of_row[r]));
}

impl<S: Simd, const ROWS: usize> Sub for Vectors<S, ROWS> {
    type Output = Self;
    in_every_row!(sub(b: Self), |simd, a, r| simd.sub_f32s(a, b.of_row[r]));
}

impl<S: Simd, const ROWS: usize> Mul for Vectors<S, ROWS> {
    type Output = Self;
    in_every_row!(mul(b: Self), |simd, a, r| simd.mul_f32s(a, b.of_row[r]));
}

impl<S: Simd, const ROWS: usize> Value<S::f32s> for Vectors<S, ROWS> {
    in_every_row!(times(weight: S::f32s), |simd, a, r| simd.mul_f32s(weight, a));
    in_every_row!(plus_times(weight: S::f32s, b: Self), |simd, a, r| simd.mul_add_e_f32s(weight, b.of_row[r], a));
    in_every_row!(plus_product(b: Self, c: Self), |simd, a, r| simd.mul_add_e_f32s(b.of_row[r], c.of_row[r], a));
    in_every_row!(minus_product(b: Self, c: Self), |simd, a, r| {
        simd.mul_add_e_f32s(simd.neg_f32s(b.of_row[r]), c.of_row[r], a)
    });
    in_every_row!(sigmoid(), |simd, a, r| math::sigmoid_from(simd, a, math::exp_minus_abs(simd, a)));
    in_every_row!(tanh(), |simd, a, r| math::tanh(simd, a));
}
