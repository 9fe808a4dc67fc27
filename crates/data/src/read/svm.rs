//! libsvm and libfm: `label index:value index:value ...`.

use super::lines::{LineEnd, Lines};
use super::{Chunk, ReadChunks, ReadOptions, RowLog, TextColumn, Wanted, missing_column};
use crate::bad_row::Reason;
use crate::error::Result;
use arrow::array::{ArrayRef, BinaryBuilder, ListBuilder};
use std::path::Path;
use std::sync::Arc;

/// Reads a libsvm or libfm file; [`super::Format::Svm`] names its columns.
pub(crate) struct Reader {
    lines: Lines,
    columns: Vec<(Part, SvmColumn)>,
    /// Whether values are read. Where they are not they must be 1: what they say would be lost.
    reads_values: bool,
    /// Number of features that every line must have, if features are wanted by position.
    features: Option<usize>,
    rows: RowLog,
}

/// What a column of the file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Label,
    Query,
    /// Index of the i-th feature.
    Index(usize),
    /// Value of the i-th feature.
    Value(usize),
    /// All indices.
    All,
}

enum SvmColumn {
    Scalar(TextColumn),
    List(Box<ListBuilder<BinaryBuilder>>),
}

impl Part {
    fn named(name: &str) -> Option<Part> {
        match name {
            "label" => Some(Part::Label),
            "qid" => Some(Part::Query),
            "features" => Some(Part::All),
            _ => {
                let position = name.get(1..)?.parse().ok()?;
                match name.as_bytes()[0] {
                    b'f' => Some(Part::Index(position)),
                    b'v' => Some(Part::Value(position)),
                    _ => None,
                }
            }
        }
    }

    fn position(self) -> Option<usize> {
        match self {
            Part::Index(at) | Part::Value(at) => Some(at),
            _ => None,
        }
    }
}

impl Reader {
    pub(crate) fn open(file: &Path, wanted: &[Wanted], options: &ReadOptions) -> Result<Reader> {
        let mut columns = Vec::new();
        for want in wanted {
            let part = Part::named(&want.name).ok_or_else(|| {
                let there = ["label", "qid", "f0", "f1", "...", "v0", "v1", "...", "features"].map(str::to_owned);
                missing_column(file, &want.name, &there)
            })?;
            columns.push((
                part,
                match part {
                    Part::All => SvmColumn::List(Box::new(ListBuilder::new(BinaryBuilder::new()))),
                    _ => SvmColumn::Scalar(TextColumn::new()),
                },
            ));
        }
        let features = columns.iter().filter_map(|(part, _)| part.position()).max().map(|last| last + 1);
        let reads_values = columns.iter().any(|(part, _)| matches!(part, Part::Value(_)));
        Ok(Reader { lines: Lines::open(file, options)?, columns, reads_values, features, rows: RowLog::default() })
    }

    fn push_row(&mut self, len: usize) {
        let (line, record) = (self.lines.line(), self.lines.record(len));
        let text = memchr::memchr(b'#', record).map_or(record, |at| &record[..at]);
        match Row::parse(text) {
            Ok(None) => {}
            Err(reason) => self.rows.refuse(line, reason, record),
            Ok(Some(row)) if !self.reads_values && !row.is_of_ones() => {
                self.rows.refuse(line, Reason::ValueNotOne, record);
            }
            Ok(Some(row)) => match self.features.map(|expected| row.features.len().cmp(&expected)) {
                Some(std::cmp::Ordering::Less) => self.rows.refuse(line, Reason::TooFewColumns, record),
                Some(std::cmp::Ordering::Greater) => self.rows.refuse(line, Reason::TooManyColumns, record),
                _ => {
                    self.columns.iter_mut().for_each(|(part, column)| column.push(*part, &row));
                    self.rows.accept(line, len);
                }
            },
        }
    }
}

/// A line taken apart.
struct Row<'a> {
    label: &'a [u8],
    query: &'a [u8],
    features: Vec<(&'a [u8], &'a [u8])>,
}

impl Row<'_> {
    fn parse(text: &[u8]) -> Result<Option<Row<'_>>, Reason> {
        let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let Some(label) = words.next() else { return Ok(None) };
        let mut row = Row { label, query: b"", features: Vec::new() };
        for word in words {
            let colon = memchr::memchr(b':', word).ok_or(Reason::NotAFeature)?;
            match (&word[..colon], &word[colon + 1..]) {
                (b"qid", value) => row.query = value,
                (index, value) if index.iter().all(u8::is_ascii_digit) && !index.is_empty() => {
                    row.features.push((index, value));
                }
                _ => return Err(Reason::NotAFeature),
            }
        }
        Ok(Some(row))
    }

    fn is_of_ones(&self) -> bool {
        let one = |value: &[u8]| std::str::from_utf8(value).is_ok_and(|value| value.parse() == Ok(1.0));
        self.features.iter().all(|(_, value)| one(value))
    }
}

impl SvmColumn {
    fn push(&mut self, part: Part, row: &Row<'_>) {
        match (self, part) {
            (SvmColumn::Scalar(column), Part::Label) => column.push(row.label),
            (SvmColumn::Scalar(column), Part::Query) => column.push(row.query),
            (SvmColumn::Scalar(column), Part::Index(at)) => column.push(row.features[at].0),
            (SvmColumn::Scalar(column), Part::Value(at)) => column.push(row.features[at].1),
            (SvmColumn::List(builder), _) => {
                row.features.iter().for_each(|(index, _)| builder.values().append_value(index));
                builder.append(true);
            }
            (SvmColumn::Scalar(_), Part::All) => unreachable!("all indices are a list"),
        }
    }

    fn take(&mut self) -> ArrayRef {
        match self {
            SvmColumn::Scalar(column) => Arc::new(column.take()),
            SvmColumn::List(builder) => Arc::new(builder.finish()),
        }
    }
}

impl ReadChunks for Reader {
    fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        while !self.rows.is_full() {
            match self.lines.find_end(0)? {
                LineEnd::Eof => break,
                LineEnd::TooLong => {
                    self.rows.refuse(self.lines.line(), Reason::LineTooLong, self.lines.available());
                    self.lines.skip_line()?;
                }
                LineEnd::At(len) => {
                    self.push_row(len);
                    self.lines.consume(len, 1);
                }
            }
        }
        let columns = self.columns.iter_mut().map(|(_, column)| column.take()).collect();
        Ok(self.rows.take(columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};
    use std::io::Write;

    #[test]
    fn values_that_nobody_reads_are_ones() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"1 3:1 4:1.0\n1 3:0.5 4:1\n1 3:x 4:1\n1 3:nan 4:1\n").unwrap();
        let wanted = ["label", "features"].map(|name| Wanted { name: name.into(), optional: false, separator: None });
        let mut reader = Reader::open(file.path(), &wanted, &ReadOptions::default()).unwrap();
        let chunk = reader.next_chunk().unwrap().unwrap();
        assert_eq!(chunk.columns[0].len(), 1);
        let reasons: Vec<_> = chunk.refused.iter().map(|row| (row.line, row.reason)).collect();
        assert_eq!(reasons, [2, 3, 4].map(|line| (line, Reason::ValueNotOne)));
    }

    #[test]
    fn features_by_position_and_all_together() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"-1 qid:7 3:1 9:0.5 # note\n\n1 4:1\n0 5 6:1\n1 x:1 2:2\n1 1:1 2:1 3:1\n").unwrap();
        let want = |name: &str| Wanted { name: name.into(), optional: false, separator: None };
        let wanted = ["label", "qid", "f0", "v1", "features"].map(want);
        let mut reader = Reader::open(file.path(), &wanted, &ReadOptions::default()).unwrap();
        let chunk = reader.next_chunk().unwrap().unwrap();
        let texts = |array: &dyn Array| -> Vec<String> {
            array.as_binary::<i32>().iter().flatten().map(|b| String::from_utf8_lossy(b).into_owned()).collect()
        };
        let scalars: Vec<_> = chunk.columns[..4].iter().map(|column| texts(column)).collect();
        assert_eq!(scalars, [["-1"], ["7"], ["3"], ["0.5"]]);
        assert_eq!(texts(&chunk.columns[4].as_list::<i32>().value(0)), ["3", "9"]);
        let reasons: Vec<_> = chunk.refused.iter().map(|row| (row.line, row.reason)).collect();
        let expected = [
            (3, Reason::TooFewColumns),
            (4, Reason::NotAFeature),
            (5, Reason::NotAFeature),
            (6, Reason::TooManyColumns),
        ];
        assert_eq!(reasons, expected);
    }
}
