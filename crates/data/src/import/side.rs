//! Tables of attributes, joined to the rows of a log as they are read.

use crate::error::Result;
use crate::read::{Format, ReadOptions, Wanted};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use hashbrown::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Attributes by key: adds columns to a log. Held in memory: about the size of its file.
#[derive(Debug, Clone)]
pub struct SideTable {
    /// The column of the log whose value is looked up.
    pub key: String,
    /// The columns that the table adds.
    pub names: Vec<String>,
    rows: HashMap<Vec<u8>, u32>,
    columns: Vec<ArrayRef>,
}

impl SideTable {
    /// A table from its rows: the key, then one value per name. Of rows with one key the last counts.
    pub fn new(key: &str, names: &[&str], rows: impl IntoIterator<Item = (Vec<u8>, Vec<Vec<u8>>)>) -> SideTable {
        let mut values: Vec<Vec<Vec<u8>>> = vec![Vec::new(); names.len()];
        let mut index = HashMap::new();
        for (i, (key, row)) in rows.into_iter().enumerate() {
            index.insert(key, u32::try_from(i).expect("a side table has fewer than 2^32 rows"));
            values.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
        }
        let column = |values: &Vec<Vec<u8>>| -> ArrayRef { Arc::new(BinaryArray::from_iter_values(values)) };
        SideTable {
            key: key.to_owned(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            rows: index,
            columns: values.iter().map(column).collect(),
        }
    }

    /// Reads a table from a file: its column `from` is matched with the log's column `key`.
    pub fn read(file: &Path, format: &Format, from: &str, key: &str, columns: &[(&str, &str)]) -> Result<SideTable> {
        let want = |name: &str| Wanted { name: name.to_owned(), optional: false, separator: None };
        let wanted: Vec<Wanted> =
            std::iter::once(want(from)).chain(columns.iter().map(|(column, _)| want(column))).collect();
        let mut reader = format.open(file, &wanted, &ReadOptions::default())?;
        let mut rows = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            let texts: Vec<ArrayRef> = chunk.columns.iter().map(as_text).collect::<Result<_>>()?;
            let cell = |column: usize, row: usize| texts[column].as_binary::<i32>().value(row).trim_ascii().to_vec();
            rows.extend(
                (0..chunk.ordinals.len())
                    .map(|row| (cell(0, row), (1..texts.len()).map(|column| cell(column, row)).collect())),
            );
        }
        let names: Vec<&str> = columns.iter().map(|&(_, name)| name).collect();
        Ok(SideTable::new(key, &names, rows))
    }

    /// The values of the table's column number `column` for the rows with these keys; null where there is none.
    pub(super) fn lookup(&self, keys: &ArrayRef, column: usize) -> Result<ArrayRef> {
        let keys = as_text(keys)?;
        let keys: &BinaryArray = keys.as_binary();
        let row = |at: usize| {
            let key = if keys.is_null(at) { b"" } else { keys.value(at).trim_ascii() };
            self.rows.get(key).copied()
        };
        let rows: UInt32Array = (0..keys.len()).map(row).collect();
        Ok(take(&self.columns[column], &rows, None)?)
    }
}

fn as_text(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Binary => column.clone(),
        _ => cast(&cast(column, &DataType::Utf8)?, &DataType::Binary)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::Delimited;

    #[test]
    fn keys_without_a_row_are_null() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("users.dat");
        std::fs::write(&file, "7::M::x\n8::F::y\n").unwrap();
        let format = Format::Delimited(Delimited::plain("::", &["id", "sex", "job"]));
        let table = SideTable::read(&file, &format, "id", "user", &[("job", "job"), ("sex", "gender")]).unwrap();
        assert_eq!(table.names, ["job", "gender"]);
        let keys: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![Some(8), Some(9), None, Some(7)]));
        let found = table.lookup(&keys, 1).unwrap();
        let found: Vec<Option<&[u8]>> = found.as_binary::<i32>().iter().collect();
        assert_eq!(found, [Some(&b"F"[..]), None, None, Some(&b"M"[..])]);
    }
}
