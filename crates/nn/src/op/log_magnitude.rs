//! Logarithms of magnitudes.

use super::Op;
use crate::{Real, Tape, Var};

/// `y = ln max(|x|, floor)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogMagnitude {
    x: Var,
    floor: f64,
}

impl<T: Real> Tape<T> {
    /// `ln max(|x|, floor)`, element by element; `floor` is positive. The slope is `1 / x`, and 0 where the magnitude is
    /// raised to the floor. NaN stays NaN.
    pub fn log_magnitude(&mut self, x: Var, floor: f64) -> Var {
        assert!(floor > 0.0, "log_magnitude: the floor must be positive, got {floor}");
        let ((n, cols), needs_grad) = (self.shape(x), self.needs_grad(x));
        let y = self.push(n, cols, needs_grad, Op::LogMagnitude(LogMagnitude { x, floor }));
        let (before, out) = self.output(y);
        let floor = T::from_f64(floor);
        for (y, &x) in out.iter_mut().zip(before.of(x)) {
            let magnitude = x.abs();
            *y = if magnitude < floor { floor } else { magnitude }.ln();
        }
        y
    }
}

impl LogMagnitude {
    pub(crate) fn backward<T: Real>(self, tape: &mut Tape<T>, y: Var) {
        let Some(flow) = tape.flow(y, self.x) else { return };
        let floor = T::from_f64(self.floor);
        for ((dx, &dy), &x) in flow.dx.iter_mut().zip(flow.dy).zip(flow.values.of(self.x)) {
            let g = if x.abs() < floor { T::ZERO } else { dy / x };
            *dx = if flow.add { *dx + g } else { g };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::{check, scalar};

    #[test]
    fn gradients_equal_differences() {
        check(&[(3, 4)], |tape, v| {
            let y = tape.log_magnitude(v[0], 0.05);
            let both = tape.concat(&[v[0], y]);
            scalar(tape, both)
        });
    }

    #[test]
    fn small_numbers_are_raised_to_the_floor_and_have_no_slope() {
        let mut tape = Tape::<f64>::new();
        let x = tape.leaf(1, 4, |x| x.copy_from_slice(&[0.0, -1e-9, -2.0, f64::NAN]));
        let y = tape.log_magnitude(x, 1e-4);
        let loss = scalar(&mut tape, y);
        let value = tape.value(y);
        assert_eq!(value[..3], [1e-4f64.ln(), 1e-4f64.ln(), 2f64.ln()]);
        assert!(value[3].is_nan());
        tape.backward(loss);
        assert!(tape.grad(x)[3].is_nan());
        let mut tape = Tape::<f64>::new();
        let x = tape.leaf(1, 3, |x| x.copy_from_slice(&[0.0, -1e-9, -2.0]));
        let y = tape.log_magnitude(x, 1e-4);
        let loss = scalar(&mut tape, y);
        tape.backward(loss);
        assert_eq!((tape.grad(x)[..2].to_vec(), tape.grad(x)[2]), (vec![0.0; 2], tape.grad(y)[2] / -2.0));
    }
}
