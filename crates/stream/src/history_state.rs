//! What was known at a moment: the catalogue and everybody's history.

use crate::catalogue::{Attribute, Catalogue};
use crate::error::{Result, StreamError};
use crate::example_builder::ExampleBuilder;
use crate::histories::{Histories, Positive};
use crate::layout::Layout;
use crate::rows::Rows;
use crate::wire::{Reader, Writer};
use arrow::array::RecordBatch;
use perennial_core::{Digest, Examples, Schema};
use std::io;

/// The state of histories at a moment, all that a scorer needs besides the rows themselves.
///
/// It holds the items seen, with the attributes of the last row that named each, and for each user the most recent
/// positives whose labels were observable. What negatives are drawn from is not in it: whoever scores draws none.
///
/// # Bytes
///
/// `PRNLHIST`, `u32` format 1, then little-endian, where a list is a `u64` count followed by its entries:
/// digest of the names and kinds of item features (list of 32 `u8`); `u64` length of histories; item keys (list of
/// `u64`, in order of first sight); for each item feature in order of declaration: `u64` kind, then for an id (0) a
/// list of `u64`, for a bag (1) a list of `u64` end positions and a list of `u64` keys, for a number (2) a list of
/// `f32`; users with a history (list of `u64`, ascending); end positions of their histories (list of `u64`); numbers of
/// their items in the catalogue (list of `u32`, each history oldest first). BLAKE3 of all this ends it. One state has
/// one form.
#[derive(Debug, Clone)]
pub struct HistoryState {
    features: Digest,
    pub(crate) catalogue: Catalogue,
    pub(crate) histories: Histories,
}

const MAGIC: &[u8; 8] = b"PRNLHIST";
const FORMAT: u32 = 1;

impl HistoryState {
    pub(crate) fn new(features: Digest, catalogue: Catalogue, histories: Histories) -> HistoryState {
        HistoryState { features, catalogue, histories }
    }

    /// Number of items in the catalogue.
    pub fn items(&self) -> usize {
        self.catalogue.len()
    }

    /// Number of users with a history.
    pub fn users(&self) -> usize {
        self.histories.len()
    }

    /// Rows of a log of this schema as examples, with histories as of this state: the columns that preparing the log
    /// gives to rows of that moment. Labels among the rows change nothing; `label` names the one to hand on. Label and
    /// weight columns may be absent (then NaN and 1).
    ///
    /// Fails if the state is of a log with other item features.
    pub fn examples(&self, schema: &Schema, label: Option<&str>, rows: &RecordBatch) -> Result<Examples> {
        let layout = Layout::new(schema, label, self.histories.limit > 0)?;
        if layout.catalogue_digest() != self.features || !self.catalogue.fits(&layout) {
            return Err(StreamError::Config(format!(
                "the history state was made for a log with other item features than schema \"{}\" has",
                schema.name
            )));
        }
        let rows = Rows::from_batch(&layout, 0, rows)?;
        let mut builder = ExampleBuilder::new(&layout);
        for row in 0..rows.len() {
            builder.row(&layout, &rows, row, self)?;
        }
        Ok(builder.finish().0)
    }

    /// The state in the form described above.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write().expect("writing to memory does not fail")
    }

    /// Reads what [`HistoryState::to_bytes`] wrote; fails on anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<HistoryState> {
        let mut reader = Reader::open("the history state", bytes, MAGIC, FORMAT)?;
        let features = reader.slice::<u8>()?;
        let features: [u8; 32] = features.try_into().map_err(|_| reader.damaged("a digest has 32 bytes"))?;
        let features = Digest::parse(&blake3::Hash::from_bytes(features).to_hex()).expect("64 hexadecimal digits");
        let limit = reader.u64()? as usize;
        let catalogue = read_catalogue(&mut reader)?;
        let histories = read_histories(&mut reader, limit, catalogue.len())?;
        reader.finish()?;
        Ok(HistoryState { features, catalogue, histories })
    }

    /// Whether these are the bytes of a state, by their checksum.
    pub(crate) fn is_whole(bytes: &[u8]) -> bool {
        Reader::open("the history state", bytes, MAGIC, FORMAT).is_ok()
    }

    fn write(&self) -> io::Result<Vec<u8>> {
        let mut writer = Writer::new(Vec::new(), MAGIC, FORMAT)?;
        let features = blake3::Hash::from_hex(self.features.to_string()).expect("a digest prints as 64 digits");
        writer.slice(features.as_bytes().as_slice())?;
        writer.u64(self.histories.limit as u64)?;
        write_catalogue(&mut writer, &self.catalogue)?;
        let users = self.histories.users();
        let (ends, items) = flatten(users.iter().map(|&user| self.histories.of(user)), |positive| positive.item);
        writer.slice(&users)?;
        writer.slice(&ends)?;
        writer.slice(&items)?;
        Ok(writer.finish()?.0)
    }
}

fn write_catalogue(writer: &mut Writer<Vec<u8>>, catalogue: &Catalogue) -> io::Result<()> {
    writer.slice(&catalogue.keys)?;
    writer.u64(catalogue.attributes.len() as u64)?;
    for attribute in &catalogue.attributes {
        match attribute {
            Attribute::Id(keys) => {
                writer.u64(0)?;
                writer.slice(keys)?;
            }
            Attribute::Bag(bags) => {
                let (ends, keys) = flatten(bags.iter().map(|bag| &bag[..]), |&key| key);
                writer.u64(1)?;
                writer.slice(&ends)?;
                writer.slice(&keys)?;
            }
            Attribute::Numeric(values) => {
                writer.u64(2)?;
                writer.slice(values)?;
            }
        }
    }
    Ok(())
}

fn read_catalogue(reader: &mut Reader<'_>) -> Result<Catalogue> {
    let keys = reader.slice::<u64>()?;
    let mut attributes = Vec::new();
    for _ in 0..reader.u64()? {
        let (attribute, items) = match reader.u64()? {
            0 => sized(reader.slice()?, Attribute::Id),
            1 => {
                let (ends, keys) = (reader.slice::<u64>()?, reader.slice::<u64>()?);
                let bags = unflatten(&ends, &keys).ok_or_else(|| reader.damaged("bags that do not line up"))?;
                sized(bags.map(Box::from).collect(), Attribute::Bag)
            }
            2 => sized(reader.slice()?, Attribute::Numeric),
            kind => return Err(reader.damaged(format!("attribute of unknown kind {kind}"))),
        };
        if items != keys.len() {
            return Err(reader.damaged(format!("an attribute of {items} items beside {} keys", keys.len())));
        }
        attributes.push(attribute);
    }
    Catalogue::from_parts(keys, attributes).ok_or_else(|| reader.damaged("an item that is listed twice"))
}

fn read_histories(reader: &mut Reader<'_>, limit: usize, catalogue: usize) -> Result<Histories> {
    let (users, ends, items) = (reader.slice::<u64>()?, reader.slice::<u64>()?, reader.slice::<u32>()?);
    if !users.is_sorted_by(|left, right| left < right) {
        return Err(reader.damaged("users out of order"));
    }
    let lists = unflatten(&ends, &items).filter(|_| ends.len() == users.len());
    let lists = lists.ok_or_else(|| reader.damaged("histories that do not line up"))?;
    let mut histories = Histories::new(limit);
    for (&user, list) in users.iter().zip(lists) {
        if list.is_empty() || list.len() > limit || list.iter().any(|&item| item as usize >= catalogue) {
            return Err(reader.damaged(format!("history {list:?} of user {user}")));
        }
        for (place, &item) in list.iter().enumerate() {
            histories.add(user, Positive { place: place as u64, item });
        }
    }
    Ok(histories)
}

fn sized<T>(values: Vec<T>, attribute: fn(Vec<T>) -> Attribute) -> (Attribute, usize) {
    let items = values.len();
    (attribute(values), items)
}

/// End positions of the lists, and all their entries.
fn flatten<'a, T: 'a, U>(lists: impl Iterator<Item = &'a [T]>, of: fn(&T) -> U) -> (Vec<u64>, Vec<U>) {
    let (mut ends, mut all) = (Vec::new(), Vec::new());
    for list in lists {
        all.extend(list.iter().map(of));
        ends.push(all.len() as u64);
    }
    (ends, all)
}

/// The lists again; `None` if the ends fall or do not end with the entries.
fn unflatten<'a, T>(ends: &'a [u64], all: &'a [T]) -> Option<impl Iterator<Item = &'a [T]>> {
    let fits = ends.is_sorted() && ends.last().copied().unwrap_or(0) == all.len() as u64;
    let starts = std::iter::once(0).chain(ends.iter().copied());
    fits.then(|| starts.zip(ends).map(|(start, &end)| &all[start as usize..end as usize]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::past::Past;
    use crate::testing::{Event, batch, busy_log, schema};
    use proptest::prelude::*;

    fn state_after(events: &[Event]) -> HistoryState {
        let layout = Layout::new(&schema(), None, true).unwrap();
        let rows = Rows::from_batch(&layout, 0, &batch(0, events)).unwrap();
        let mut past = Past::new(&layout, 3, None);
        for row in 0..rows.len() {
            past.advance(rows.time[row]);
            past.record(&layout, &rows, row);
        }
        past.known_at(i64::MAX - 1)
    }

    #[test]
    fn reads_what_was_written() {
        let state = state_after(&busy_log(60, 1));
        assert!(state.items() > 3 && state.users() == 4);
        let bytes = state.to_bytes();
        let read = HistoryState::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes(), bytes);
        let rows = batch(0, &busy_log(10, 2));
        let before = state.examples(&schema(), None, &rows).unwrap();
        let after = read.examples(&schema(), None, &rows).unwrap();
        assert_eq!(before.columns[5..], after.columns[5..], "histories");
        assert_eq!(before.keys, after.keys);
    }

    #[test]
    fn nothing_is_a_state_too() {
        let state = HistoryState::from_bytes(&state_after(&[]).to_bytes()).unwrap();
        assert_eq!((state.items(), state.users()), (0, 0));
        assert!(state.examples(&schema(), None, &batch(0, &[])).unwrap().is_empty());
    }

    proptest! {
        /// Bytes changed under a checksum that fits: refused, or another state in its one form that can be used.
        #[test]
        fn hostile_bytes_do_no_harm(at in 12usize..100_000, value in any::<u8>(), rows in 1u64..30) {
            let mut bytes = state_after(&busy_log(rows, 1)).to_bytes();
            let body = bytes.len() - 32;
            bytes[12 + at % (body - 12)] = value;
            let checksum = *blake3::hash(&bytes[..body]).as_bytes();
            bytes[body..].copy_from_slice(&checksum);
            if let Ok(state) = HistoryState::from_bytes(&bytes) {
                prop_assert_eq!(state.to_bytes(), bytes);
                // A state that was made for another log may refuse; what matters is that it does not panic.
                let _ = state.examples(&schema(), None, &batch(0, &busy_log(20, 3)));
            }
        }

        #[test]
        fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(HistoryState::from_bytes(&bytes).is_err());
        }
    }
}
