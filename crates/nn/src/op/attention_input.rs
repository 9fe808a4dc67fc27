//! What target attention compares.

use super::Op;
use crate::optim::dispatch;
use crate::tape::runs;
use crate::{Groups, Real, Tape, Var};

/// `[t; s; t - s; t * s]` for each row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionInput {
    target: Var,
    rows: Var,
    groups: Groups,
}

impl<T: Real> Tape<T> {
    /// `[t; s; t - s; t * s]` for each row `s` of `rows`, `[m, cols]`, and the target `t` of its group, `target` being
    /// `[groups, cols]`: `[m, 4 * cols]` (the activation unit of Zhou et al., KDD 2018).
    pub fn attention_input(&mut self, target: Var, rows: Var, groups: Groups) -> Var {
        let ((n, cols), (m, width)) = (self.shape(target), self.shape(rows));
        assert_eq!(cols, width, "attention_input: targets and rows have as many columns");
        assert_eq!(self.group_sizes(groups), (n, m), "attention_input: a group for each target, all rows in groups");
        let needs_grad = self.needs_grad(target) || self.needs_grad(rows);
        let y = self.push(m, 4 * cols, needs_grad, Op::AttentionInput(AttentionInput { target, rows, groups }));
        let (ends, range) = (std::mem::take(&mut self.ends), self.range(groups));
        let (before, out) = self.output(y);
        let (target, rows) = (before.of(target), before.of(rows));
        dispatch(
            #[inline(always)]
            || {
                for (i, run) in runs(&ends[range]).enumerate() {
                    let t = &target[i * cols..][..cols];
                    for j in run {
                        let (s, y) = (&rows[j * cols..][..cols], &mut out[j * 4 * cols..][..4 * cols]);
                        y[..cols].copy_from_slice(t);
                        y[cols..2 * cols].copy_from_slice(s);
                        for c in 0..cols {
                            y[2 * cols + c] = t[c] - s[c];
                            y[3 * cols + c] = t[c] * s[c];
                        }
                    }
                }
            },
        );
        self.ends = ends;
        y
    }
}

impl AttentionInput {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let cols = tape.shape(self.rows).1;
        let (ends, range) = (std::mem::take(&mut tape.ends), tape.range(self.groups));
        if let Some(flow) = tape.flow(y, self.target) {
            let (rows, dy, dt) = (flow.values.of(self.rows), flow.dy, flow.dx);
            if !flow.add {
                dt.fill(T::ZERO);
            }
            let ends = &ends[range.clone()];
            dispatch(
                #[inline(always)]
                || {
                    for (i, run) in runs(ends).enumerate() {
                        let dt = &mut dt[i * cols..][..cols];
                        for j in run {
                            let (s, dy) = (&rows[j * cols..][..cols], &dy[j * 4 * cols..][..4 * cols]);
                            for c in 0..cols {
                                dt[c] += dy[c] + dy[2 * cols + c] + dy[3 * cols + c] * s[c];
                            }
                        }
                    }
                },
            );
        }
        if let Some(flow) = tape.flow(y, self.rows) {
            let (target, dy, ds, add) = (flow.values.of(self.target), flow.dy, flow.dx, flow.add);
            let ends = &ends[range];
            dispatch(
                #[inline(always)]
                || {
                    for (i, run) in runs(ends).enumerate() {
                        let t = &target[i * cols..][..cols];
                        for j in run {
                            let (ds, dy) = (&mut ds[j * cols..][..cols], &dy[j * 4 * cols..][..4 * cols]);
                            for c in 0..cols {
                                let g = dy[cols + c] - dy[2 * cols + c] + dy[3 * cols + c] * t[c];
                                ds[c] = if add { ds[c] + g } else { g };
                            }
                        }
                    }
                },
            );
        }
        tape.ends = ends;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, scalar};

    #[test]
    fn values_by_hand() {
        let mut tape = Tape::<f32>::new();
        let target = tape.leaf(2, 1, |t| t.copy_from_slice(&[2.0, 3.0]));
        let rows = tape.leaf(2, 1, |s| s.copy_from_slice(&[5.0, -1.0]));
        let groups = tape.groups([0, 2]);
        let y = tape.attention_input(target, rows, groups);
        assert_eq!(tape.value(y), [3.0, 5.0, -2.0, 15.0, 3.0, -1.0, 4.0, -3.0]);
    }

    #[test]
    fn gradients_equal_differences() {
        check(&[(3, 2), (4, 2)], |tape, v| {
            let groups = tape.groups([1, 0, 3]);
            let y = tape.attention_input(v[0], v[1], groups);
            let both = tape.concat(&[y, v[1]]);
            scalar(tape, both)
        });
    }

    #[test]
    #[should_panic(expected = "attention_input: a group for each target")]
    fn groups_must_fit() {
        let mut tape = Tape::<f32>::new();
        let (target, rows) = (tape.leaf(2, 1, |_| {}), tape.leaf(3, 1, |_| {}));
        let groups = tape.groups([1, 1]);
        tape.attention_input(target, rows, groups);
    }
}
