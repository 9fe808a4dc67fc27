//! Histories that are looked up entry by entry.

use crate::TableId;
use perennial_core::Column;
use perennial_table::{PAD, UNKNOWN};

/// A history of which each entry is a row of its own: embeddings of one id per table, side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Tables and positions of features. Each feature is a bag with one id per entry, the entries of all in one order,
    /// oldest first, as histories of ids are.
    pub parts: Vec<(TableId, usize)>,
    /// Hard search: only entries that match are looked at.
    pub matching: Option<Matching>,
    /// Of those, only so many of the most recent; all if absent.
    pub most_recent: Option<usize>,
}

/// Which entries are looked at: those whose id in the feature `entry` is that of the example in the feature
/// `example`. What is padded or unknown matches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matching {
    /// Position of a bag with one id per entry.
    pub entry: usize,
    /// Position of a feature with one id per example.
    pub example: usize,
}

/// The entries of a batch, reused from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// For each entry its example, and its place in that example's history.
    places: Vec<(u32, u32)>,
    /// Entries of each example.
    lengths: Vec<usize>,
    ids: Vec<u32>,
    positions: Vec<u32>,
}

impl Entries {
    /// Finds the entries of the examples `index`. Costs the length of histories at most, and with `most_recent` alone
    /// nothing for entries that are left out.
    pub(crate) fn select(&mut self, sequence: &Sequence, columns: &[Column], index: &[u32]) {
        self.places.clear();
        self.lengths.clear();
        let most = sequence.most_recent.unwrap_or(usize::MAX);
        for &example in index {
            let first = self.places.len();
            let ids = history(&columns[sequence.parts[0].1], example);
            let matched = sequence.matching.map(|matching| Match::of(matching, columns, example));
            let looked_at = (0..ids.len()).rev().filter(|&place| {
                ids[place] != PAD && matched.as_ref().is_none_or(|matched| matched.holds(place, ids.len()))
            });
            self.places.extend(looked_at.take(most).map(|place| (example, place as u32)));
            self.places[first..].reverse();
            self.lengths.push(self.places.len() - first);
        }
        self.positions.clear();
        self.positions.extend(0..self.places.len() as u32);
    }

    /// Number of entries of each example.
    pub(crate) fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Number of all entries.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Hands on the ids of all entries in a feature as a column of their own, and the positions of that column.
    pub(crate) fn with_ids(&mut self, column: &Column, then: impl FnOnce(&Column, &[u32])) {
        let mut ids = std::mem::take(&mut self.ids);
        ids.clear();
        ids.extend(self.places.iter().map(|&(example, place)| {
            let history = history(column, example);
            *history.get(place as usize).unwrap_or_else(|| {
                panic!("example {example} has {} entries in one history and more in another", history.len())
            })
        }));
        let column = Column::Id(ids);
        then(&column, &self.positions);
        if let Column::Id(ids) = column {
            self.ids = ids;
        }
    }
}

/// What an example's entries are compared with.
struct Match<'a> {
    ids: &'a [u32],
    wanted: u32,
}

impl<'a> Match<'a> {
    fn of(matching: Matching, columns: &'a [Column], example: u32) -> Match<'a> {
        let Column::Id(targets) = &columns[matching.example] else {
            panic!("feature {} was declared to hold one id", matching.example)
        };
        Match { ids: history(&columns[matching.entry], example), wanted: targets[example as usize] }
    }

    fn holds(&self, place: usize, entries: usize) -> bool {
        assert_eq!(self.ids.len(), entries, "histories of one example have as many entries");
        ![PAD, UNKNOWN].contains(&self.wanted) && self.ids[place] == self.wanted
    }
}

/// The ids of one example's history, oldest first.
fn history(column: &Column, example: u32) -> &[u32] {
    match column {
        Column::Bag { spans, ids, .. } => &ids[spans.range(example as usize)],
        _ => panic!("a sequence was declared to be a bag"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::Spans;

    fn bag(start: &[u32], len: &[u32], ids: &[u32]) -> Column {
        Column::bag(Spans { start: start.to_vec(), len: len.to_vec() }, ids.to_vec(), None)
    }

    /// Items 10 to 13 of categories 5, 6, 5, 5 in the first history, none in the second, a pad in the third.
    fn columns() -> Vec<Column> {
        vec![
            bag(&[0, 4, 4], &[4, 0, 2], &[10, 11, 12, 13, 20, 0]),
            bag(&[1, 5, 5], &[4, 0, 2], &[9, 5, 6, 5, 5, 5, 5]),
            Column::Id(vec![5, 5, 1]),
        ]
    }

    #[track_caller]
    fn check(matching: bool, most_recent: Option<usize>, index: &[u32], expected: &[&[u32]]) {
        let matching = matching.then_some(Matching { entry: 1, example: 2 });
        let sequence = Sequence { parts: vec![(TableId(0), 0)], matching, most_recent };
        let mut entries = Entries::default();
        for _ in 0..2 {
            entries.select(&sequence, &columns(), index);
        }
        let lengths: Vec<usize> = expected.iter().map(|ids| ids.len()).collect();
        assert_eq!((entries.lengths(), entries.len()), (lengths.as_slice(), lengths.iter().sum()));
        entries.with_ids(&columns()[0], |column, positions| {
            assert_eq!(*column, Column::Id(expected.concat()));
            assert_eq!(positions.len(), expected.concat().len());
        });
    }

    #[test]
    fn entries_are_kept_in_order_and_pads_left_out() {
        check(false, None, &[0, 1, 2], &[&[10, 11, 12, 13], &[], &[20]]);
        check(false, Some(2), &[2, 0], &[&[20], &[12, 13]]);
        check(false, Some(0), &[0], &[&[]]);
    }

    /// The third example's category is unknown, and matches nothing.
    #[test]
    fn hard_search_keeps_the_most_recent_that_match() {
        check(true, None, &[0, 1, 2], &[&[10, 12, 13], &[], &[]]);
        check(true, Some(2), &[0], &[&[12, 13]]);
    }

    /// Parts may start elsewhere: what counts is the place in the history.
    #[test]
    fn other_features_of_an_entry_are_found_by_its_place() {
        let sequence = Sequence { parts: vec![(TableId(0), 0)], matching: None, most_recent: Some(3) };
        let mut entries = Entries::default();
        entries.select(&sequence, &columns(), &[0]);
        entries.with_ids(&columns()[1], |column, _| assert_eq!(*column, Column::Id(vec![6, 5, 5])));
    }
}
