//! From a source's times to microseconds since 1970.

use super::cells::{cast_noted, integers, parse_text};
use super::convert::Verdicts;
use crate::bad_row::Reason;
use crate::error::{Error, Result};
use crate::log::time_type;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Int64Type, TimeUnit as ArrowUnit, TimestampMicrosecondType};
use jiff::tz::TimeZone;
use perennial_core::{FieldKind, Schema, TimeFormat, TimeUnit, Timestamp};

/// Times as microseconds in UTC.
pub(super) type Times = PrimitiveArray<TimestampMicrosecondType>;

/// Reads times as a schema says they are written.
pub(crate) struct TimeReader {
    format: TimeFormat,
    zone: TimeZone,
}

/// 0001-01-01 and the end of 9999, in microseconds: outside of them a time is a mistake, most often of the unit.
const YEARS: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

impl TimeReader {
    pub(crate) fn new(schema: &Schema) -> Result<TimeReader> {
        let field = schema.timestamp();
        let FieldKind::Timestamp { format, zone } = &field.kind else { unreachable!("the timestamp is one") };
        let unknown = |_| {
            Error::Usage(format!(
                "field \"{}\": no time zone is called \"{zone}\"; use a name such as \"UTC\" or \"Europe/Paris\"",
                field.name
            ))
        };
        let zone = if zone == "UTC" { TimeZone::UTC } else { TimeZone::get(zone).map_err(unknown)? };
        Ok(TimeReader { format: format.clone(), zone })
    }

    /// The times of a column; those that do not read, or lie outside the years 1 to 9999, are noted.
    pub(super) fn read(&self, column: &ArrayRef, verdicts: &mut Verdicts) -> Result<Times> {
        let times = match (column.data_type(), &self.format) {
            (DataType::Timestamp(..) | DataType::Date32 | DataType::Date64, _) => self.typed(column, verdicts)?,
            (DataType::Binary, TimeFormat::Text(format)) => self.text(column, format, verdicts),
            (DataType::Binary, TimeFormat::Since1970(unit)) => {
                parse_text(column, verdicts, |cell| parse_since_1970(cell, *unit).ok_or(Reason::BadTime))
            }
            (_, TimeFormat::Since1970(unit)) => since_1970(&integers(column, verdicts)?, *unit, column, verdicts),
            (other, TimeFormat::Text(format)) => {
                return Err(verdicts.wrong_type(&format!("text like {format}"), other));
            }
        };
        if !times.values().iter().all(|time| YEARS.contains(time)) {
            (0..times.len())
                .filter(|&row| times.is_valid(row) && !YEARS.contains(&times.value(row)))
                .for_each(|row| verdicts.note(row, Reason::BadTime, column));
        }
        Ok(times.with_timezone("UTC"))
    }

    /// Columns that know their own unit; those without a zone are in the schema's.
    fn typed(&self, column: &ArrayRef, verdicts: &mut Verdicts) -> Result<Times> {
        if matches!(column.data_type(), DataType::Timestamp(_, Some(_))) {
            return Ok(cast_noted(column, &time_type(), Reason::BadTime, verdicts)?.as_primitive().clone());
        }
        let plain = DataType::Timestamp(ArrowUnit::Microsecond, None);
        let local: Times = cast_noted(column, &plain, Reason::BadTime, verdicts)?.as_primitive().clone();
        if self.zone == TimeZone::UTC {
            return Ok(local);
        }
        let in_zone = |(row, time): (usize, Option<i64>)| {
            let civil = jiff::Timestamp::from_microsecond(time?).ok().map(|t| TimeZone::UTC.to_datetime(t));
            let time = civil.and_then(|civil| self.zone.to_timestamp(civil).ok());
            if time.is_none() {
                verdicts.note(row, Reason::BadTime, column);
            }
            time.map(|time| time.as_microsecond())
        };
        Ok(local.iter().enumerate().map(in_zone).collect())
    }

    fn text(&self, column: &ArrayRef, format: &str, verdicts: &mut Verdicts) -> Times {
        // Rows of one moment are often neighbours, and reading a date is slow.
        let mut last: Option<(Vec<u8>, i64)> = None;
        parse_text(column, verdicts, |cell| {
            if let Some((text, time)) = &last
                && text == cell
            {
                return Ok(*time);
            }
            let time = parse_time(cell, format, &self.zone).ok_or(Reason::BadTime)?;
            last = Some((cell.to_vec(), time));
            Ok(time)
        })
    }
}

/// Reads a time in a `strptime` format; one without an offset is in `zone`.
pub(crate) fn parse_time(cell: &[u8], format: &str, zone: &TimeZone) -> Option<i64> {
    let parsed = jiff::fmt::strtime::parse(format, cell).ok()?;
    let time = match parsed.offset() {
        Some(_) => parsed.to_timestamp().ok()?,
        None => zone.to_timestamp(parsed.to_datetime().ok()?).ok()?,
    };
    Some(time.as_microsecond())
}

/// Integers, and decimals such as seconds with a fraction.
fn parse_since_1970(cell: &[u8], unit: TimeUnit) -> Option<i64> {
    if let Ok(whole) = super::cells::parse_integer(cell) {
        return unit.to_timestamp(whole).map(|time| time.0);
    }
    let micros = match unit {
        TimeUnit::Second => 1e6,
        TimeUnit::Millisecond => 1e3,
        TimeUnit::Microsecond => 1.0,
        TimeUnit::Nanosecond => 1e-3,
    };
    let value = super::cells::parse_number(cell).ok()? * micros;
    value.is_finite().then(|| value.round() as i64) // what saturates is outside the years
}

fn since_1970(
    integers: &PrimitiveArray<Int64Type>,
    unit: TimeUnit,
    column: &ArrayRef,
    verdicts: &mut Verdicts,
) -> Times {
    let convert = |(row, value): (usize, Option<i64>)| {
        let time = unit.to_timestamp(value?);
        if time.is_none() {
            verdicts.note(row, Reason::BadTime, column);
        }
        time.map(|Timestamp(micros)| micros)
    };
    integers.iter().enumerate().map(convert).collect()
}
