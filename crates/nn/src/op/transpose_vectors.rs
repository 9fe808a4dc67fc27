//! A row's vectors, one dimension after the other.

use super::Op;
use crate::{Real, Tape, Var};

/// Vectors of `dim`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransposeVectors {
    x: Var,
    dim: usize,
}

impl<T: Real> Tape<T> {
    /// `[e_1; ...; e_F]`, `[n, F * dim]`, as `[n * dim, F]`: row `i * dim + d` holds element `d` of each vector of row
    /// `i`. What is then linear over columns is linear over fields, alike for each dimension.
    pub fn transpose_vectors(&mut self, x: Var, dim: usize) -> Var {
        let (n, cols) = self.shape(x);
        assert!(dim > 0 && cols.is_multiple_of(dim), "transpose_vectors: {cols} columns are no vectors of {dim}");
        let (fields, needs_grad) = (cols / dim, self.needs_grad(x));
        let y = self.push(n * dim, fields, needs_grad, Op::TransposeVectors(TransposeVectors { x, dim }));
        let (before, out) = self.output(y);
        each_row(before.of(x), out, cols, |x, y| transpose(x, y, dim, fields, |y, x| *y = x));
        y
    }
}

impl TransposeVectors {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let (cols, fields) = (tape.shape(self.x).1, tape.shape(y).1);
        let Some(flow) = tape.flow(y, self.x) else { return };
        each_row(flow.dy, flow.dx, cols, |dy, dx| match flow.add {
            true => transpose(dy, dx, fields, self.dim, |dx, dy| *dx += dy),
            false => transpose(dy, dx, fields, self.dim, |dx, dy| *dx = dy),
        });
    }
}

fn each_row<T>(from: &[T], to: &mut [T], len: usize, mut f: impl FnMut(&[T], &mut [T])) {
    for (from, to) in from.chunks_exact(len.max(1)).zip(to.chunks_exact_mut(len.max(1))) {
        f(from, to);
    }
}

/// From rows of `width` to rows of `height`.
fn transpose<T: Copy>(from: &[T], to: &mut [T], width: usize, height: usize, mut write: impl FnMut(&mut T, T)) {
    for (row, from) in from.chunks_exact(width.max(1)).enumerate() {
        for (col, &x) in from.iter().enumerate() {
            write(&mut to[col * height + row], x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, scalar};

    #[test]
    fn values_by_hand() {
        let mut tape = Tape::<f32>::new();
        let x = tape.leaf(1, 6, |x| x.copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let y = tape.transpose_vectors(x, 2);
        assert_eq!((tape.shape(y), tape.value(y)), ((2, 3), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0].as_slice()));
    }

    #[test]
    fn gradients_equal_differences() {
        check(&[(3, 6)], |tape, v| {
            let (first, second) = (tape.transpose_vectors(v[0], 2), tape.transpose_vectors(v[0], 2));
            let both = tape.concat(&[first, second]);
            scalar(tape, both)
        });
    }
}
