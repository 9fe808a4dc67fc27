//! What is known at the present moment, and what waits to become known.

use crate::catalogue::{Catalogue, Sighting};
use crate::histories::{Histories, Positive};
use crate::history_state::HistoryState;
use crate::key::is_known;
use crate::layout::Layout;
use crate::pool::Pool;
use crate::rows::{NEVER, Rows};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The past of a log at a moment: known is what was observable strictly before it. Rows of one time never know of
/// each other, and a label is unknown until the moment after the one in which it became observable.
#[derive(Debug)]
pub(crate) struct Past {
    now: i64,
    known: HistoryState,
    pool: Option<Pool>,
    /// What the rows of this very moment said of their items.
    sightings: Vec<Sighting>,
    /// Positives whose labels are not observable yet.
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// Rows recorded.
    place: u64,
}

/// A positive, ordered by when it becomes observable and then by its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    observable: i64,
    place: u64,
    time: i64,
    user: u64,
    item: u64,
}

impl Past {
    pub(crate) fn new(layout: &Layout, history: usize, pool: Option<Pool>) -> Past {
        // Without a user or an item there is nothing that a history could be of.
        let limit = if layout.user.is_some() && layout.item.is_some() { history } else { 0 };
        let known = HistoryState::new(layout.catalogue_digest(), Catalogue::new(layout), Histories::new(limit));
        Past { now: i64::MIN, known, pool, sightings: Vec::new(), waiting: BinaryHeap::new(), place: 0 }
    }

    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    pub(crate) fn known(&self) -> &HistoryState {
        &self.known
    }

    pub(crate) fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref()
    }

    /// Goes to the moment `to`, which must not lie before the present one.
    pub(crate) fn advance(&mut self, to: i64) {
        if to == self.now {
            return;
        }
        debug_assert!(to > self.now, "time {to} lies before {}", self.now);
        self.now = to;
        for sighting in self.sightings.drain(..) {
            self.known.catalogue.learn(sighting);
        }
        if let Some(pool) = &mut self.pool {
            pool.grow(self.known.catalogue.len());
        }
        while let Some(Reverse(waiting)) = self.waiting.peek().copied()
            && waiting.observable < to
        {
            self.waiting.pop();
            self.observe(waiting);
        }
        if let Some(pool) = &mut self.pool {
            pool.expire(to);
        }
    }

    /// Takes note of a row of the present moment.
    pub(crate) fn record(&mut self, layout: &Layout, rows: &Rows, row: usize) {
        let place = self.place;
        self.place += 1;
        if layout.item.is_none() || !is_known(rows.item[row]) {
            return;
        }
        // An earlier row of this moment may have said something else, which this one then takes back.
        if !self.sightings.is_empty() || !self.known.catalogue.agrees(layout, rows, row) {
            self.sightings.push(Sighting::of(layout, rows, row));
        }
        if rows.is_positive(row) && rows.observable[row] != NEVER {
            let (time, user, item) = (rows.time[row], rows.user[row], rows.item[row]);
            self.waiting.push(Reverse(Waiting { observable: rows.observable[row], place, time, user, item }));
        }
    }

    /// What will be known at the moment `at`, if no further row comes. Costs a copy of all that is known.
    pub(crate) fn known_at(&self, at: i64) -> HistoryState {
        let mut past = Past {
            known: self.known.clone(),
            pool: None,
            sightings: self.sightings.clone(),
            waiting: self.waiting.clone(),
            ..*self
        };
        past.advance(at);
        past.known
    }

    fn observe(&mut self, waiting: Waiting) {
        let catalogue = &self.known.catalogue;
        let item =
            catalogue.find(waiting.item).expect("a label is observable no sooner than its row, which named the item");
        if is_known(waiting.user) {
            self.known.histories.add(waiting.user, Positive { place: waiting.place, item });
        }
        if let Some(pool) = &mut self.pool {
            pool.add(item, waiting.time);
        }
    }
}
