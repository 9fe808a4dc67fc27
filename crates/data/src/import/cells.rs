//! From a source's cells to typed values; cells that do not read are noted and become nulls.

use super::convert::Verdicts;
use crate::bad_row::Reason;
use crate::error::Result;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, Float64Array, GenericListArray, Int64Array, ListArray,
    NullBufferBuilder, PrimitiveArray, StringArray, new_empty_array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, UInt64Type};
use perennial_core::IdType;
use std::sync::Arc;

/// Text of any Arrow kind becomes `Binary` without a copy of the bytes where the layout allows; other columns stay
/// what they are.
pub(super) fn normalised(column: &ArrayRef) -> Result<ArrayRef> {
    let is_text = |kind: &DataType| {
        use DataType::{BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
        matches!(kind, Utf8 | LargeUtf8 | Utf8View | LargeBinary | BinaryView)
    };
    Ok(match column.data_type() {
        DataType::Dictionary(_, value) if is_text(value) || **value == DataType::Binary => {
            let text = cast(column, &DataType::Utf8)?;
            cast(&text, &DataType::Binary)?
        }
        kind if is_text(kind) => cast(column, &DataType::Binary)?,
        _ => column.clone(),
    })
}

/// Values that do not fit become nulls.
fn cast(column: &dyn Array, to: &DataType) -> Result<ArrayRef> {
    Ok(cast_with_options(column, to, &CastOptions { safe: true, ..CastOptions::default() })?)
}

/// As `cast`, with a verdict on every value that was lost.
pub(super) fn cast_noted(
    column: &ArrayRef,
    to: &DataType,
    reason: Reason,
    verdicts: &mut Verdicts,
) -> Result<ArrayRef> {
    if column.data_type() == to {
        return Ok(column.clone());
    }
    if column.data_type() == &DataType::Null {
        return Ok(new_null_array(to, column.len())); // a null array counts its nulls as none
    }
    let done = cast(column, to).map_err(|_| verdicts.wrong_type(to, column.data_type()))?;
    if done.null_count() > column.null_count() {
        (0..done.len())
            .filter(|&row| done.is_null(row) && !column.is_null(row))
            .for_each(|row| verdicts.note(row, reason, column));
    }
    Ok(done)
}

/// Parses every text that is not empty.
pub(super) fn parse_text<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    verdicts: &mut Verdicts,
    mut parse: impl FnMut(&[u8]) -> Result<T::Native, Reason>,
) -> PrimitiveArray<T> {
    let text: &BinaryArray = column.as_binary();
    let mut values = Vec::with_capacity(text.len());
    let mut nulls = NullBufferBuilder::new(text.len());
    for row in 0..text.len() {
        let cell = if text.is_null(row) { b"" } else { text.value(row).trim_ascii() };
        let value = if cell.is_empty() { None } else { parse(cell).map_err(|r| verdicts.note(row, r, column)).ok() };
        values.push(value.unwrap_or_default());
        nulls.append(value.is_some());
    }
    PrimitiveArray::new(values.into(), nulls.finish())
}

/// Signed integers; floats that are whole count as integers.
pub(super) fn integers(column: &ArrayRef, verdicts: &mut Verdicts) -> Result<Int64Array> {
    Ok(match column.data_type() {
        DataType::Binary => parse_text::<Int64Type>(column, verdicts, parse_integer),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => whole_floats(column, verdicts)?,
        _ => cast_noted(column, &DataType::Int64, Reason::NotANumber, verdicts)?.as_primitive().clone(),
    })
}

/// Unsigned integers, for event ids.
pub(super) fn unsigned(column: &ArrayRef, verdicts: &mut Verdicts) -> Result<PrimitiveArray<UInt64Type>> {
    Ok(match column.data_type() {
        DataType::Binary => parse_text(column, verdicts, |cell| parse(cell).ok_or(Reason::NotANumber)),
        _ => cast_noted(column, &DataType::UInt64, Reason::NotANumber, verdicts)?.as_primitive().clone(),
    })
}

/// Finite numbers, as models will see them: in 32 bits.
pub(super) fn numbers(column: &ArrayRef, verdicts: &mut Verdicts) -> Result<Float64Array> {
    let parsed: Float64Array = match column.data_type() {
        DataType::Binary => parse_text::<Float64Type>(column, verdicts, parse_number),
        _ => cast_noted(column, &DataType::Float64, Reason::NotANumber, verdicts)?.as_primitive().clone(),
    };
    // One pass without branches settles the usual case.
    let finite = |value: f64| value.abs() <= f64::from(f32::MAX);
    if parsed.values().iter().all(|value| finite(*value)) {
        return Ok(parsed);
    }
    (0..parsed.len())
        .filter(|&row| parsed.is_valid(row) && !finite(parsed.value(row)))
        .for_each(|row| verdicts.note(row, Reason::NotFinite, column));
    Ok(parsed)
}

/// UTF-8 texts; an empty text is a null.
pub(super) fn texts(column: &ArrayRef, verdicts: &mut Verdicts) -> Result<StringArray> {
    if column.data_type() != &DataType::Binary {
        return Ok(cast_noted(column, &DataType::Utf8, Reason::InvalidUtf8, verdicts)?.as_string().clone());
    }
    let bytes: &BinaryArray = column.as_binary();
    let mut nulls = NullBufferBuilder::new(bytes.len());
    (0..bytes.len()).for_each(|row| nulls.append(bytes.is_valid(row) && !bytes.value(row).is_empty()));
    let nulls = nulls.finish();
    match StringArray::try_new(bytes.offsets().clone(), bytes.values().clone(), nulls.clone()) {
        Ok(texts) => Ok(texts),
        Err(_) => Ok(texts_one_by_one(bytes, column, verdicts)),
    }
}

fn texts_one_by_one(bytes: &BinaryArray, column: &ArrayRef, verdicts: &mut Verdicts) -> StringArray {
    let read = |row: usize| {
        let cell = if bytes.is_null(row) { b"" } else { bytes.value(row) };
        let text = std::str::from_utf8(cell).map_err(|_| verdicts.note(row, Reason::InvalidUtf8, column)).ok();
        text.filter(|text| !text.is_empty())
    };
    (0..bytes.len()).map(read).collect()
}

/// Lists of ids without nulls; a null list is empty. Texts are split at `separator`.
pub(super) fn lists(column: &ArrayRef, id: IdType, separator: &str, verdicts: &mut Verdicts) -> Result<ListArray> {
    let (lengths, elements) = match column.data_type() {
        DataType::Null => (vec![0; column.len()], new_empty_array(&DataType::Binary)),
        DataType::Binary => split_texts(column.as_binary(), separator),
        DataType::List(_) => list_parts(column.as_list::<i32>())?,
        DataType::LargeList(_) => list_parts(column.as_list::<i64>())?,
        DataType::FixedSizeList(element, _) => {
            let list = cast(column, &DataType::List(element.clone()))?;
            list_parts(list.as_list::<i32>())?
        }
        other => return Err(verdicts.wrong_type(&"a list of ids", other)),
    };
    let mut of_elements = verdicts.for_elements(&lengths);
    let elements: ArrayRef = match id {
        IdType::Int => Arc::new(integers(&elements, &mut of_elements)?),
        IdType::Text => Arc::new(texts(&elements, &mut of_elements)?),
    };
    of_elements.hand_up(verdicts);
    Ok(without_nulls(&lengths, &elements)?)
}

fn split_texts(texts: &BinaryArray, separator: &str) -> (Vec<usize>, ArrayRef) {
    let mut elements = Vec::new();
    let mut lengths = Vec::with_capacity(texts.len());
    for row in 0..texts.len() {
        let before = elements.len();
        let mut rest = if texts.is_null(row) { b"" } else { texts.value(row) };
        while let Some(at) = memchr::memmem::find(rest, separator.as_bytes()) {
            elements.push(&rest[..at]);
            rest = &rest[at + separator.len()..];
        }
        if !rest.is_empty() {
            elements.push(rest);
        }
        lengths.push(elements.len() - before);
    }
    (lengths, Arc::new(BinaryArray::from_vec(elements)))
}

/// The length of each list and the elements of all of them.
fn list_parts<O: arrow::array::OffsetSizeTrait>(lists: &GenericListArray<O>) -> Result<(Vec<usize>, ArrayRef)> {
    let mut lengths = Vec::with_capacity(lists.len());
    let mut elements = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        let list = if lists.is_null(row) { new_empty_array(lists.values().data_type()) } else { lists.value(row) };
        lengths.push(list.len());
        elements.push(list);
    }
    let parts: Vec<&dyn Array> = elements.iter().map(|list| list.as_ref()).collect();
    let all = if parts.is_empty() { lists.values().slice(0, 0) } else { arrow::compute::concat(&parts)? };
    Ok((lengths, normalised(&all)?))
}

fn without_nulls(lengths: &[usize], elements: &ArrayRef) -> Result<ListArray, arrow::error::ArrowError> {
    let field = Arc::new(Field::new_list_field(elements.data_type().clone(), true));
    if elements.null_count() == 0 {
        return ListArray::try_new(field, OffsetBuffer::from_lengths(lengths.iter().copied()), elements.clone(), None);
    }
    let mut start = 0;
    let kept = lengths.iter().map(|&len| {
        let range = start..start + len;
        start += len;
        range.filter(|&at| elements.is_valid(at)).count()
    });
    let offsets = OffsetBuffer::from_lengths(kept.collect::<Vec<_>>());
    let valid = arrow::compute::is_not_null(elements)?;
    ListArray::try_new(field, offsets, arrow::compute::filter(elements, &valid)?, None)
}

fn whole_floats(column: &ArrayRef, verdicts: &mut Verdicts) -> Result<Int64Array> {
    let floats = cast(column, &DataType::Float64)?;
    let floats: &Float64Array = floats.as_primitive();
    Ok(floats
        .iter()
        .enumerate()
        .map(|(row, value)| {
            let whole = whole(value?);
            if whole.is_none() {
                verdicts.note(row, Reason::NotANumber, column);
            }
            whole
        })
        .collect())
}

/// A float as an integer, if it is one.
fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < 9.2e18).then_some(value as i64)
}

/// Reads an integer, also when written `3.0`.
pub(super) fn parse_integer(cell: &[u8]) -> Result<i64, Reason> {
    short_integer(cell).or_else(|| parse(cell)).or_else(|| parse::<f64>(cell).and_then(whole)).ok_or(Reason::NotANumber)
}

/// Up to eighteen digits, which cannot overflow; the common case, several times faster than the general one.
#[inline]
fn short_integer(cell: &[u8]) -> Option<i64> {
    if cell.is_empty() || cell.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    for &byte in cell {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(value)
}

/// Reads a number; NaN and infinities read, and are refused by the caller.
pub(super) fn parse_number(cell: &[u8]) -> Result<f64, Reason> {
    parse(cell).ok_or(Reason::NotANumber)
}

fn parse<T: std::str::FromStr>(cell: &[u8]) -> Option<T> {
    std::str::from_utf8(cell).ok()?.parse().ok()
}
