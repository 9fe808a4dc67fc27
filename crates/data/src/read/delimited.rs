//! CSV, TSV and their kin (RFC 4180, with any delimiter).

use super::lines::{LineEnd, Lines};
use super::{Chunk, ReadChunks, ReadOptions, RowLog, TextColumn, Wanted, missing_column};
use crate::bad_row::Reason;
use crate::error::{Error, Result};
use arrow::array::{ArrayRef, NullArray};
use memchr::{memchr, memchr_iter, memmem};
use std::path::Path;
use std::sync::Arc;

/// How columns are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delimited {
    /// What stands between columns; one byte or several, such as `::`.
    pub delimiter: String,
    /// What may surround a column; doubled inside for the mark itself. A mark inside a column that does not start
    /// with one is an ordinary character.
    pub quote: Option<u8>,
    /// Names of the columns of a file without a header; `None` means that the first line names them.
    pub columns: Option<Vec<String>>,
}

impl Delimited {
    /// Commas, double quotes, a header.
    pub fn csv() -> Delimited {
        Delimited { delimiter: ",".to_owned(), quote: Some(b'"'), columns: None }
    }

    /// Tabs, double quotes, a header.
    pub fn tsv() -> Delimited {
        Delimited { delimiter: "\t".to_owned(), ..Delimited::csv() }
    }

    /// No header, no quotes: these columns between these delimiters.
    pub fn plain(delimiter: &str, columns: &[&str]) -> Delimited {
        let columns = columns.iter().map(|&name| name.to_owned()).collect();
        Delimited { delimiter: delimiter.to_owned(), quote: None, columns: Some(columns) }
    }
}

/// Reads a delimited file.
pub(crate) struct Reader {
    lines: Lines,
    delimiter: Vec<u8>,
    quote: Option<u8>,
    /// For each column of the file, where it goes among the wanted ones.
    slots: Vec<Option<usize>>,
    names: Vec<String>,
    columns: Vec<Option<TextColumn>>,
    rows: RowLog,
    fields: Fields,
}

/// The columns of one row, as stretches of the row or of `unquoted`.
#[derive(Default)]
struct Fields {
    ends: Vec<(usize, usize)>,
    unquoted: Vec<u8>,
}

/// A record at the start of the buffer.
enum Record {
    /// Its length, the lines that it spans, and whether it has quotation marks.
    Row {
        len: usize,
        lines: u64,
        quoted: bool,
    },
    /// Not a row; it has been dropped.
    Bad,
    Eof,
}

/// Where in a column a byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Plain,
    /// Between quotation marks.
    Quoted,
    /// Behind a closing mark, which another mark would turn into a mark inside the column.
    Closed,
}

impl Reader {
    pub(crate) fn open(file: &Path, how: &Delimited, wanted: &[Wanted], options: &ReadOptions) -> Result<Reader> {
        let mut reader = Reader {
            lines: Lines::open(file, options)?,
            delimiter: how.delimiter.as_bytes().to_vec(),
            quote: how.quote,
            slots: Vec::new(),
            names: Vec::new(),
            columns: Vec::new(),
            rows: RowLog::default(),
            fields: Fields::default(),
        };
        if reader.delimiter.is_empty() {
            return Err(Error::Usage("the delimiter is empty; say which character stands between columns".into()));
        }
        let names = match &how.columns {
            Some(names) => names.clone(),
            None => match reader.read_header()? {
                Some(names) => names,
                None => return Ok(reader), // an empty file lacks nothing
            },
        };
        reader.slots = names.iter().map(|name| wanted.iter().position(|want| want.name == *name)).collect();
        for (slot, want) in wanted.iter().enumerate() {
            let present = reader.slots.contains(&Some(slot));
            if !present && !want.optional {
                return Err(missing_column(file, &want.name, &names));
            }
            reader.columns.push(present.then(TextColumn::new));
        }
        reader.names = names;
        Ok(reader)
    }

    pub(crate) fn into_names(self) -> Vec<String> {
        self.names
    }

    fn read_header(&mut self) -> Result<Option<Vec<String>>> {
        loop {
            match self.next_record()? {
                Record::Eof => return Ok(None),
                Record::Bad => {
                    let line = self.lines.line().saturating_sub(1);
                    return Err(Error::BadHeader { file: self.lines.file().to_owned(), line });
                }
                Record::Row { len, lines, quoted } => {
                    let record = self.lines.record(len);
                    let blank = record.is_empty();
                    self.fields.split(record, &self.delimiter, self.quote.filter(|_| quoted));
                    let text = if quoted { self.fields.unquoted.as_slice() } else { record };
                    let name =
                        |&(start, end): &(usize, usize)| String::from_utf8_lossy(&text[start..end]).trim().to_owned();
                    let names = self.fields.ends.iter().map(name).collect();
                    self.lines.consume(len, lines);
                    if !blank {
                        return Ok(Some(names));
                    }
                }
            }
        }
    }

    /// Finds the record at the start of the buffer; a bad one is noted and dropped.
    fn next_record(&mut self) -> Result<Record> {
        let len = match self.lines.find_end(0)? {
            LineEnd::Eof => return Ok(Record::Eof),
            LineEnd::At(len) => len,
            LineEnd::TooLong => {
                self.rows.refuse(self.lines.line(), Reason::LineTooLong, self.lines.available());
                self.lines.skip_line()?;
                return Ok(Record::Bad);
            }
        };
        let Some(quote) = self.quote.filter(|&quote| memchr(quote, self.lines.record(len)).is_some()) else {
            return Ok(Record::Row { len, lines: 1, quoted: false });
        };
        if let Some((len, lines)) = self.close_quotes(quote)? {
            return Ok(Record::Row { len, lines, quoted: true });
        }
        self.rows.refuse(self.lines.line(), Reason::UnclosedQuote, self.lines.record(len));
        self.lines.consume(len, 1);
        Ok(Record::Bad)
    }

    /// Length and lines of a record in which ends of lines between quotation marks do not count; `None` if a mark
    /// never closes within the limit.
    fn close_quotes(&mut self, quote: u8) -> Result<Option<(usize, u64)>> {
        let (mut at, mut lines, mut place) = (0, 1, Place::Start);
        loop {
            let Some(&byte) = self.lines.available().get(at) else {
                if !self.lines.over_limit(at) && self.lines.fill()? {
                    continue;
                }
                return Ok((place != Place::Quoted).then_some((at, lines)));
            };
            if byte == b'\n' && place != Place::Quoted {
                return Ok(Some((at, lines)));
            }
            lines += u64::from(byte == b'\n');
            at += 1;
            place = match place {
                Place::Quoted if byte == quote => Place::Closed,
                Place::Quoted => Place::Quoted,
                Place::Start | Place::Closed if byte == quote => Place::Quoted,
                _ if self.lines.available()[..at].ends_with(&self.delimiter) => Place::Start,
                _ => Place::Plain,
            };
        }
    }

    fn push_row(&mut self, len: usize, lines: u64, quoted: bool) {
        let line = self.lines.line();
        let record = self.lines.record(len);
        if !record.is_empty() {
            self.fields.split(record, &self.delimiter, self.quote.filter(|_| quoted));
            let text = if quoted { self.fields.unquoted.as_slice() } else { record };
            match self.fields.ends.len().cmp(&self.slots.len()) {
                std::cmp::Ordering::Less => self.rows.refuse(line, Reason::TooFewColumns, record),
                std::cmp::Ordering::Greater => self.rows.refuse(line, Reason::TooManyColumns, record),
                std::cmp::Ordering::Equal => {
                    for (&(start, end), slot) in self.fields.ends.iter().zip(&self.slots) {
                        if let Some(column) = slot.and_then(|slot| self.columns[slot].as_mut()) {
                            column.push(&text[start..end]);
                        }
                    }
                    self.rows.accept(line, record.len());
                }
            }
        }
        self.lines.consume(len, lines);
    }
}

impl ReadChunks for Reader {
    fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        while !self.rows.is_full() {
            match self.next_record()? {
                Record::Eof => break,
                Record::Bad => {}
                Record::Row { len, lines, quoted } => self.push_row(len, lines, quoted),
            }
        }
        let rows = self.rows.ordinals.len();
        let take = |column: &mut Option<TextColumn>| -> ArrayRef {
            match column {
                Some(column) => Arc::new(column.take()),
                None => Arc::new(NullArray::new(rows)),
            }
        };
        let columns = self.columns.iter_mut().map(take).collect();
        Ok(self.rows.take(columns))
    }
}

impl Fields {
    fn split(&mut self, record: &[u8], delimiter: &[u8], quote: Option<u8>) {
        self.ends.clear();
        match quote {
            Some(quote) => self.split_quoted(record, delimiter, quote),
            None if delimiter.len() == 1 => self.split_at(record.len(), 1, memchr_iter(delimiter[0], record)),
            None => self.split_at(record.len(), delimiter.len(), memmem::find_iter(record, delimiter)),
        }
    }

    fn split_at(&mut self, len: usize, width: usize, delimiters: impl Iterator<Item = usize>) {
        let mut start = 0;
        for at in delimiters {
            self.ends.push((start, at));
            start = at + width;
        }
        self.ends.push((start, len));
    }

    fn split_quoted(&mut self, record: &[u8], delimiter: &[u8], quote: u8) {
        self.unquoted.clear();
        let mut rest = record;
        loop {
            let start = self.unquoted.len();
            if rest.first() == Some(&quote) {
                rest = &rest[1..];
                while let Some(at) = memchr(quote, rest) {
                    self.unquoted.extend_from_slice(&rest[..at]);
                    rest = &rest[at + 1..];
                    if rest.first() != Some(&quote) {
                        break;
                    }
                    self.unquoted.push(quote);
                    rest = &rest[1..];
                }
            }
            let end = memmem::find(rest, delimiter);
            self.unquoted.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            self.ends.push((start, self.unquoted.len()));
            match end {
                Some(end) => rest = &rest[end + delimiter.len()..],
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use std::io::Write;

    /// The rows of `text`, and the line and reason of every refusal.
    fn read(how: &Delimited, text: &[u8], wanted: &[&str]) -> (Vec<Vec<String>>, Vec<(u64, Reason)>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        let want = |name: &&str| Wanted { name: (*name).to_owned(), optional: false, separator: None };
        let wanted: Vec<Wanted> = wanted.iter().map(want).collect();
        let options = ReadOptions { max_line: 100, ..ReadOptions::default() };
        let mut reader = Reader::open(file.path(), how, &wanted, &options).unwrap();
        let (mut rows, mut refused) = (Vec::new(), Vec::new());
        while let Some(chunk) = reader.next_chunk().unwrap() {
            for row in 0..chunk.ordinals.len() {
                let value =
                    |column: &ArrayRef| String::from_utf8_lossy(column.as_binary::<i32>().value(row)).into_owned();
                rows.push(chunk.columns.iter().map(value).collect());
            }
            refused.extend(chunk.refused.iter().map(|row| (row.line, row.reason)));
        }
        (rows, refused)
    }

    fn check(how: &Delimited, text: &str, expected: &[&[&str]]) {
        let (rows, refused) = read(how, text.as_bytes(), &["a", "b"]);
        assert_eq!(rows, expected.iter().map(|row| row.to_vec()).collect::<Vec<_>>(), "{text:?}");
        assert_eq!(refused, [], "{text:?}");
    }

    #[test]
    fn quotes_follow_rfc_4180() {
        let csv = Delimited::csv();
        check(&csv, "a,b\n1,2\n3,4", &[&["1", "2"], &["3", "4"]]);
        check(&csv, "b,x,a\r\n1,2,3\r\n", &[&["3", "1"]]);
        check(&csv, "a,b\n\"1,5\",\"say \"\"hi\"\"\"\n", &[&["1,5", "say \"hi\""]]);
        check(&csv, "a,b\n\"two\nlines\",2\n3,4\n", &[&["two\nlines", "2"], &["3", "4"]]);
        check(&csv, "a,b\n5\" disk,2\n,\n", &[&["5\" disk", "2"], &["", ""]]);
        check(&csv, "a,b\n5\"\"x,2\n3,4\n", &[&["5\"\"x", "2"], &["3", "4"]]);
        check(&csv, "a,b\n\"\",\"\"\n\n\"\"\"\",x\n", &[&["", ""], &["\"", "x"]]);
        check(&csv, "\"a\",\"b\"\n1,2", &[&["1", "2"]]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn quoted_rows_read_back(rows in proptest::collection::vec(["[a\",\n\r]{0,8}", "[b\", ]{0,8}"], 0..20)) {
            let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
            let line = |row: &[String; 2]| format!("{},{}\r\n", quoted(&row[0]), quoted(&row[1]));
            let text = format!("a,b\n{}", rows.iter().map(line).collect::<String>());
            let (found, refused) = read(&Delimited::csv(), text.as_bytes(), &["a", "b"]);
            proptest::prop_assert_eq!(found, rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>());
            proptest::prop_assert_eq!(refused, []);
        }
    }

    #[test]
    fn delimiters_may_be_wide() {
        check(&Delimited::plain("::", &["a", "b"]), "1::x:y\n2::\"q\n", &[&["1", "x:y"], &["2", "\"q"]]);
        check(&Delimited::plain("|", &["b", "a"]), "1|2\n", &[&["2", "1"]]);
    }

    #[test]
    fn rows_that_cannot_be_split_are_refused_with_their_lines() {
        let text = format!("a,b\n1\n1,2,3\n\"open,2\n1,2\n{}\n3,4\n", "x".repeat(200));
        let (rows, refused) = read(&Delimited::csv(), text.as_bytes(), &["a", "b"]);
        assert_eq!(rows, [["1", "2"], ["3", "4"]]);
        let expected = [
            (2, Reason::TooFewColumns),
            (3, Reason::TooManyColumns),
            (4, Reason::UnclosedQuote),
            (6, Reason::LineTooLong),
        ];
        assert_eq!(refused, expected);
    }

    #[test]
    fn a_missing_column_lists_what_is_there() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"user_id,item\n1,2\n").unwrap();
        let wanted = [Wanted { name: "userid".into(), optional: false, separator: None }];
        let opened = Reader::open(file.path(), &Delimited::csv(), &wanted, &ReadOptions::default());
        let error = opened.err().unwrap().to_string();
        assert!(error.contains("user_id, item") && error.contains("did you mean \"user_id\""), "{error}");
    }
}
