//! The most recent positives of every user.

use hashbrown::HashMap;

/// For each user the latest `limit` positives added, by their place in the log, whatever the order of adding.
#[derive(Debug, Clone)]
pub(crate) struct Histories {
    pub(crate) limit: usize,
    users: HashMap<u64, Vec<Positive>>,
}

/// A past positive. Packed to 12 bytes from 16: histories are most of what a long preparation keeps in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(Rust, packed(4))]
pub(crate) struct Positive {
    /// Place in the log.
    pub(crate) place: u64,
    /// Number in the catalogue.
    pub(crate) item: u32,
}

const _: () = assert!(size_of::<Positive>() == 12);

impl Histories {
    pub(crate) fn new(limit: usize) -> Histories {
        Histories { limit, users: HashMap::new() }
    }

    /// Oldest first.
    pub(crate) fn of(&self, user: u64) -> &[Positive] {
        self.users.get(&user).map_or(&[], Vec::as_slice)
    }

    /// Costs a shift of at most `limit` entries; labels that come in the order of their events shift only when full.
    pub(crate) fn add(&mut self, user: u64, positive: Positive) {
        if self.limit == 0 {
            return;
        }
        let history = self.users.entry(user).or_default();
        let at = history.partition_point(|earlier| earlier.place < positive.place);
        if history.len() < self.limit {
            history.insert(at, positive);
        } else if at > 0 {
            history[..at].rotate_left(1);
            history[at - 1] = positive;
        }
    }

    /// Number of users with a history.
    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    /// The users with a history, by key.
    pub(crate) fn users(&self) -> Vec<u64> {
        let mut users: Vec<u64> = self.users.keys().copied().collect();
        users.sort_unstable();
        users
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn late_labels_take_their_place_and_old_ones_fall_out() {
        let mut histories = Histories::new(2);
        let mut check = |place: u64, expected: &[u64]| {
            histories.add(7, Positive { place, item: 0 });
            let places: Vec<u64> = histories.of(7).iter().map(|positive| positive.place).collect();
            assert_eq!(places, expected);
        };
        check(5, &[5]);
        check(3, &[3, 5]);
        check(1, &[3, 5]);
        check(4, &[4, 5]);
        check(9, &[5, 9]);
        assert!(histories.of(8).is_empty());
    }

    proptest! {
        /// The naive twin keeps everything, sorts, and cuts.
        #[test]
        fn agrees_with_sorting_everything(places in proptest::collection::vec(0u64..1000, 0..40), limit in 0usize..6) {
            let mut places = places;
            places.sort_unstable();
            places.dedup();
            perennial_core::Stream::new(&[places.len() as u64]).shuffle(&mut places);
            let mut histories = Histories::new(limit);
            for &place in &places {
                histories.add(1, Positive { place, item: place as u32 });
            }
            places.sort_unstable();
            let expected: Vec<u64> = places[places.len().saturating_sub(limit)..].to_vec();
            prop_assert_eq!(histories.of(1).iter().map(|positive| positive.place).collect::<Vec<_>>(), expected);
        }
    }
}
