//! The items that may be drawn as negatives at the present moment.

use crate::config::{Candidates, Negatives, Reject, Weighing};
use crate::fenwick::Fenwick;
use perennial_core::Stream;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Candidates by their number in the catalogue, weighted. Every change and every draw costs a logarithm of the
/// catalogue's size.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    negatives: Negatives,
    weights: Fenwick,
    /// Positives in the window, by item; only for a window.
    counts: Vec<u32>,
    /// The same as (time, item), earliest first.
    window: BinaryHeap<Reverse<(i64, u32)>>,
}

/// Draws that may hit a rejected item before those are taken out of the count. Both ways draw from the same
/// distribution; this one is faster while rejected items are rare.
const TRIES: u32 = 8;

impl Pool {
    pub(crate) fn new(negatives: Negatives) -> Pool {
        Pool { negatives, weights: Fenwick::default(), counts: Vec::new(), window: BinaryHeap::new() }
    }

    pub(crate) fn rejects_history(&self) -> bool {
        self.negatives.reject == Reject::History
    }

    /// Makes room for a catalogue of this many items.
    pub(crate) fn grow(&mut self, items: usize) {
        let all_alike = self.negatives.from == Candidates::Catalogue && self.negatives.by == Weighing::Uniform;
        while self.weights.len() < items {
            self.weights.push(u64::from(all_alike));
        }
        if self.windowed().is_some() {
            self.counts.resize(items, 0);
        }
    }

    /// A positive at `time` became observable.
    pub(crate) fn add(&mut self, item: u32, time: i64) {
        match (self.windowed(), self.negatives.by) {
            (None, Weighing::Uniform) => {}
            (None, Weighing::Popularity) => self.weights.increase(item as usize, 1),
            (Some(_), by) => {
                self.window.push(Reverse((time, item)));
                let count = &mut self.counts[item as usize];
                *count += 1;
                if by == Weighing::Popularity || *count == 1 {
                    self.weights.increase(item as usize, 1);
                }
            }
        }
    }

    /// Lets go of positives before `[now - window, now)`.
    pub(crate) fn expire(&mut self, now: i64) {
        let Some(length) = self.windowed() else { return };
        while let Some(&Reverse((time, item))) = self.window.peek()
            && time < now.saturating_sub(length)
        {
            self.window.pop();
            let count = &mut self.counts[item as usize];
            *count -= 1;
            if self.negatives.by == Weighing::Popularity || *count == 0 {
                self.weights.decrease(item as usize, 1);
            }
        }
    }

    /// Draws one candidate that is not among `rejected` (ascending, distinct); `None` if there is none.
    pub(crate) fn draw(&self, stream: &mut Stream, rejected: &[u32]) -> Option<u32> {
        if self.weights.total() == 0 {
            return None;
        }
        for _ in 0..TRIES {
            let item = self.weights.find(stream.below(self.weights.total())) as u32;
            if rejected.binary_search(&item).is_err() {
                return Some(item);
            }
        }
        self.draw_among_the_rest(stream, rejected)
    }

    /// Lays only the candidates that are not rejected end to end.
    fn draw_among_the_rest(&self, stream: &mut Stream, rejected: &[u32]) -> Option<u32> {
        let stretch = |&item: &u32| {
            let start = self.weights.before(item as usize);
            (start, self.weights.before(item as usize + 1) - start)
        };
        let out: Vec<(u64, u64)> = rejected.iter().map(stretch).collect();
        let left = self.weights.total() - out.iter().map(|&(_, length)| length).sum::<u64>();
        if left == 0 {
            return None;
        }
        let mut point = stream.below(left);
        for (start, length) in out {
            if point >= start {
                point += length;
            }
        }
        Some(self.weights.find(point) as u32)
    }

    fn windowed(&self) -> Option<i64> {
        match self.negatives.from {
            Candidates::Catalogue => None,
            Candidates::Window(length) => Some(length.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::Span;
    use proptest::prelude::*;

    fn pool(from: Candidates, by: Weighing) -> Pool {
        Pool::new(Negatives { per_positive: 1, from, by, reject: Reject::Positive })
    }

    /// Chi-square statistic of 40 000 draws against `weights`, of which the rejected get nothing.
    fn chi_square(pool: &Pool, weights: &[u32], rejected: &[u32]) -> f64 {
        let draws = 40_000;
        let mut counts = vec![0u32; weights.len()];
        for event in 0..draws {
            let item = pool.draw(&mut Stream::new(&[1, event, 0]), rejected).unwrap();
            counts[item as usize] += 1;
        }
        let open = |item: usize| !rejected.contains(&(item as u32)) && weights[item] > 0;
        let total: u32 = (0..weights.len()).filter(|&item| open(item)).map(|item| weights[item]).sum();
        assert!((0..weights.len()).all(|item| open(item) || counts[item] == 0), "a closed item was drawn");
        (0..weights.len())
            .filter(|&item| open(item))
            .map(|item| {
                let expected = draws as f64 * f64::from(weights[item]) / f64::from(total);
                (f64::from(counts[item]) - expected).powi(2) / expected
            })
            .sum()
    }

    /// Nine items; chi-square with 8, 7 or 2 degrees of freedom exceeds 26.1, 24.3 and 13.8 with probability 0.001.
    #[test]
    fn draws_follow_the_weights() {
        let positives: Vec<u32> = (0..9u32).flat_map(|item| vec![item; item as usize + 1]).collect();
        let popularity: Vec<u32> = (1..=9).collect();
        let heavy = [3, 4, 5, 6, 7, 8];
        for from in [Candidates::Catalogue, Candidates::Window(Span(100))] {
            for (by, weights) in [(Weighing::Uniform, vec![1; 9]), (Weighing::Popularity, popularity.clone())] {
                let mut pool = pool(from, by);
                pool.grow(9);
                positives.iter().for_each(|&item| pool.add(item, 50));
                assert!(chi_square(&pool, &weights, &[]) < 26.1);
                assert!(chi_square(&pool, &weights, &[4]) < 24.3);
                assert!(chi_square(&pool, &weights, &heavy) < 13.8, "with {from:?} by {by:?}");
            }
        }
    }

    #[test]
    fn when_everything_is_rejected_there_is_no_candidate() {
        let mut pool = pool(Candidates::Catalogue, Weighing::Uniform);
        assert_eq!(pool.draw(&mut Stream::new(&[1]), &[]), None);
        pool.grow(2);
        assert_eq!(pool.draw(&mut Stream::new(&[1]), &[0, 1]), None);
        assert_eq!(pool.draw(&mut Stream::new(&[1]), &[0]), Some(1));
    }

    /// With a window of 10 a positive at time 5 counts until 15 and not at 16.
    #[test]
    fn the_window_is_closed_at_its_far_end() {
        let mut pool = pool(Candidates::Window(Span(10)), Weighing::Uniform);
        pool.grow(1);
        pool.add(0, 5);
        pool.expire(15);
        assert_eq!(pool.draw(&mut Stream::new(&[1]), &[]), Some(0));
        pool.expire(16);
        assert_eq!(pool.draw(&mut Stream::new(&[1]), &[]), None);
    }

    proptest! {
        /// The naive twin counts the window anew. Positives come late and out of order, as delayed labels do.
        #[test]
        fn the_window_agrees_with_counting(positives in proptest::collection::vec((0u32..6, 0i64..60, 0i64..30), 0..50),
                                           length in 1i64..40, popular in any::<bool>()) {
            let by = if popular { Weighing::Popularity } else { Weighing::Uniform };
            let mut pool = pool(Candidates::Window(Span(length)), by);
            pool.grow(6);
            let mut arrivals: Vec<(i64, i64, u32)> =
                positives.iter().map(|&(item, time, late)| (time + late, time, item)).collect();
            arrivals.sort_unstable();
            let mut arrivals = arrivals.into_iter().peekable();
            for now in 0..100 {
                while let Some((_, time, item)) = arrivals.next_if(|arrival| arrival.0 < now) {
                    pool.add(item, time);
                }
                pool.expire(now);
                for item in 0..6u32 {
                    let inside = |&&(one, time, late): &&(u32, i64, i64)| {
                        one == item && time + late < now && (now - length..now).contains(&time)
                    };
                    let count = positives.iter().filter(inside).count() as u64;
                    let expected = if popular { count } else { count.min(1) };
                    let got = pool.weights.before(item as usize + 1) - pool.weights.before(item as usize);
                    prop_assert_eq!(got, expected, "item {} at {}", item, now);
                }
            }
        }
    }
}
