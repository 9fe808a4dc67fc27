//! Sums along rows: how the parts of a logit become one.

use super::Op;
use crate::{Real, Tape, Var};

/// Stretch of the tape's list of parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowSum {
    first: usize,
    count: usize,
}

impl<T: Real> Tape<T> {
    /// For each row the sum over all columns of all `parts`, each `[n, cols_i]`: `[n, 1]`, added in their order.
    /// A part may have no columns, and one matrix may occur twice.
    pub fn row_sum(&mut self, parts: &[Var]) -> Var {
        let rows = parts.first().map(|&part| self.shape(part).0).expect("row_sum: at least one part");
        for &part in parts {
            assert_eq!(self.shape(part).0, rows, "row_sum: rows of each part must equal those of the first");
        }
        let needs_grad = parts.iter().any(|&part| self.needs_grad(part));
        let first = self.parts.len();
        self.parts.extend_from_slice(parts);
        let y = self.push(rows, 1, needs_grad, Op::RowSum(RowSum { first, count: parts.len() }));
        self.output(y).1.fill(T::ZERO);
        for &part in parts {
            let width = self.shape(part).1;
            let (before, out) = self.output(y);
            for (sum, row) in out.iter_mut().zip(before.of(part).chunks_exact(width.max(1))) {
                for &x in row {
                    *sum += x;
                }
            }
        }
        y
    }
}

impl RowSum {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        for index in self.first..self.first + self.count {
            let part = tape.parts[index];
            let width = tape.shape(part).1;
            let Some(flow) = tape.flow(y, part) else { continue };
            for (dx, &dy) in flow.dx.chunks_exact_mut(width.max(1)).zip(flow.dy) {
                match flow.add {
                    true => dx.iter_mut().for_each(|dx| *dx += dy),
                    false => dx.fill(dy),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, scalar};

    #[test]
    fn rows_are_summed_over_all_parts() {
        let mut tape = Tape::<f32>::new();
        let left = tape.leaf(2, 2, |x| x.copy_from_slice(&[1.0, 2.0, 3.0, 4.0]));
        let none = tape.leaf(2, 0, |_| {});
        let right = tape.leaf(2, 1, |x| x.copy_from_slice(&[10.0, 20.0]));
        let y = tape.row_sum(&[left, none, right]);
        assert_eq!((tape.shape(y), tape.value(y)), ((2, 1), [13.0, 27.0].as_slice()));
    }

    #[test]
    fn gradients_equal_differences() {
        for n in [1, 3] {
            check(&[(n, 2), (n, 3)], |tape, v| {
                let y = tape.row_sum(&[v[0], v[1], v[0]]);
                scalar(tape, y)
            });
        }
    }
}
