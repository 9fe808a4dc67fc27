//! Numbers as vectors.

use super::Op;
use crate::{Real, Tape, Var};

/// `y_if = x_if v_f`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScaledVectors {
    x: Var,
    v: Var,
}

impl<T: Real> Tape<T> {
    /// Each number times its field's vector, `e_f = x_f v_f`: `x` is `[n, F]`, `v` is `[F, dim]`; returns
    /// `[n, F * dim]`. A pair of such vectors scales by the product of their numbers.
    pub fn scaled_vectors(&mut self, x: Var, v: Var) -> Var {
        let ((n, fields), (vectors, dim)) = (self.shape(x), self.shape(v));
        assert_eq!(fields, vectors, "scaled_vectors: one vector for each of {fields} numbers");
        let needs_grad = self.needs_grad(x) || self.needs_grad(v);
        let y = self.push(n, fields * dim, needs_grad, Op::ScaledVectors(ScaledVectors { x, v }));
        let (before, out) = self.output(y);
        let (x, v) = (before.of(x), before.of(v));
        for (x, y) in x.chunks_exact(fields.max(1)).zip(out.chunks_exact_mut((fields * dim).max(1))) {
            for ((y, v), &x) in y.chunks_exact_mut(dim).zip(v.chunks_exact(dim)).zip(x) {
                y.iter_mut().zip(v).for_each(|(y, &v)| *y = x * v);
            }
        }
        y
    }
}

impl ScaledVectors {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let ((_, fields), (_, dim)) = (tape.shape(self.x), tape.shape(self.v));
        let width = (fields * dim).max(1);
        if let Some(flow) = tape.flow(y, self.x) {
            let v = flow.values.of(self.v);
            for (dx, dy) in flow.dx.chunks_exact_mut(fields.max(1)).zip(flow.dy.chunks_exact(width)) {
                for ((dx, dy), v) in dx.iter_mut().zip(dy.chunks_exact(dim)).zip(v.chunks_exact(dim)) {
                    let mut sum = if flow.add { *dx } else { T::ZERO };
                    dy.iter().zip(v).for_each(|(&dy, &v)| sum += dy * v);
                    *dx = sum;
                }
            }
        }
        if let Some(flow) = tape.flow(y, self.v) {
            let x = flow.values.of(self.x);
            if !flow.add {
                flow.dx.fill(T::ZERO);
            }
            for (x, dy) in x.chunks_exact(fields.max(1)).zip(flow.dy.chunks_exact(width)) {
                for ((dv, dy), &x) in flow.dx.chunks_exact_mut(dim).zip(dy.chunks_exact(dim)).zip(x) {
                    dv.iter_mut().zip(dy).for_each(|(dv, &dy)| *dv += x * dy);
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
        let x = tape.leaf(1, 2, |x| x.copy_from_slice(&[2.0, -1.0]));
        let v = tape.leaf(2, 2, |v| v.copy_from_slice(&[1.0, 3.0, 5.0, 0.0]));
        let y = tape.scaled_vectors(x, v);
        assert_eq!((tape.shape(y), tape.value(y)), ((1, 4), [2.0, 6.0, -5.0, 0.0].as_slice()));
    }

    #[test]
    fn gradients_equal_differences() {
        for n in [0, 1, 3] {
            check(&[(n, 2), (2, 3)], |tape, v| {
                let (first, second) = (tape.scaled_vectors(v[0], v[1]), tape.scaled_vectors(v[0], v[1]));
                let all = tape.concat(&[first, v[0], second]);
                scalar(tape, all)
            });
        }
    }
}
