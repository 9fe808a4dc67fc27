//! What a period holds, in numbers.

use crate::key::is_known;
use crate::rows::Rows;
use hashbrown::HashSet;
use perennial_core::Timestamp;
use serde::{Deserialize, Serialize};

/// What a period holds, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodFacts {
    /// Index, from 0.
    pub index: usize,
    /// When it begins.
    pub start: Timestamp,
    /// When it closes, exclusive.
    ///
    /// Periods of a time span begin and end with the span. Others begin with their first row and end one microsecond
    /// after their last; an empty one begins and ends where the period before it ended.
    pub end: Timestamp,
    /// Rows of the log.
    pub rows: u64,
    /// Rows with label 1.
    pub positives: u64,
    /// Rows with label 0.
    pub negatives: u64,
    /// Negatives sampled; examples are rows and these.
    pub sampled: u64,
    /// Negatives not sampled because there was no candidate.
    pub no_candidate: u64,
    /// Distinct users among the rows.
    pub users: u64,
    /// Users that no earlier period had.
    pub new_users: u64,
    /// Distinct items among the rows.
    pub items: u64,
    /// Items that no earlier period had.
    pub new_items: u64,
}

impl PeriodFacts {
    /// A period that holds nothing yet and lies nowhere.
    pub(crate) fn empty(index: usize) -> PeriodFacts {
        PeriodFacts {
            index,
            start: Timestamp(0),
            end: Timestamp(0),
            rows: 0,
            positives: 0,
            negatives: 0,
            sampled: 0,
            no_candidate: 0,
            users: 0,
            new_users: 0,
            items: 0,
            new_items: 0,
        }
    }

    /// Number of examples: rows and sampled negatives.
    pub fn examples(&self) -> u64 {
        self.rows + self.sampled
    }

    /// Share of the period's users that no earlier period had; `None` if it has no users.
    pub fn new_user_share(&self) -> Option<f64> {
        share(self.new_users, self.users)
    }

    /// Share of the period's items that no earlier period had; `None` if it has no items.
    pub fn new_item_share(&self) -> Option<f64> {
        share(self.new_items, self.items)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Who was seen in this period and ever.
#[derive(Debug, Default)]
pub(crate) struct Census {
    users: Crowd,
    items: Crowd,
}

#[derive(Debug, Default)]
struct Crowd {
    ever: HashSet<u64>,
    now: HashSet<u64>,
    new: u64,
}

impl Census {
    pub(crate) fn count(&mut self, facts: &mut PeriodFacts, rows: &Rows, row: usize) {
        facts.rows += 1;
        facts.positives += u64::from(rows.is_positive(row));
        facts.negatives += u64::from(rows.label[row] == 0.0);
        self.users.count(rows.user[row]);
        self.items.count(rows.item[row]);
    }

    /// Ends the period. A log without users or items has none.
    pub(crate) fn close(&mut self, facts: &mut PeriodFacts, has_users: bool, has_items: bool) {
        let (users, items) = (self.users.close(), self.items.close());
        (facts.users, facts.new_users) = if has_users { users } else { (0, 0) };
        (facts.items, facts.new_items) = if has_items { items } else { (0, 0) };
    }
}

impl Crowd {
    fn count(&mut self, key: u64) {
        if is_known(key) && self.now.insert(key) {
            self.new += u64::from(self.ever.insert(key));
        }
    }

    fn close(&mut self) -> (u64, u64) {
        let counted = (self.now.len() as u64, self.new);
        self.now.clear();
        self.new = 0;
        counted
    }
}
