//! Matrices side by side.

use super::Op;
use crate::{Real, Tape, Var};

/// Stretch of the tape's list of parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Concat {
    first: usize,
    count: usize,
}

impl<T: Real> Tape<T> {
    /// The columns of `parts`, each `[n, cols_i]`, side by side: `[n, sum of cols_i]`. One matrix may occur twice.
    pub fn concat(&mut self, parts: &[Var]) -> Var {
        let rows = parts.first().map(|&part| self.shape(part).0).expect("concat: at least one part");
        for &part in parts {
            assert_eq!(self.shape(part).0, rows, "concat: rows of each part must equal those of the first");
        }
        let cols = parts.iter().map(|&part| self.shape(part).1).sum();
        let needs_grad = parts.iter().any(|&part| self.needs_grad(part));
        let first = self.parts.len();
        self.parts.extend_from_slice(parts);
        let y = self.push(rows, cols, needs_grad, Op::Concat(Concat { first, count: parts.len() }));
        let mut start = 0;
        for &part in parts {
            let width = self.shape(part).1;
            let (before, out) = self.output(y);
            copy_columns(before.of(part), (width, 0), out, (cols, start), width);
            start += width;
        }
        y
    }
}

impl Concat {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let cols = tape.shape(y).1;
        let mut start = 0;
        for index in self.first..self.first + self.count {
            let part = tape.parts[index];
            let width = tape.shape(part).1;
            if let Some(flow) = tape.flow(y, part) {
                if flow.add {
                    add_columns(flow.dy, (cols, start), flow.dx, (width, 0), width);
                } else {
                    copy_columns(flow.dy, (cols, start), flow.dx, (width, 0), width);
                }
            }
            start += width;
        }
    }
}

/// Row by row, the stretches of `width` elements: each side is (length of a row, first column).
fn columns<'a, T>(
    from: &'a [T],
    (from_cols, from_start): (usize, usize),
    to: &'a mut [T],
    (to_cols, to_start): (usize, usize),
    width: usize,
) -> impl Iterator<Item = (&'a [T], &'a mut [T])> {
    let from = from.chunks_exact(from_cols.max(1)).map(move |row| &row[from_start..from_start + width]);
    let to = to.chunks_exact_mut(to_cols.max(1)).map(move |row| &mut row[to_start..to_start + width]);
    from.zip(to)
}

fn copy_columns<T: Real>(from: &[T], at: (usize, usize), to: &mut [T], to_at: (usize, usize), width: usize) {
    for (from, to) in columns(from, at, to, to_at, width) {
        to.copy_from_slice(from);
    }
}

fn add_columns<T: Real>(from: &[T], at: (usize, usize), to: &mut [T], to_at: (usize, usize), width: usize) {
    for (from, to) in columns(from, at, to, to_at, width) {
        for (to, &from) in to.iter_mut().zip(from) {
            *to += from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, scalar};

    #[test]
    fn rows_are_joined() {
        let mut tape = Tape::<f32>::new();
        let left = tape.leaf(2, 1, |x| x.copy_from_slice(&[1.0, 2.0]));
        let right = tape.leaf(2, 2, |x| x.copy_from_slice(&[3.0, 4.0, 5.0, 6.0]));
        let none = tape.leaf(2, 0, |_| {});
        let y = tape.concat(&[left, none, right]);
        assert_eq!((tape.shape(y), tape.value(y)), ((2, 3), [1.0, 3.0, 4.0, 2.0, 5.0, 6.0].as_slice()));
    }

    #[test]
    fn gradients_equal_differences() {
        for n in [1, 3] {
            check(&[(n, 2), (n, 3)], |tape, v| {
                let y = tape.concat(v);
                scalar(tape, y)
            });
        }
    }

    #[test]
    fn no_rows_are_no_rows() {
        let mut tape = Tape::<f32>::new();
        let (left, right) = (tape.leaf(0, 2, |_| {}), tape.leaf(0, 3, |_| {}));
        let y = tape.concat(&[left, right]);
        let loss = scalar(&mut tape, y);
        tape.backward(loss);
        assert_eq!((tape.shape(y), tape.grad(left).len()), ((0, 5), 0));
    }

    #[test]
    fn a_part_that_occurs_twice_gets_both_gradients() {
        check(&[(3, 2), (3, 1)], |tape, v| {
            let y = tape.concat(&[v[0], v[1], v[0]]);
            scalar(tape, y)
        });
    }

    #[test]
    #[should_panic(expected = "concat: rows of each part")]
    fn parts_have_equal_rows() {
        let mut tape = Tape::<f32>::new();
        let (left, right) = (tape.leaf(2, 1, |_| {}), tape.leaf(3, 1, |_| {}));
        tape.concat(&[left, right]);
    }
}
