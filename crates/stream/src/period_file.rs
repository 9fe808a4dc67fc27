//! A prepared period as a file.
//!
//! `PRNLPERI`, `u32` format 2, then little-endian, where a list is a `u64` count followed by its entries: `u64` number
//! of vocabularies and for each its keys (list of `u64`); `u64` number of columns and for each a `u64` kind, then for an
//! id (0) a list of `u32`, for a bag (1) starts, lengths and ids (lists of `u32`), a `u64` 1 if weighted, and weights
//! (list of `f32`), for a number (2) a list of `f32`; then one list each of labels and weights (`f32`), times and times
//! of observation (`i64`, microseconds), event ids, users, items and requests (`u64`; no requests if none is known), of
//! earlier logits (`f32`; none if none is known), and of `u8`, 1 for an example that was sampled. BLAKE3 of all this ends it.

use crate::error::Result;
use crate::wire::{Reader, Writer};
use perennial_core::{Column, Digest, Examples, Spans, Timestamp};
use std::io::{self, Write};

const MAGIC: &[u8; 8] = b"PRNLPERI";
const FORMAT: u32 = 2;

/// Writes a period; gives back the number of bytes and the checksum.
pub(crate) fn write(to: impl Write, examples: &Examples, sampled: &[bool]) -> io::Result<(u64, Digest)> {
    let mut writer = Writer::new(to, MAGIC, FORMAT)?;
    writer.u64(examples.keys.len() as u64)?;
    examples.keys.iter().try_for_each(|keys| writer.slice(keys))?;
    writer.u64(examples.columns.len() as u64)?;
    examples.columns.iter().try_for_each(|column| write_column(&mut writer, column))?;
    writer.slice(&examples.label)?;
    writer.slice(&examples.weight)?;
    writer.slice(&micros(&examples.time))?;
    writer.slice(&micros(&examples.observable))?;
    writer.slice(&examples.event)?;
    writer.slice(&examples.user)?;
    writer.slice(&examples.item)?;
    writer.slice(&examples.request)?;
    writer.slice(&examples.previous)?;
    writer.slice(&sampled.iter().map(|&sampled| u8::from(sampled)).collect::<Vec<_>>())?;
    let (mut to, bytes, checksum) = writer.finish()?;
    to.flush()?;
    Ok((bytes, checksum))
}

/// Reads a period back, with its checksum; errors call it `what`.
pub(crate) fn read(what: &str, bytes: &[u8]) -> Result<(Examples, Vec<bool>, Digest)> {
    let mut reader = Reader::open(what, bytes, MAGIC, FORMAT)?;
    let mut examples = Examples::default();
    for _ in 0..reader.u64()? {
        examples.keys.push(reader.slice()?);
    }
    for _ in 0..reader.u64()? {
        examples.columns.push(read_column(&mut reader)?);
    }
    examples.label = reader.slice()?;
    examples.weight = reader.slice()?;
    examples.time = reader.slice()?.into_iter().map(Timestamp).collect();
    examples.observable = reader.slice()?.into_iter().map(Timestamp).collect();
    examples.event = reader.slice()?;
    examples.user = reader.slice()?;
    examples.item = reader.slice()?;
    examples.request = reader.slice()?;
    examples.previous = reader.slice()?;
    let sampled: Vec<u8> = reader.slice()?;
    if !lines_up(&examples, sampled.len()) {
        return Err(reader.damaged("its columns do not line up"));
    }
    let checksum = reader.finish()?;
    Ok((examples, sampled.into_iter().map(|sampled| sampled != 0).collect(), checksum))
}

/// Examples as bytes, in the form of a prepared period.
pub fn examples_to_bytes(examples: &Examples) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, examples, &vec![false; examples.len()]).expect("writing to memory does not fail");
    bytes
}

/// Reads what [`examples_to_bytes`] wrote, checksum and shape included; errors call it `what`.
pub fn examples_from_bytes(what: &str, bytes: &[u8]) -> Result<Examples> {
    Ok(read(what, bytes)?.0)
}

fn write_column(writer: &mut Writer<impl Write>, column: &Column) -> io::Result<()> {
    match column {
        Column::Id(ids) => {
            writer.u64(0)?;
            writer.slice(ids)
        }
        Column::Bag { spans, ids, weights } => {
            writer.u64(1)?;
            writer.slice(&spans.start)?;
            writer.slice(&spans.len)?;
            writer.slice(ids)?;
            writer.u64(u64::from(weights.is_some()))?;
            writer.slice(weights.as_ref().map_or(&[], |weights| weights.as_slice()))
        }
        Column::Numeric(values) => {
            writer.u64(2)?;
            writer.slice(values)
        }
    }
}

fn read_column(reader: &mut Reader<'_>) -> Result<Column> {
    match reader.u64()? {
        0 => Ok(Column::Id(reader.slice()?)),
        1 => {
            let spans = Spans { start: reader.slice()?, len: reader.slice()? };
            let ids = reader.slice()?;
            let weighted = reader.u64()? == 1;
            let weights = reader.slice()?;
            Ok(Column::bag(spans, ids, weighted.then_some(weights)))
        }
        2 => Ok(Column::Numeric(reader.slice()?)),
        kind => Err(reader.damaged(format!("column of unknown kind {kind}"))),
    }
}

/// Whether every vector has an entry per example and every span lies within its ids.
fn lines_up(examples: &Examples, sampled: usize) -> bool {
    let rows = examples.len();
    let column = |column: &Column| match column {
        Column::Id(ids) => ids.len() == rows,
        Column::Numeric(values) => values.len() == rows,
        Column::Bag { spans, ids, weights } => {
            let mut spanned = spans.start.iter().zip(&spans.len);
            spans.start.len() == rows
                && spans.len.len() == rows
                && spanned.all(|(&start, &len)| u64::from(start) + u64::from(len) <= ids.len() as u64)
                && weights.as_ref().is_none_or(|weights| weights.len() == ids.len())
        }
    };
    let lengths = [
        examples.weight.len(),
        examples.time.len(),
        examples.observable.len(),
        examples.event.len(),
        examples.user.len(),
        examples.item.len(),
        sampled,
    ];
    lengths.iter().all(|&length| length == rows)
        && [0, rows].contains(&examples.request.len())
        && [0, rows].contains(&examples.previous.len())
        && examples.columns.iter().all(column)
}

fn micros(times: &[Timestamp]) -> Vec<i64> {
    times.iter().map(|time| time.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Examples {
        Examples {
            keys: vec![vec![5, u64::MAX], vec![]],
            columns: vec![
                Column::Id(vec![0, 1]),
                Column::bag(Spans { start: vec![0, 1], len: vec![1, 2] }, vec![1, 0, 1], Some(vec![1.0, 0.5, 0.5])),
                Column::bag(Spans { start: vec![0, 0], len: vec![0, 0] }, vec![], None),
                Column::Numeric(vec![0.25, -0.0]),
            ],
            label: vec![1.0, 0.0],
            weight: vec![1.0, 2.0],
            time: vec![Timestamp(-5), Timestamp(6)],
            observable: vec![Timestamp(0), Timestamp(i64::MAX)],
            event: vec![9, 8],
            user: vec![1, 2],
            item: vec![3, 4],
            request: vec![0, 7],
            previous: vec![0.5, -1.5],
        }
    }

    #[test]
    fn reads_what_was_written() {
        let mut bytes = Vec::new();
        let (written, checksum) = write(&mut bytes, &examples(), &[false, true]).unwrap();
        assert_eq!(written, bytes.len() as u64);
        assert_eq!(checksum, Digest::of_bytes(&bytes[..bytes.len() - 32]));
        assert_eq!(read("test", &bytes).unwrap(), (examples(), vec![false, true], checksum));
        assert_eq!(examples_from_bytes("test", &examples_to_bytes(&examples())).unwrap(), examples());
    }

    #[test]
    fn columns_that_do_not_line_up_are_refused() {
        let refused = |edit: fn(&mut Examples)| {
            let mut bytes = Vec::new();
            let mut wrong = examples();
            edit(&mut wrong);
            write(&mut bytes, &wrong, &[false, true]).unwrap();
            let error = read("test", &bytes).unwrap_err().to_string();
            assert!(error.contains("line up"), "got: {error}");
        };
        refused(|examples| examples.user.truncate(1));
        refused(|examples| examples.request.truncate(1));
        refused(|examples| examples.previous.truncate(1));
        refused(|examples| examples.columns[0] = Column::Id(vec![0]));
        refused(|examples| {
            let Column::Bag { spans, .. } = &mut examples.columns[1] else { unreachable!("see above") };
            spans.len[1] = u32::MAX;
        });
    }
}
