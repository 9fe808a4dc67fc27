//! Weighted sums over groups of rows.

use super::Op;
use crate::optim::dispatch;
use crate::tape::runs;
use crate::{Groups, Real, Tape, Var};

/// `weights` holds what each row counts, `[m, 1]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attend {
    scores: Var,
    rows: Var,
    groups: Groups,
    weights: Var,
    /// Factor of scores before a softmax; `None` where they are weights themselves.
    softmax: Option<f64>,
}

impl<T: Real> Tape<T> {
    /// The weighted sum of each group's rows: `scores` is `[m, 1]`, `rows` is `[m, cols]`; returns `[groups, cols]`.
    /// Without `softmax` scores are weights themselves; else a group's weights are the softmax of its scores times that
    /// factor, so that equal scores give the mean. An empty group gives zeros.
    pub fn attend(&mut self, scores: Var, rows: Var, groups: Groups, softmax: Option<f64>) -> Var {
        let ((m, cols), (n, all)) = (self.shape(rows), self.group_sizes(groups));
        assert_eq!(self.shape(scores), (m, 1), "attend: one score for each of {m} rows");
        assert_eq!(all, m, "attend: all rows in groups");
        let needs_grad = self.needs_grad(scores) || self.needs_grad(rows);
        let weights = self.push(m, 1, false, Op::Source);
        let (ends, range) = (std::mem::take(&mut self.ends), self.range(groups));
        let (before, out) = self.output(weights);
        out.copy_from_slice(before.of(scores));
        if let Some(factor) = softmax {
            runs(&ends[range.clone()]).for_each(|run| softmax_in_place(&mut out[run], T::from_f64(factor)));
        }
        let attend = Attend { scores, rows, groups, weights, softmax };
        let y = self.push(n, cols, needs_grad, Op::Attend(attend));
        let (before, out) = self.output(y);
        let (rows, weights) = (before.of(rows), before.of(weights));
        out.fill(T::ZERO);
        dispatch(
            #[inline(always)]
            || {
                for (i, run) in runs(&ends[range]).enumerate() {
                    let y = &mut out[i * cols..][..cols];
                    for j in run {
                        let (weight, s) = (weights[j], &rows[j * cols..][..cols]);
                        for c in 0..cols {
                            y[c] += weight * s[c];
                        }
                    }
                }
            },
        );
        self.ends = ends;
        y
    }
}

/// The largest score is taken off first, so that nothing overflows.
fn softmax_in_place<T: Real>(scores: &mut [T], factor: T) {
    scores.iter_mut().for_each(|score| *score = *score * factor);
    let largest = scores.iter().fold(None, |largest, &score| match largest {
        Some(largest) if score <= largest => Some(largest),
        _ => Some(score),
    });
    let mut sum = T::ZERO;
    for score in scores.iter_mut() {
        *score = (*score - largest.expect("there is a score")).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score = *score / sum);
}

impl Attend {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let cols = tape.shape(y).1;
        let (ends, range) = (std::mem::take(&mut tape.ends), tape.range(self.groups));
        if let Some(flow) = tape.flow(y, self.rows) {
            let (weights, dy, ds, add) = (flow.values.of(self.weights), flow.dy, flow.dx, flow.add);
            dispatch(
                #[inline(always)]
                || {
                    for (i, run) in runs(&ends[range.clone()]).enumerate() {
                        let dy = &dy[i * cols..][..cols];
                        for j in run {
                            let (weight, ds) = (weights[j], &mut ds[j * cols..][..cols]);
                            for c in 0..cols {
                                ds[c] = if add { ds[c] + weight * dy[c] } else { weight * dy[c] };
                            }
                        }
                    }
                },
            );
        }
        let mut scratch = std::mem::take(&mut tape.scratch);
        if let Some(flow) = tape.flow(y, self.scores) {
            let (rows, weights) = (flow.values.of(self.rows), flow.values.of(self.weights));
            scratch.dz.resize(scratch.dz.len().max(weights.len()), T::ZERO);
            let slopes = &mut scratch.dz[..weights.len()];
            for (i, run) in runs(&ends[range]).enumerate() {
                let dy = &flow.dy[i * cols..][..cols];
                for j in run.clone() {
                    slopes[j] = T::ZERO;
                    rows[j * cols..][..cols].iter().zip(dy).for_each(|(&s, &dy)| slopes[j] += s * dy);
                }
                if let Some(factor) = self.softmax {
                    softmax_backward(&weights[run.clone()], &mut slopes[run], T::from_f64(factor));
                }
            }
            for (dx, slope) in flow.dx.iter_mut().zip(slopes) {
                *dx = if flow.add { *dx + *slope } else { *slope };
            }
        }
        tape.scratch = scratch;
        tape.ends = ends;
    }
}

/// From slopes by weights to slopes by scores.
fn softmax_backward<T: Real>(weights: &[T], slopes: &mut [T], factor: T) {
    let mut mean = T::ZERO;
    weights.iter().zip(slopes.iter()).for_each(|(&weight, &slope)| mean += weight * slope);
    for (slope, &weight) in slopes.iter_mut().zip(weights) {
        *slope = weight * (*slope - mean) * factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, normal, scalar};

    #[test]
    fn gradients_equal_differences() {
        for softmax in [None, Some(0.7)] {
            check(&[(5, 1), (5, 3)], |tape, v| {
                let groups = tape.groups([2, 0, 1, 2]);
                let y = tape.attend(v[0], v[1], groups, softmax);
                scalar(tape, y)
            });
            // Scores that are made of the rows: gradients add up.
            check(&[(4, 2), (2, 1)], |tape, v| {
                let groups = tape.groups([3, 1]);
                let scores = tape.linear(v[0], v[1], None, crate::Act::Tanh);
                let first = tape.attend(scores, v[0], groups, softmax);
                let second = tape.attend(scores, v[0], groups, softmax);
                let both = tape.concat(&[first, second]);
                scalar(tape, both)
            });
        }
    }

    #[test]
    fn equal_scores_give_the_mean_and_empty_groups_zeros() {
        let mut tape = Tape::<f32>::new();
        let rows = tape.leaf(3, 2, |x| x.copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 7.0, 9.0]));
        let scores = tape.constant(3, 1, |x| x.fill(-1e30));
        let groups = tape.groups([2, 0, 1]);
        let y = tape.attend(scores, rows, groups, Some(1.0));
        assert_eq!(tape.value(y), [2.0, 3.0, 0.0, 0.0, 7.0, 9.0]);
        let ones = tape.constant(3, 1, |x| x.fill(1.0));
        let sum = tape.attend(ones, rows, groups, None);
        assert_eq!(tape.value(sum), [4.0, 6.0, 0.0, 0.0, 7.0, 9.0]);
    }

    #[test]
    fn large_scores_do_not_overflow_and_nan_spreads_over_its_group_only() {
        let mut tape = Tape::<f32>::new();
        let rows = tape.leaf(4, 1, |x| x.copy_from_slice(&[1.0, 2.0, 3.0, 4.0]));
        let scores = tape.leaf(4, 1, |x| x.copy_from_slice(&[1e30, 0.0, f32::NAN, 1.0]));
        let groups = tape.groups([2, 2]);
        let y = tape.attend(scores, rows, groups, Some(1.0));
        assert_eq!(tape.value(y)[0], 1.0);
        assert!(tape.value(y)[1].is_nan());
    }

    #[test]
    fn nothing_at_all_is_zeros() {
        let mut tape = Tape::<f64>::new();
        let (scores, rows) = (tape.leaf(0, 1, |_| {}), tape.leaf(0, 3, |_| {}));
        let groups = tape.groups([0, 0]);
        let y = tape.attend(scores, rows, groups, Some(1.0));
        let loss = scalar(&mut tape, y);
        tape.backward(loss);
        assert_eq!(tape.value(y), [0.0; 6]);
        assert_eq!(normal(0, 1).len(), tape.grad(rows).len());
    }
}
