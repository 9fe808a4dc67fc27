//! Sums over runs of rows of one length.

use super::Op;
use crate::{Real, Tape, Var};

/// Runs of `size` rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SumGroups {
    x: Var,
    size: usize,
}

impl<T: Real> Tape<T> {
    /// The sum of each `size` rows that follow one another: `[n * size, cols]` becomes `[n, cols]`.
    pub fn sum_groups(&mut self, x: Var, size: usize) -> Var {
        let ((rows, cols), needs_grad) = (self.shape(x), self.needs_grad(x));
        assert!(size > 0 && rows.is_multiple_of(size), "sum_groups: {rows} rows are no runs of {size}");
        let y = self.push(rows / size, cols, needs_grad, Op::SumGroups(SumGroups { x, size }));
        let (before, out) = self.output(y);
        let groups = before.of(x).chunks_exact((size * cols).max(1));
        groups.zip(out.chunks_exact_mut(cols.max(1))).for_each(|(group, sum)| T::column_sum(group, sum, false));
        y
    }
}

impl SumGroups {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let cols = tape.shape(y).1;
        let Some(flow) = tape.flow(y, self.x) else { return };
        let groups = flow.dx.chunks_exact_mut((self.size * cols).max(1));
        for (dx, dy) in groups.zip(flow.dy.chunks_exact(cols.max(1))) {
            for dx in dx.chunks_exact_mut(cols.max(1)) {
                match flow.add {
                    true => dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy),
                    false => dx.copy_from_slice(dy),
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
    fn values_by_hand() {
        let mut tape = Tape::<f32>::new();
        let x = tape.leaf(4, 2, |x| x.copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]));
        let y = tape.sum_groups(x, 2);
        assert_eq!((tape.shape(y), tape.value(y)), ((2, 2), [4.0, 6.0, 12.0, 14.0].as_slice()));
    }

    #[test]
    fn gradients_equal_differences() {
        check(&[(6, 2)], |tape, v| {
            let (first, second) = (tape.sum_groups(v[0], 3), tape.sum_groups(v[0], 3));
            let both = tape.concat(&[first, second]);
            scalar(tape, both)
        });
    }
}
