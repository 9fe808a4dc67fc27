//! Matrix products. Row-major, no padding asked of callers; with `add` the product is added to what `c` holds.
//!
//! The `f32` version keeps a tile of `c`, some rows by up to three vectors, in registers over the whole depth. Every
//! element is summed in the order of the depth, by one accumulator: a row's result depends neither on the other rows
//! of the batch nor on the width of the vectors (but products with a single column are dot products, by lanes).
//! That, no allocation and no `unsafe` are why this is not the `gemm` crate, which blocks by the size of the cache and
//! allocates in every call. Speeds are alike (GFLOP/s on one core with AVX-512, whose own limit is about 230; `gemm`
//! 0.19 built for release):
//!
//! | batch x in x out | forward | `gemm` | `dw` | `gemm` | `dx` | `gemm` |
//! |---|---|---|---|---|---|---|
//! | 256 x 24 x 200 | 157 | 171 | 168 | 134 | 131 | 140 |
//! | 256 x 200 x 80 | 223 | 193 | 177 | 189 | 155 | 184 |
//!
//! Did not help: gathering short rows of `b` into panels (-5 %). Helped most: broadcasting from memory (+40 %).

use super::dispatch;
use crate::Real;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// `c[m, n] = a[m, k] b[k, n]`.
pub(crate) fn plain<T: Real>([m, k, n]: [usize; 3], a: &[T], b: &[T], c: &mut [T], add: bool) {
    product([m, k, n], |i, p| a[i * k + p], |p, j| b[p * n + j], c, add);
}

/// `c[m, n] = a^T b` for `a[k, m]`, `b[k, n]`.
pub(crate) fn plain_at<T: Real>([m, k, n]: [usize; 3], a: &[T], b: &[T], c: &mut [T], add: bool) {
    product([m, k, n], |i, p| a[p * m + i], |p, j| b[p * n + j], c, add);
}

/// `c[m, n] = a b^T` for `a[m, k]`, `b[n, k]`.
pub(crate) fn plain_bt<T: Real>([m, k, n]: [usize; 3], a: &[T], b: &[T], c: &mut [T], add: bool) {
    product([m, k, n], |i, p| a[i * k + p], |p, j| b[j * k + p], c, add);
}

fn product<T: Real>(
    [m, k, n]: [usize; 3],
    a: impl Fn(usize, usize) -> T,
    b: impl Fn(usize, usize) -> T,
    c: &mut [T],
    add: bool,
) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = T::ZERO;
            for p in 0..k {
                sum += a(i, p) * b(p, j);
            }
            c[i * n + j] = if add { c[i * n + j] + sum } else { sum };
        }
    }
}

/// [`plain`] in SIMD; `scratch` is memory to be reused.
pub(crate) fn simd(shape: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32], add: bool, scratch: &mut [Vec<f32>; 2]) {
    let [m, k, n] = shape;
    assert_eq!((a.len(), b.len(), c.len()), (m * k, k * n, m * n), "matmul of [m, k, n] = {shape:?}");
    if n == 1 {
        dispatch(Dots { a, b, c, add });
    } else {
        dispatch(Product::<false> { shape, a, b, stride: n, c, add, scratch: &mut scratch[0] });
    }
}

/// [`plain_at`] in SIMD.
pub(crate) fn simd_at(shape: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32], add: bool, scratch: &mut [Vec<f32>; 2]) {
    let [m, k, n] = shape;
    assert_eq!((a.len(), b.len(), c.len()), (m * k, k * n, m * n), "matmul of [m, k, n] = {shape:?}");
    if n == 1 {
        // The transposed product fills the vectors: the same memory read as c^T = b^T a.
        dispatch(Product::<false> { shape: [1, k, m], a: b, b: a, stride: m, c, add, scratch: &mut scratch[0] });
    } else {
        dispatch(Product::<true> { shape, a, b, stride: n, c, add, scratch: &mut scratch[0] });
    }
}

/// [`plain_bt`] in SIMD: `b` is transposed first, which costs little as long as `m` is a batch.
pub(crate) fn simd_bt(shape: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32], add: bool, scratch: &mut [Vec<f32>; 2]) {
    let [m, k, n] = shape;
    assert_eq!((a.len(), b.len(), c.len()), (m * k, k * n, m * n), "matmul of [m, k, n] = {shape:?}");
    if n == 1 {
        return dispatch(Dots { a, b, c, add });
    }
    // Rows of full vectors on every machine need no further padding.
    let stride = n.next_multiple_of(16);
    let [transposed, scratch] = scratch;
    transpose(b, k, transposed, stride);
    dispatch(Product::<false> { shape, a, b: transposed, stride, c, add, scratch });
}

/// `to[cols, ..] = from[rows, cols]^T` with rows of `stride`, in blocks so that both sides stay in cache.
fn transpose(from: &[f32], cols: usize, to: &mut Vec<f32>, stride: usize) {
    const SQUARE: usize = 16;
    to.clear();
    to.resize(cols * stride, 0.0);
    let rows = from.len().checked_div(cols).unwrap_or(0);
    for top in (0..rows).step_by(SQUARE) {
        let height = SQUARE.min(rows - top);
        for col in 0..cols {
            let column = from[top * cols + col..].iter().step_by(cols);
            for (to, &from) in to[col * stride + top..][..height].iter_mut().zip(column) {
                *to = from;
            }
        }
    }
}

/// Rows of `b` longer than this are gathered into panels first: a panel read in place would touch a page of memory per
/// row, which halves the speed at 256 x 1024 x 512.
const LONG_ROW: usize = 512;
/// Elements of `a` that are worked on at once, half a megabyte, so that they stay in cache from panel to panel.
const BLOCK: usize = 1 << 17;

/// `c = a b`, or `a^T b` with `AT`.
struct Product<'a, const AT: bool> {
    shape: [usize; 3],
    a: &'a [f32],
    b: &'a [f32],
    /// From one row of `b` to the next.
    stride: usize,
    c: &'a mut [f32],
    add: bool,
    scratch: &'a mut Vec<f32>,
}

impl<const AT: bool> WithSimd for Product<'_, AT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Product { shape, a, b, stride, c, add, scratch } = self;
        let ([m, k, n], lanes) = (shape, S::F32_LANES);
        let block = (BLOCK / k.max(1)).next_multiple_of(8).max(64);
        for top in (0..m).step_by(block) {
            let rows = top..m.min(top + block);
            for first in (0..n).step_by(3 * lanes) {
                let width = (3 * lanes).min(n - first);
                let vectors = width.div_ceil(lanes);
                let whole = first + vectors * lanes <= stride;
                let (b, stride) = if whole && (stride < LONG_ROW || rows.len() < 32) {
                    (&b[first.min(b.len())..], stride)
                } else {
                    gather(b, stride, first..first + width, vectors * lanes, scratch);
                    (scratch.as_slice(), vectors * lanes)
                };
                let panel = Panel { a, b, stride, shape, first, width, add };
                match vectors {
                    1 => panel.rows::<S, AT, 1>(simd, rows.clone(), c),
                    2 => panel.rows::<S, AT, 2>(simd, rows.clone(), c),
                    _ => panel.rows::<S, AT, 3>(simd, rows.clone(), c),
                }
            }
        }
    }
}

/// Copies `columns` of `b` to rows of length `padded`, the rest zero: vectors are then always full.
fn gather(b: &[f32], stride: usize, columns: Range<usize>, padded: usize, to: &mut Vec<f32>) {
    to.clear();
    to.resize(b.len() / stride * padded, 0.0);
    for (to, from) in to.chunks_exact_mut(padded).zip(b.chunks_exact(stride)) {
        to[..columns.len()].copy_from_slice(&from[columns.clone()]);
    }
}

/// Some columns of the product.
#[derive(Clone, Copy)]
struct Panel<'a> {
    a: &'a [f32],
    /// From the panel's first column on; each row holds full vectors.
    b: &'a [f32],
    stride: usize,
    shape: [usize; 3],
    first: usize,
    width: usize,
    add: bool,
}

impl Panel<'_> {
    #[inline(always)]
    fn rows<S: Simd, const AT: bool, const VECTORS: usize>(self, simd: S, rows: Range<usize>, c: &mut [f32]) {
        let (mut i, end) = (rows.start, rows.end);
        // Eight rows by three vectors, the rows of `b` and one broadcast value fill 28 registers.
        while S::REGISTER_COUNT >= 32 && i + 8 <= end {
            self.tile::<S, AT, 8, VECTORS>(simd, i, c);
            i += 8;
        }
        while i + 4 <= end {
            self.tile::<S, AT, 4, VECTORS>(simd, i, c);
            i += 4;
        }
        while i < end {
            self.tile::<S, AT, 1, VECTORS>(simd, i, c);
            i += 1;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const AT: bool, const ROWS: usize, const VECTORS: usize>(self, simd: S, i: usize, c: &mut [f32]) {
        let [m, k, n] = self.shape;
        let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
        if !AT {
            for (r, row) in rows.iter_mut().enumerate() {
                *row = &self.a[(i + r) * k..][..k];
            }
        }
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        for p in 0..k {
            let right = S::as_simd_f32s(&self.b[p * self.stride..][..VECTORS * S::F32_LANES]).0;
            if AT {
                for (sums, left) in sums.iter_mut().zip(&self.a[p * m + i..][..ROWS]) {
                    accumulate(simd, sums, left, right);
                }
            } else {
                for (sums, row) in sums.iter_mut().zip(rows) {
                    accumulate(simd, sums, &row[p], right);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let c = &mut c[(i + r) * n + self.first..][..self.width];
            for (c, sum) in c.chunks_mut(S::F32_LANES).zip(sums) {
                store(simd, c, sum, self.add);
            }
        }
    }
}

/// `sums += left * right`. The number is broadcast from memory: from a register it would keep a multiplier busy.
#[inline(always)]
fn accumulate<S: Simd, const VECTORS: usize>(simd: S, sums: &mut [S::f32s; VECTORS], left: &f32, right: &[S::f32s]) {
    let left = simd.splat_f32s(*left);
    for (sum, &right) in sums.iter_mut().zip(right) {
        *sum = simd.mul_add_e_f32s(left, right, *sum);
    }
}

/// Writes, or adds, as many lanes as `c` has elements.
#[inline(always)]
fn store<S: Simd>(simd: S, c: &mut [f32], value: S::f32s, add: bool) {
    if let ([whole], _) = S::as_mut_simd_f32s(c) {
        *whole = if add { simd.add_f32s(*whole, value) } else { value };
    } else {
        let value = if add { simd.add_f32s(simd.partial_load_f32s(c), value) } else { value };
        simd.partial_store_f32s(c, value);
    }
}

/// `c[m, 1] = a[m, k] b[k, 1]`.
struct Dots<'a> {
    a: &'a [f32],
    b: &'a [f32],
    c: &'a mut [f32],
    add: bool,
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (b, b_tail) = S::as_simd_f32s(self.b);
        let b_tail = simd.partial_load_f32s(b_tail);
        for (i, c) in self.c.iter_mut().enumerate() {
            let (a, a_tail) = S::as_simd_f32s(&self.a[i * self.b.len()..][..self.b.len()]);
            let mut sum = simd.mul_f32s(simd.partial_load_f32s(a_tail), b_tail);
            for (&a, &b) in a.iter().zip(b) {
                sum = simd.mul_add_e_f32s(a, b, sum);
            }
            let sum = simd.reduce_sum_f32s(sum);
            *c = if self.add { *c + sum } else { sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::{assert_close, noise, on_every_set, wide};

    type Plain = fn([usize; 3], &[f64], &[f64], &mut [f64], bool);
    type Fast = fn([usize; 3], &[f32], &[f32], &mut [f32], bool, &mut [Vec<f32>; 2]);
    const PAIRS: [(Plain, Fast); 3] = [(plain, simd), (plain_at, simd_at), (plain_bt, simd_bt)];

    /// Each row of tiles and each width of panels occurs, with and without a rest, for 4, 8 and 16 lanes.
    #[test]
    fn fast_equals_plain_on_all_kinds_of_shapes() {
        on_every_set(|| {
            let mut scratch = [vec![f32::NAN; 7], Vec::new()];
            for m in [0, 1, 3, 4, 8, 13, 21] {
                for n in [0, 1, 2, 8, 16, 24, 31, 33, 48, 80, 101] {
                    for k in [0, 1, 5, 24] {
                        let (a, b, old) = (noise(m * k, 1), noise(k * n, 2), noise(m * n, 3));
                        for ((plain, fast), add) in PAIRS.into_iter().zip([false, true, false]) {
                            check([m, k, n], (&a, &b, &old), (plain, fast), add, &mut scratch);
                            check([m, k, n], (&a, &b, &old), (plain, fast), !add, &mut scratch);
                        }
                    }
                }
            }
        });
    }

    /// More rows than a block, and rows that are gathered.
    #[test]
    fn fast_equals_plain_on_large_shapes() {
        let mut scratch = Default::default();
        for [m, k, n] in [[70, 3000, 5], [33, 3, 530], [40, 600, 520]] {
            let (a, b, old) = (noise(m * k, 1), noise(k * n, 2), noise(m * n, 3));
            for pair in PAIRS {
                check([m, k, n], (&a, &b, &old), pair, true, &mut scratch);
            }
        }
    }

    fn check(
        shape: [usize; 3],
        (a, b, old): (&[f32], &[f32], &[f32]),
        (plain, fast): (Plain, Fast),
        add: bool,
        scratch: &mut [Vec<f32>; 2],
    ) {
        let k = shape[1];
        let (mut expected, mut got) = (wide(old), old.to_vec());
        plain(shape, &wide(a), &wide(b), &mut expected, add);
        fast(shape, a, b, &mut got, add, scratch);
        // k products of at most 16, each sum rounded to 2^-24 of itself.
        let bound = 16.0 * (k * k) as f64 / 2.0 / f64::from(1 << 24);
        assert_close(&got, &expected, (bound + 1e-6).min(1e-2), &format!("{shape:?}, add {add}"));
    }

    #[test]
    fn a_row_does_not_depend_on_the_other_rows() {
        on_every_set(|| {
            let (k, n) = (24, 40);
            let (a, b) = (noise(13 * k, 1), noise(k * n, 2));
            let (mut together, mut alone, mut scratch) = (vec![0.0; 13 * n], vec![0.0; n], Default::default());
            simd([13, k, n], &a, &b, &mut together, false, &mut scratch);
            for (a, together) in a.chunks(k).zip(together.chunks(n)) {
                simd([1, k, n], a, &b, &mut alone, false, &mut scratch);
                assert_eq!(alone, together);
            }
        });
    }

    #[test]
    fn nan_spreads_over_its_row_only() {
        on_every_set(|| {
            let (k, n) = (5, 20);
            let mut a = noise(3 * k, 1);
            a[k + 2] = f32::NAN;
            let (b, mut c, mut scratch) = (vec![0.0; k * n], vec![1.0; 3 * n], Default::default());
            simd([3, k, n], &a, &b, &mut c, false, &mut scratch);
            assert!(c[n..2 * n].iter().all(|c| c.is_nan()));
            assert!(c[..n].iter().chain(&c[2 * n..]).all(|&c| c == 0.0));
        });
    }
}
