//! The items on offer: when each is born, what it is, how much it is shown.

use crate::config::Items;
use perennial_core::Stream;

/// The middle of the logs of prices, and their standard deviation over items.
pub(crate) const LOG_PRICE: (f64, f64) = (3.0, 0.6);

/// Everything about items that does not drift. Ids count up in order of birth.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    seed: u64,
    config: Items,
}

/// What an item is from its birth on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// One to three distinct categories, ascending.
    pub(crate) categories: Vec<u32>,
    /// Price before any discount.
    pub(crate) price: f64,
    /// How much it is shown at its height; most items little, some often.
    pub(crate) exposure: f64,
}

impl Catalogue {
    /// `seed` is already specific to items.
    pub(crate) fn new(seed: u64, config: Items) -> Catalogue {
        Catalogue { seed, config }
    }

    /// How many items were born up to `period`, that one included. Bursts come at every `burst_every`-th period but
    /// the first.
    pub(crate) fn born_by(&self, period: u32) -> u32 {
        self.config.evergreen + period / self.config.burst_every * self.config.burst
    }

    /// Periods since the birth of an item of a burst; `None` for an evergreen one.
    pub(crate) fn age(&self, item: u32, period: u32) -> Option<u32> {
        let late = item.checked_sub(self.config.evergreen)?;
        Some(period - (late / self.config.burst + 1) * self.config.burst_every)
    }

    /// The items that are shown in a period, ascending.
    pub(crate) fn live(&self, period: u32) -> Vec<u32> {
        let alive = |item: &u32| self.age(*item, period).is_none_or(|age| age < self.config.life);
        (0..self.born_by(period)).filter(alive).collect()
    }

    /// What an item is.
    pub(crate) fn item(&self, item: u32) -> Item {
        let mut stream = Stream::new(&[self.seed, u64::from(item)]);
        Item {
            categories: categories(&mut stream, self.config.categories),
            price: (LOG_PRICE.0 + LOG_PRICE.1 * stream.normal()).exp(),
            exposure: (0.8 * stream.normal()).exp(),
        }
    }

    /// How much in fashion an item is, from 0 to 1: an item of a burst rises for a period and then fades with a
    /// half-life of two; an evergreen one stays in the middle.
    pub(crate) fn fashion(&self, item: u32, period: u32) -> f64 {
        match self.age(item, period) {
            None => 0.5,
            Some(0) => 0.7,
            Some(age) => 0.5_f64.powf(f64::from(age - 1) / 2.0),
        }
    }
}

fn categories(stream: &mut Stream, count: u32) -> Vec<u32> {
    let wanted = 1 + stream.below(3) as usize;
    let mut chosen = Vec::with_capacity(wanted);
    while chosen.len() < wanted {
        let category = stream.below(u64::from(count)) as u32;
        if !chosen.contains(&category) {
            chosen.push(category);
        }
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::new(3, Items { evergreen: 10, burst: 4, burst_every: 2, life: 3, ..Items::default() })
    }

    #[test]
    fn bursts_are_born_live_and_die() {
        let catalogue = catalogue();
        let late = |period: u32| catalogue.live(period).split_off(10);
        assert_eq!(late(1), [0; 0]);
        assert_eq!(late(2), [10, 11, 12, 13]);
        assert_eq!(late(4), [10, 11, 12, 13, 14, 15, 16, 17]); // ages 2 and 0, of a life of 3
        assert_eq!(late(5), [14, 15, 16, 17]);
    }

    #[test]
    fn fashion_rises_then_fades() {
        let fashion: Vec<f64> = (2..7).map(|period| catalogue().fashion(10, period)).collect();
        assert_eq!(fashion[1], 1.0);
        assert!(fashion[0] < fashion[1] && fashion[1..].is_sorted_by(|a, b| a > b), "{fashion:?}");
        assert_eq!(catalogue().fashion(0, 2), catalogue().fashion(0, 9));
    }

    #[test]
    fn items_have_one_to_three_distinct_categories() {
        let sizes: Vec<usize> = (0..200).map(|item| catalogue().item(item).categories.len()).collect();
        assert!((1..=3).all(|size| sizes.contains(&size)) && sizes.iter().all(|size| (1..=3).contains(size)));
        assert!((0..200).all(|item| catalogue().item(item).categories.is_sorted_by(|a, b| a < b)));
    }
}
