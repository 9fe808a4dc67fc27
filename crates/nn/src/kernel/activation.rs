//! Bias and activation, in one pass after a matrix product.

use crate::Real;

/// What follows a linear map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Identity,
    /// `max(x, 0)`; its slope at 0 is 0, as in PyTorch.
    Relu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
}

impl Act {
    fn apply<T: Real>(self, x: T) -> T {
        match self {
            Act::Identity => x,
            Act::Relu => x.relu(),
            Act::Sigmoid => x.sigmoid(),
            Act::Tanh => x.tanh(),
        }
    }

    /// `dy` times the slope where the value is `y`: each of these slopes is a function of the value.
    fn pull_back<T: Real>(self, y: T, dy: T) -> T {
        match self {
            Act::Identity => dy,
            // Written so that a NaN value passes its gradient on.
            Act::Relu => {
                if y <= T::ZERO {
                    T::ZERO
                } else {
                    dy
                }
            }
            Act::Sigmoid => dy * (y * (T::ONE - y)),
            Act::Tanh => dy * (T::ONE - y * y),
        }
    }
}

/// `y = act(y + bias)`, rows of `cols`; an empty `bias` is none.
pub(crate) fn plain<T: Real>(y: &mut [T], bias: &[T], cols: usize, act: Act) {
    for row in y.chunks_exact_mut(cols.max(1)) {
        for (y, &bias) in row.iter_mut().zip(bias) {
            *y += bias;
        }
        for y in row {
            *y = act.apply(*y);
        }
    }
}

/// `dz = dy * act'`.
pub(crate) fn plain_backward<T: Real>(y: &[T], dy: &[T], dz: &mut [T], act: Act) {
    for ((dz, &y), &dy) in dz.iter_mut().zip(y).zip(dy) {
        *dz = act.pull_back(y, dy);
    }
}
