//! Two references that learn nothing. They are in every comparison, because a method that loses to them proves
//! nothing.

mod constant;
mod popularity;

pub use constant::Constant;
pub use popularity::Popularity;

use perennial_core::Examples;

/// Counts of one group of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Tally {
    positives: f64,
    weight: f64,
}

impl Tally {
    fn add(&mut self, label: f32, weight: f32) {
        self.positives += f64::from(label * weight);
        self.weight += f64::from(weight);
    }
}

/// Share of positives with one added success and failure, so that the logit stays finite.
fn smoothed_rate(tally: Tally) -> f64 {
    (tally.positives + 1.0) / (tally.weight + 2.0)
}

fn tally_all<'a>(parts: impl IntoIterator<Item = &'a Examples>) -> Tally {
    let mut all = Tally::default();
    for part in parts {
        part.label.iter().zip(&part.weight).for_each(|(&label, &weight)| all.add(label, weight));
    }
    all
}

fn logit(rate: f64) -> f32 {
    (rate / (1.0 - rate)).ln() as f32
}
