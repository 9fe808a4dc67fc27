//! Draws in proportion to weights.

use perennial_core::Stream;

/// Ids with weights, drawn by bisection of the cumulative weights.
#[derive(Debug, Clone)]
pub(crate) struct Weighted {
    ids: Vec<u32>,
    cumulative: Vec<f64>,
}

impl Weighted {
    /// Weights are positive; there is at least one.
    pub(crate) fn new(weights: impl IntoIterator<Item = (u32, f64)>) -> Weighted {
        let mut sum = 0.0;
        let (ids, cumulative) = weights
            .into_iter()
            .map(|(id, weight)| {
                sum += weight;
                (id, sum)
            })
            .unzip();
        Weighted { ids, cumulative }
    }

    /// An id, and its place among the ids.
    pub(crate) fn draw(&self, stream: &mut Stream) -> (u32, usize) {
        let total = self.cumulative.last().expect("there is something to draw from");
        let mark = stream.unit_f64() * total;
        let place = self.cumulative.partition_point(|&sum| sum <= mark).min(self.ids.len() - 1);
        (self.ids[place], place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_weights() {
        let weighted = Weighted::new([(7, 1.0), (3, 2.0), (5, 1.0)]);
        let mut stream = Stream::new(&[1]);
        let mut counts = [0.0_f64; 3];
        for _ in 0..40_000 {
            let (id, place) = weighted.draw(&mut stream);
            assert_eq!([7, 3, 5][place], id);
            counts[place] += 1.0;
        }
        // Two degrees of freedom: chi-square above 13.8 has probability 0.001.
        let expected = [10_000.0, 20_000.0, 10_000.0];
        let chi: f64 = counts.iter().zip(expected).map(|(count, expected)| (count - expected).powi(2) / expected).sum();
        assert!(chi < 13.8, "chi-square {chi}");
    }
}
