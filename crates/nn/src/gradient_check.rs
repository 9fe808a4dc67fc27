//! Gradients against finite differences.

use std::fmt;

/// The coordinate at which a gradient and its finite difference are furthest apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorstCoordinate {
    /// Index of the parameter.
    pub parameter: usize,
    /// Index in the parameter.
    pub element: usize,
    /// What the gradient says.
    pub gradient: f64,
    /// What the central difference says.
    pub difference: f64,
    /// `|gradient - difference| / max(1, |gradient|, |difference|)`; NaN counts as the worst.
    pub error: f64,
}

impl fmt::Display for WorstCoordinate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WorstCoordinate { parameter, element, gradient, difference, error } = self;
        write!(
            f,
            "parameter {parameter}, element {element}: gradient {gradient:e}, central difference {difference:e}, \
             error {error:e}"
        )
    }
}

impl WorstCoordinate {
    /// Panics with both numbers unless the error is below `tolerance`. Smooth functions of order 1 reach 1e-9.
    #[track_caller]
    pub fn assert_below(&self, tolerance: f64) {
        assert!(self.error < tolerance, "gradient off by more than {tolerance:e} at {self}");
    }
}

/// Compares the gradient of a scalar function with central differences at every coordinate of `parameters`.
///
/// `loss_and_gradient` maps parameters to the loss and one gradient per parameter. The step is the cube root of the
/// machine precision times `max(1, |x|)`, which balances truncation against rounding. Costs two evaluations per
/// coordinate. Keep kinks (relu at 0) further away than a step.
///
/// # Panics
/// If there is no coordinate, or the gradients have other lengths than the parameters.
pub fn check_gradient(
    parameters: &[Vec<f64>],
    mut loss_and_gradient: impl FnMut(&[Vec<f64>]) -> (f64, Vec<Vec<f64>>),
) -> WorstCoordinate {
    let (_, gradients) = loss_and_gradient(parameters);
    let lengths = |list: &[Vec<f64>]| list.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(&gradients), lengths(parameters), "one gradient per parameter, of its length");
    let mut point = parameters.to_vec();
    let mut worst: Option<WorstCoordinate> = None;
    for (parameter, values) in parameters.iter().enumerate() {
        for (element, &x) in values.iter().enumerate() {
            let h = f64::EPSILON.cbrt() * x.abs().max(1.0);
            let mut loss_at = |x: f64| {
                point[parameter][element] = x;
                loss_and_gradient(&point).0
            };
            // The divisor is the step that was really taken, after rounding.
            let (up, down) = (x + h, x - h);
            let difference = (loss_at(up) - loss_at(down)) / (up - down);
            point[parameter][element] = x;
            let gradient = gradients[parameter][element];
            let error = (gradient - difference).abs() / gradient.abs().max(difference.abs()).max(1.0);
            let error = if error.is_nan() { f64::INFINITY } else { error };
            if worst.is_none_or(|worst| error > worst.error) {
                worst = Some(WorstCoordinate { parameter, element, gradient, difference, error });
            }
        }
    }
    worst.expect("at least one coordinate to check")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cube_and_sine(p: &[Vec<f64>]) -> (f64, Vec<Vec<f64>>) {
        let (x, y) = (p[0][0], p[1][1]);
        (x.powi(3) + y.sin(), vec![vec![3.0 * x * x], vec![0.0, y.cos()]])
    }

    #[test]
    fn a_right_gradient_passes() {
        check_gradient(&[vec![1.5], vec![7.0, 0.3]], cube_and_sine).assert_below(1e-9);
    }

    #[test]
    fn a_wrong_gradient_is_named() {
        let worst = check_gradient(&[vec![1.5], vec![7.0, 0.3]], |p| {
            let (loss, mut gradient) = cube_and_sine(p);
            gradient[1][1] += 1e-3;
            (loss, gradient)
        });
        assert_eq!((worst.parameter, worst.element), (1, 1));
        assert!((worst.error - 1e-3).abs() < 1e-8, "{worst}");
    }

    #[test]
    fn a_nan_is_the_worst() {
        let worst = check_gradient(&[vec![1.0]], |_| (1.0, vec![vec![f64::NAN]]));
        assert_eq!(worst.error, f64::INFINITY);
    }
}
