//! JSON lines: one object to a line.

use super::lines::{LineEnd, Lines};
use super::{Chunk, ReadChunks, ReadOptions, RowLog, TextColumn, Wanted, missing_column};
use crate::bad_row::Reason;
use crate::error::Result;
use arrow::array::{ArrayRef, BinaryBuilder, ListBuilder};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Reads a file of JSON lines. An absent key is a null; a wanted key that is in none of the first rows, and not
/// optional, is a missing column.
pub(crate) struct Reader {
    lines: Lines,
    wanted: Vec<Wanted>,
    columns: Vec<JsonColumn>,
    /// Names seen in the first chunk.
    seen: BTreeSet<String>,
    is_first: bool,
    rows: RowLog,
}

enum JsonColumn {
    Scalar(TextColumn),
    List(Box<ListBuilder<BinaryBuilder>>),
}

impl Reader {
    pub(crate) fn open(file: &Path, wanted: &[Wanted], options: &ReadOptions) -> Result<Reader> {
        let column = |want: &Wanted| match want.separator {
            Some(_) => JsonColumn::List(Box::new(ListBuilder::new(BinaryBuilder::new()))),
            None => JsonColumn::Scalar(TextColumn::new()),
        };
        Ok(Reader {
            lines: Lines::open(file, options)?,
            columns: wanted.iter().map(column).collect(),
            wanted: wanted.to_vec(),
            seen: BTreeSet::new(),
            is_first: true,
            rows: RowLog::default(),
        })
    }

    /// Names of the columns in the first chunk.
    pub(crate) fn into_names(mut self) -> Result<Vec<String>> {
        self.next_chunk()?;
        Ok(self.seen.into_iter().collect())
    }

    fn push_row(&mut self, len: usize) {
        let (line, record) = (self.lines.line(), self.lines.record(len));
        if record.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let Ok(object) = serde_json::from_slice::<Map<String, Value>>(record) else {
            self.rows.refuse(line, Reason::NotJson, record);
            return;
        };
        if self.is_first {
            self.seen.extend(object.keys().filter(|key| !self.seen.contains(*key)).cloned().collect::<Vec<_>>());
        }
        for (column, want) in self.columns.iter_mut().zip(&self.wanted) {
            column.push(object.get(&want.name).unwrap_or(&Value::Null), want.separator.as_deref());
        }
        self.rows.accept(line, len);
    }

    fn check_columns(&mut self) -> Result<()> {
        let missing = self.wanted.iter().find(|want| !want.optional && !self.seen.contains(&want.name));
        match missing.filter(|_| self.is_first && !self.seen.is_empty()) {
            Some(want) => {
                let found: Vec<String> = self.seen.iter().cloned().collect();
                Err(missing_column(self.lines.file(), &want.name, &found))
            }
            None => {
                self.is_first = false;
                Ok(())
            }
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
        self.check_columns()?;
        let columns = self.columns.iter_mut().map(JsonColumn::take).collect();
        Ok(self.rows.take(columns))
    }
}

impl JsonColumn {
    fn push(&mut self, value: &Value, separator: Option<&str>) {
        match self {
            JsonColumn::Scalar(column) => column.push(text_of(value).as_bytes()),
            JsonColumn::List(builder) => {
                match (value, separator) {
                    (Value::Array(items), _) => {
                        items.iter().for_each(|item| builder.values().append_value(text_of(item).as_bytes()));
                    }
                    (Value::String(text), Some(separator)) => {
                        text.split(separator).for_each(|item| builder.values().append_value(item));
                    }
                    (other, _) => builder.values().append_value(text_of(other).as_bytes()),
                }
                builder.append(true);
            }
        }
    }

    fn take(&mut self) -> ArrayRef {
        match self {
            JsonColumn::Scalar(column) => Arc::new(column.take()),
            JsonColumn::List(builder) => Arc::new(builder.finish()),
        }
    }
}

fn text_of(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};
    use std::io::Write;

    fn open(text: &str, wanted: &[(&str, Option<&str>)]) -> (tempfile::NamedTempFile, Reader) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let want = |&(name, separator): &(&str, Option<&str>)| Wanted {
            name: name.to_owned(),
            optional: false,
            separator: separator.map(str::to_owned),
        };
        let wanted: Vec<Wanted> = wanted.iter().map(want).collect();
        let reader = Reader::open(file.path(), &wanted, &ReadOptions::default()).unwrap();
        (file, reader)
    }

    #[test]
    fn values_become_text_and_lists() {
        let text =
            "{\"a\": 1, \"t\": [\"x|y\", 2]}\n\n{\"a\": \"q\", \"t\": \"x|y\"}\n[1]\n{\"b\": true, \"t\": null}\n";
        let (_file, mut reader) = open(text, &[("a", None), ("t", Some("|"))]);
        let chunk = reader.next_chunk().unwrap().unwrap();
        let texts = |array: &dyn Array| -> Vec<String> {
            array.as_binary::<i32>().iter().flatten().map(|b| String::from_utf8_lossy(b).into_owned()).collect()
        };
        assert_eq!(texts(&chunk.columns[0]), ["1", "q", ""]);
        let lists = chunk.columns[1].as_list::<i32>();
        assert_eq!(texts(&lists.value(0)), ["x|y", "2"]);
        assert_eq!(texts(&lists.value(1)), ["x", "y"]);
        assert_eq!(chunk.lines, [1, 3, 5]);
        assert_eq!(chunk.ordinals, [0, 1, 3]);
        assert_eq!((chunk.refused[0].line, chunk.refused[0].reason), (4, Reason::NotJson));
        assert!(reader.next_chunk().unwrap().is_none());
    }

    #[test]
    fn a_key_that_is_nowhere_is_a_missing_column() {
        let (_file, mut reader) = open("{\"user\": 1}\n", &[("users", None)]);
        let error = reader.next_chunk().unwrap_err().to_string();
        assert!(error.contains("did you mean \"user\""), "{error}");
    }
}
