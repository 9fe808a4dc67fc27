//! Factors that drift.

use perennial_core::Stream;

/// Vectors that follow AR(1) processes of zero mean and unit variance, coordinate by coordinate:
/// `x' = sqrt(1 - drift) x + sqrt(drift) e` with `e` standard normal.
///
/// Every draw is keyed by entity and period, so that a value depends neither on how many other entities there are nor
/// on the path by which a period was reached.
#[derive(Debug, Clone)]
pub(crate) struct Drifting {
    key: [u64; 2],
    dim: usize,
    drift: f64,
    /// `[entities, dim]`
    values: Vec<f64>,
}

impl Drifting {
    /// No entities yet; `key` separates this family from others.
    pub(crate) fn new(key: [u64; 2], dim: usize, drift: f64) -> Drifting {
        Drifting { key, dim, drift, values: Vec::new() }
    }

    /// Lets entities be born, from the stationary distribution, until there are `count`.
    pub(crate) fn grow(&mut self, count: usize) {
        for entity in self.values.len() / self.dim..count {
            let mut stream = Stream::new(&[self.key[0], self.key[1], entity as u64]);
            self.values.extend((0..self.dim).map(|_| stream.normal()));
        }
    }

    /// Moves every entity into `period` from the one before.
    pub(crate) fn step(&mut self, period: u32) {
        if self.drift == 0.0 {
            return;
        }
        let (keep, renew) = ((1.0 - self.drift).sqrt(), self.drift.sqrt());
        for (entity, values) in self.values.chunks_exact_mut(self.dim).enumerate() {
            let mut stream = Stream::new(&[self.key[0], self.key[1], entity as u64, u64::from(period)]);
            for value in values {
                *value = keep * *value + renew * stream.normal();
            }
        }
    }

    /// The vector of an entity.
    pub(crate) fn of(&self, entity: u32) -> &[f64] {
        let start = entity as usize * self.dim;
        &self.values[start..start + self.dim]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn correlation(x: &[f64], y: &[f64]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
    }

    /// An AR(1) process with coefficient `r` has correlation `r^lag`; the standard error over n pairs is below
    /// `1 / sqrt(n)`, here 0.007, of which four are allowed.
    #[test]
    fn autocorrelation_is_as_configured_and_the_variance_stays_one() {
        let drift: f64 = 0.2;
        let mut factors = Drifting::new([5, 1], 4, drift);
        factors.grow(5_000);
        let start = factors.values.clone();
        for lag in 1..=6 {
            factors.step(lag);
            let expected = (1.0 - drift).sqrt().powi(lag as i32);
            let got = correlation(&start, &factors.values);
            assert!((got - expected).abs() < 0.028, "lag {lag}: expected {expected}, got {got}");
            let variance = factors.values.iter().map(|x| x * x).sum::<f64>() / 20_000.0;
            assert!((variance - 1.0).abs() < 0.04, "variance {variance} at lag {lag}"); // 4 sqrt(2 / 20000)
        }
    }

    #[test]
    fn an_entity_does_not_depend_on_its_neighbours() {
        let (mut few, mut many) = (Drifting::new([5, 1], 3, 0.1), Drifting::new([5, 1], 3, 0.1));
        few.grow(2);
        many.grow(2);
        many.grow(9);
        few.step(1);
        many.step(1);
        assert_eq!(few.of(1), many.of(1));
    }

    #[test]
    fn without_drift_nothing_moves() {
        let mut factors = Drifting::new([5, 1], 3, 0.0);
        factors.grow(10);
        let start = factors.values.clone();
        factors.step(1);
        assert_eq!(factors.values, start);
    }
}
