//! Timing by repetition.

use std::time::Instant;

/// Times of repetitions, in seconds per unit of work.
#[derive(Debug, Clone, Default)]
pub struct Timing {
    /// Wall time in order of repetition.
    wall: Vec<f64>,
    /// Processor time of all threads, where the system tells it. Unlike wall time it hardly suffers from other work
    /// on the machine.
    cpu: Vec<f64>,
}

impl Timing {
    /// Runs `work` once to warm up, then `repeats` times; each run is `units` of work.
    pub fn of(repeats: usize, units: usize, mut work: impl FnMut()) -> Timing {
        work();
        let mut timing = Timing::default();
        (0..repeats.max(1)).for_each(|_| timing.add(units, &mut work));
        timing
    }

    /// Times one more repetition of `units` of work.
    pub fn add(&mut self, units: usize, work: impl FnOnce()) {
        let (clock, cpu) = (Instant::now(), cpu_seconds());
        work();
        self.wall.push(clock.elapsed().as_secs_f64() / units as f64);
        if let (Some(before), Some(after)) = (cpu, cpu_seconds()) {
            self.cpu.push((after - before) / units as f64);
        }
    }

    /// The fastest repetition.
    pub fn min(&self) -> f64 {
        quantile(&self.wall, 0.0)
    }

    /// The middle repetition.
    pub fn median(&self) -> f64 {
        quantile(&self.wall, 0.5)
    }

    /// The slowest repetition.
    pub fn max(&self) -> f64 {
        quantile(&self.wall, 1.0)
    }

    /// Least processor time of a repetition.
    pub fn cpu_min(&self) -> Option<f64> {
        (!self.cpu.is_empty()).then(|| quantile(&self.cpu, 0.0))
    }

    /// The middle of `self / other`, repetition by repetition: of two timings that took turns, what both suffered
    /// from cancels out.
    pub fn median_ratio(&self, other: &Timing) -> f64 {
        let ratios: Vec<f64> = self.wall.iter().zip(&other.wall).map(|(mine, theirs)| mine / theirs).collect();
        quantile(&ratios, 0.5)
    }
}

/// The value below which a share `at` of `values` lies; the nearest one, without interpolation.
pub fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * at).round() as usize]
}

/// Processor time that the threads of this process have had so far; `None` where there is no `/proc`.
fn cpu_seconds() -> Option<f64> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split(' ').next()?.parse::<f64>().ok()?;
    }
    Some(nanoseconds / 1e9)
}
