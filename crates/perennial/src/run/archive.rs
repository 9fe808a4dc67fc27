//! Seen periods that a strategy may ask for again.

use perennial_learn::{Archive, LearnError};
use perennial_stream::SeenPeriod;
use std::collections::VecDeque;

/// The last seen periods, as many as the strategy reaches back for. They share their examples, so one costs as much
/// memory as the period.
pub(super) struct Seen {
    reach: usize,
    periods: VecDeque<SeenPeriod>,
}

impl Seen {
    pub(super) fn new(reach: usize) -> Seen {
        Seen { reach, periods: VecDeque::new() }
    }

    pub(super) fn push(&mut self, seen: SeenPeriod) {
        self.periods.push_back(seen);
        while self.periods.len() > self.reach {
            self.periods.pop_front();
        }
    }
}

impl Archive for Seen {
    fn seen(&self, period: u32) -> Result<SeenPeriod, LearnError> {
        let found = self.periods.iter().find(|seen| seen.index() == period as usize);
        found.cloned().ok_or_else(|| LearnError::Archive {
            period,
            problem: format!("only the last {} periods are kept at hand", self.reach),
        })
    }
}
