//! Timing by repetition.

use std::time::Instant;

/// Times of repetitions, in seconds per unit of work.
#[derive(Debug, Clone)]
pub struct Timing {
    sorted: Vec<f64>,
}

impl Timing {
    /// Runs `work` once to warm up, then `repeats` times; each run is `units` of work.
    pub fn of(repeats: usize, units: usize, mut work: impl FnMut()) -> Timing {
        work();
        let mut sorted: Vec<f64> = (0..repeats.max(1))
            .map(|_| {
                let clock = Instant::now();
                work();
                clock.elapsed().as_secs_f64() / units as f64
            })
            .collect();
        sorted.sort_by(f64::total_cmp);
        Timing { sorted }
    }

    /// The fastest repetition.
    pub fn min(&self) -> f64 {
        self.sorted[0]
    }

    /// The middle repetition.
    pub fn median(&self) -> f64 {
        self.sorted[self.sorted.len() / 2]
    }

    /// The slowest repetition.
    pub fn max(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }
}
