//! First values of rows.

use perennial_core::Stream;
use serde::{Deserialize, Serialize};

/// The key by which the unknown row is initialised.
pub const UNKNOWN_KEY: u64 = u64::MAX;

/// The distribution of a new row's values. Fans are explicit, since the number of rows changes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Init {
    /// Uniform in `-limit..limit`.
    Uniform {
        /// Half the width.
        limit: f64,
    },
    /// Normal around zero.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform with limit `sqrt(6 / (fan_in + fan_out))` (Glorot and Bengio, AISTATS 2010). TensorFlow takes the
    /// number of rows for `fan_in` and the width for `fan_out`.
    GlorotUniform {
        /// Inputs, usually the number of rows expected.
        fan_in: u64,
        /// Outputs, usually the width.
        fan_out: u64,
    },
    /// Zeros, as for one-dimensional linear parts.
    Zero,
}

impl Init {
    /// Draws a row from its own stream, so that it depends on seed, table and key and on nothing else.
    pub(crate) fn fill(self, seed: u64, table: u64, key: u64, row: &mut [f32]) {
        let mut stream = Stream::new(&[seed, table, key]);
        match self {
            Init::Uniform { limit } => fill_uniform(limit, &mut stream, row),
            Init::GlorotUniform { fan_in, fan_out } => {
                let fans = (fan_in + fan_out).max(1) as f64;
                fill_uniform((6.0 / fans).sqrt(), &mut stream, row);
            }
            Init::Normal { std } => row.iter_mut().for_each(|x| *x = (stream.normal() * std) as f32),
            Init::Zero => row.fill(0.0),
        }
    }
}

fn fill_uniform(limit: f64, stream: &mut Stream, row: &mut [f32]) {
    row.iter_mut().for_each(|x| *x = ((2.0 * stream.unit_f64() - 1.0) * limit) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Standard deviation of many draws and the largest of them.
    fn spread(init: Init) -> (f64, f32) {
        let mut rows = vec![0.0; 40_000];
        for (key, row) in (0..).zip(rows.chunks_mut(8)) {
            init.fill(1, 2, key, row);
        }
        let square: f64 = rows.iter().map(|&x| f64::from(x).powi(2)).sum();
        let largest = rows.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        ((square / 40_000.0).sqrt(), largest)
    }

    #[test]
    fn draws_have_their_spread() {
        // A uniform variable in -a..a has standard deviation a / sqrt(3); tolerance five standard errors.
        let (deviation, largest) = spread(Init::Uniform { limit: 0.3 });
        assert!((deviation - 0.3 / 3f64.sqrt()).abs() < 0.0025 && (0.299..=0.3).contains(&largest));
        let (_, largest) = spread(Init::GlorotUniform { fan_in: 16, fan_out: 8 });
        assert!((0.498..=0.5).contains(&largest), "sqrt(6 / 24) = 0.5, got {largest}");
        let (deviation, _) = spread(Init::Normal { std: 0.1 });
        assert!((deviation - 0.1).abs() < 0.002);
        assert_eq!(spread(Init::Zero), (0.0, 0.0));
    }

    #[test]
    fn rows_depend_on_seed_table_and_key() {
        let draw = |seed, table, key| {
            let mut row = [0.0; 2];
            Init::Normal { std: 1.0 }.fill(seed, table, key, &mut row);
            row
        };
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        assert_ne!(draw(1, 2, 3), draw(2, 2, 3));
        assert_ne!(draw(1, 2, 3), draw(1, 3, 3));
        assert_ne!(draw(1, 2, 3), draw(1, 2, 4));
    }
}
