//! From a reader's chunks to rows of the canonical log.

use super::cells;
use super::side::SideTable;
use super::times::{TimeReader, Times};
use crate::bad_row::{BadRow, Reason, excerpt};
use crate::error::{Error, Result};
use crate::log::{arrow_schema, is_required_key};
use crate::read::{Chunk, Wanted};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    UInt64Array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::array_value_to_string;
use perennial_core::rng::{hash_parts, hash_text};
use perennial_core::{Field, FieldKind, IdType, Role, Schema, ScoreScale};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Turns chunks of one schema's sources into rows of its log.
pub(crate) struct Converter {
    schema: Schema,
    columns: SchemaRef,
    time: TimeReader,
    sides: Vec<SideTable>,
    wanted: Vec<Wanted>,
}

/// The rows of a chunk that are good, and those that are not.
pub(crate) struct Converted {
    /// Rows of the log, in the order of the source.
    pub(crate) batch: RecordBatch,
    /// The others.
    pub(crate) bad: Vec<BadRow>,
    /// Rows of the chunk in all.
    pub(crate) rows: u64,
}

/// Where a chunk comes from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Name of the file.
    pub(crate) name: Arc<str>,
    /// Its ordinal among the files.
    pub(crate) ordinal: u64,
    /// Rows in the files before it.
    pub(crate) rows_before: u64,
}

impl Converter {
    pub(crate) fn new(schema: &Schema, sides: &[SideTable]) -> Result<Converter> {
        let mut wanted = Vec::new();
        for field in &schema.fields {
            for (name, separator) in columns_of(field) {
                match sides.iter().find(|side| side.names.contains(&name)) {
                    Some(side) => want(&mut wanted, &side.key, None, false),
                    None => want(&mut wanted, &name, separator, field.optional),
                }
            }
        }
        Ok(Converter {
            schema: schema.clone(),
            columns: arrow_schema(schema),
            time: TimeReader::new(schema)?,
            sides: sides.to_vec(),
            wanted,
        })
    }

    /// The columns to read.
    pub(crate) fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    /// Columns of the log.
    pub(crate) fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    pub(crate) fn convert(&self, chunk: &Chunk, origin: &Origin) -> Result<Converted> {
        let source = Source { converter: self, chunk, origin };
        let mut verdicts = Verdicts::new(&origin.name);
        let times = source.times(&mut verdicts)?;
        let mut columns: Vec<ArrayRef> = vec![source.event_ids(&mut verdicts)?, Arc::new(times.clone())];
        for field in &self.schema.fields {
            verdicts.column = field.column.clone();
            columns.extend(source.field(field, &times, &mut verdicts)?);
        }
        let rows = (chunk.ordinals.len() + chunk.refused.len()) as u64;
        let batch = self.keep_good(columns, &verdicts)?;
        Ok(Converted { batch, bad: verdicts.into_bad_rows(chunk), rows })
    }

    fn keep_good(&self, columns: Vec<ArrayRef>, verdicts: &Verdicts) -> Result<RecordBatch> {
        if verdicts.first.is_empty() {
            return Ok(RecordBatch::try_new(self.columns.clone(), columns)?);
        }
        // Bad rows may hold nulls where the log allows none, so they leave before the columns are checked.
        let good: BooleanArray = (0..columns[0].len()).map(|row| Some(!verdicts.first.contains_key(&row))).collect();
        let loose = self.columns.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let loose = arrow::datatypes::Schema::new(loose.collect::<Vec<_>>());
        let kept = filter_record_batch(&RecordBatch::try_new(Arc::new(loose), columns)?, &good)?;
        Ok(RecordBatch::try_new(self.columns.clone(), kept.columns().to_vec())?)
    }
}

/// A chunk with where it comes from.
struct Source<'a> {
    converter: &'a Converter,
    chunk: &'a Chunk,
    origin: &'a Origin,
}

impl Source<'_> {
    fn times(&self, verdicts: &mut Verdicts) -> Result<Times> {
        let field = self.converter.schema.timestamp();
        verdicts.column = field.column.clone();
        let cells = self.column(&field.column)?;
        let times = self.converter.time.read(&cells, verdicts)?;
        verdicts.refuse_nulls(&times, Reason::BadTime, &cells);
        Ok(times)
    }

    /// The declared ids, or hashes of the file's name and the row's ordinal in it.
    fn event_ids(&self, verdicts: &mut Verdicts) -> Result<ArrayRef> {
        let mut fields = self.converter.schema.fields.iter();
        let Some(field) = fields.find(|field| matches!(field.kind, FieldKind::EventId)) else {
            let file = hash_text(&self.origin.name);
            let ids = self.chunk.ordinals.iter().map(|&ordinal| hash_parts(&[file, ordinal]));
            return Ok(Arc::new(UInt64Array::from_iter_values(ids)));
        };
        verdicts.column = field.column.clone();
        let cells = self.column(&field.column)?;
        let ids = cells::unsigned(&cells, verdicts)?;
        verdicts.refuse_nulls(&ids, Reason::MissingEventId, &cells);
        Ok(Arc::new(ids))
    }

    /// The columns of the log that a field becomes.
    fn field(&self, field: &Field, times: &Times, verdicts: &mut Verdicts) -> Result<Vec<ArrayRef>> {
        let cells = || self.column(&field.column);
        let column: ArrayRef = match &field.kind {
            FieldKind::Timestamp { .. } | FieldKind::EventId => return Ok(Vec::new()),
            FieldKind::Label { .. } => return self.label(field, times, verdicts),
            FieldKind::Score { scale, version } => return self.score(field, *scale, version.as_deref(), verdicts),
            FieldKind::Id { id, .. } => ids(field, *id, &cells()?, verdicts)?,
            FieldKind::Ids { id, separator, .. } | FieldKind::Sequence { id, separator, .. } => {
                Arc::new(cells::lists(&cells()?, *id, separator, verdicts)?)
            }
            FieldKind::Numeric => Arc::new(cells::numbers(&cells()?, verdicts)?),
            FieldKind::Weight => Arc::new(weights(&cells()?, verdicts)?),
            FieldKind::Period => Arc::new(periods(&cells()?, verdicts)?),
        };
        Ok(vec![column])
    }

    /// A label and when it became observable.
    fn label(&self, field: &Field, times: &Times, verdicts: &mut Verdicts) -> Result<Vec<ArrayRef>> {
        let FieldKind::Label { at_least, constant, observed_at } = &field.kind else {
            unreachable!("called for labels")
        };
        let values = match constant {
            Some(value) => Float32Array::from_value(*value as f32, times.len()),
            None => labels(&self.column(&field.column)?, *at_least, verdicts)?,
        };
        let Some(observed_at) = observed_at else { return both_or_neither(values, times.clone()) };
        verdicts.column = observed_at.clone();
        let cells = self.column(observed_at)?;
        let seen = self.converter.time.read(&cells, verdicts)?;
        (0..seen.len())
            .filter(|&row| seen.is_valid(row) && times.is_valid(row) && seen.value(row) < times.value(row))
            .for_each(|row| verdicts.note(row, Reason::ObservedTooEarly, &cells));
        both_or_neither(values, seen)
    }

    /// A score and, where the source says so, who gave it.
    fn score(
        &self,
        field: &Field,
        scale: ScoreScale,
        version: Option<&str>,
        verdicts: &mut Verdicts,
    ) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(logits(&self.column(&field.column)?, scale, verdicts)?)];
        if let Some(version) = version {
            verdicts.column = version.to_owned();
            columns.push(Arc::new(cells::texts(&self.column(version)?, verdicts)?));
        }
        Ok(columns)
    }

    /// The source's column of this name.
    fn column(&self, name: &str) -> Result<ArrayRef> {
        match name {
            "@row" => {
                let ordinal = |&row: &u64| (self.origin.rows_before + row) as i64;
                return Ok(Arc::new(Int64Array::from_iter_values(self.chunk.ordinals.iter().map(ordinal))));
            }
            "@file" => {
                return Ok(Arc::new(Int64Array::from_value(self.origin.ordinal as i64, self.chunk.ordinals.len())));
            }
            _ => {}
        }
        for side in &self.converter.sides {
            if let Some(place) = side.names.iter().position(|own| own == name) {
                return side.lookup(&self.as_read(&side.key), place);
            }
        }
        cells::normalised(&self.as_read(name))
    }

    fn as_read(&self, name: &str) -> ArrayRef {
        let place = self.converter.wanted.iter().position(|want| want.name == name);
        self.chunk.columns[place.expect("every column of the schema is wanted")].clone()
    }
}

/// Columns of the source that a field reads, with what separates the elements of lists.
fn columns_of(field: &Field) -> Vec<(String, Option<String>)> {
    match &field.kind {
        FieldKind::Label { constant, observed_at, .. } => {
            let value = constant.is_none().then(|| field.column.clone());
            value.into_iter().chain(observed_at.clone()).map(|name| (name, None)).collect()
        }
        FieldKind::Ids { separator, .. } | FieldKind::Sequence { separator, .. } => {
            vec![(field.column.clone(), Some(separator.clone()))]
        }
        FieldKind::Score { version, .. } => {
            [Some(field.column.clone()), version.clone()].into_iter().flatten().map(|name| (name, None)).collect()
        }
        _ => vec![(field.column.clone(), None)],
    }
}

fn want(wanted: &mut Vec<Wanted>, name: &str, separator: Option<String>, optional: bool) {
    if name == "@row" || name == "@file" {
        return;
    }
    match wanted.iter_mut().find(|want| want.name == name) {
        Some(known) => known.optional &= optional,
        None => wanted.push(Wanted { name: name.to_owned(), optional, separator }),
    }
}

fn ids(field: &Field, id: IdType, source: &ArrayRef, verdicts: &mut Verdicts) -> Result<ArrayRef> {
    let ids: ArrayRef = match id {
        IdType::Int => Arc::new(cells::integers(source, verdicts)?),
        IdType::Text => Arc::new(cells::texts(source, verdicts)?),
    };
    if is_required_key(field) {
        let reason = if field.role == Role::User { Reason::MissingUser } else { Reason::MissingItem };
        verdicts.refuse_nulls(&ids, reason, source);
    }
    Ok(ids)
}

fn weights(source: &ArrayRef, verdicts: &mut Verdicts) -> Result<Float32Array> {
    let numbers = cells::numbers(source, verdicts)?;
    let weight = |(row, value): (usize, Option<f64>)| {
        let value = value.unwrap_or(1.0);
        if value < 0.0 {
            verdicts.note(row, Reason::NegativeWeight, source);
        }
        value as f32
    };
    Ok(Float32Array::from_iter_values(numbers.iter().enumerate().map(weight).collect::<Vec<_>>()))
}

/// Scores as logits. A probability that was rounded to 0 or 1 is one next to it, of logit -16 or 16.
fn logits(source: &ArrayRef, scale: ScoreScale, verdicts: &mut Verdicts) -> Result<Float32Array> {
    let numbers = cells::numbers(source, verdicts)?;
    let logit = |(row, value): (usize, Option<f64>)| {
        let value = value?;
        if scale == ScoreScale::Logit {
            return Some(value as f32);
        }
        if !(0.0..=1.0).contains(&value) {
            verdicts.note(row, Reason::NotAProbability, source);
        }
        Some((value / (1.0 - value)).ln().clamp(-FARTHEST_LOGIT, FARTHEST_LOGIT) as f32)
    };
    Ok(numbers.iter().enumerate().map(logit).collect())
}

/// Of a probability that cannot be told from 0 or 1 in single precision.
const FARTHEST_LOGIT: f64 = 16.0;

fn periods(source: &ArrayRef, verdicts: &mut Verdicts) -> Result<Int32Array> {
    let integers = cells::integers(source, verdicts)?;
    verdicts.refuse_nulls(&integers, Reason::MissingPeriod, source);
    let period = |(row, value): (usize, Option<i64>)| {
        let narrow = i32::try_from(value.unwrap_or(0));
        narrow.map_err(|_| verdicts.note(row, Reason::NotANumber, source)).unwrap_or(0)
    };
    Ok(Int32Array::from_iter_values(integers.iter().enumerate().map(period).collect::<Vec<_>>()))
}

/// 0 and 1; of a threshold, or as they stand. `true` and `false` are 1 and 0.
fn labels(source: &ArrayRef, at_least: Option<f64>, verdicts: &mut Verdicts) -> Result<Float32Array> {
    let numbers: Float64Array = match source.data_type() {
        DataType::Binary => cells::parse_text(source, verdicts, |cell| match cell {
            [b't' | b'T', rest @ ..] if rest.eq_ignore_ascii_case(b"rue") => Ok(1.0),
            [b'f' | b'F', rest @ ..] if rest.eq_ignore_ascii_case(b"alse") => Ok(0.0),
            _ => cells::parse_number(cell),
        }),
        _ => cells::numbers(source, verdicts)?,
    };
    let label = |(row, value): (usize, Option<f64>)| {
        let value = value?;
        let reason = match at_least {
            Some(_) if !value.is_finite() => Reason::NotFinite,
            None if value != 0.0 && value != 1.0 => Reason::BadLabel,
            _ => return Some(at_least.map_or(value as f32, |least| f32::from(u8::from(value >= least)))),
        };
        verdicts.note(row, reason, source);
        None
    };
    Ok(numbers.iter().enumerate().map(label).collect())
}

/// A label that was never observed has no time, and a label without time was never observed.
fn both_or_neither(values: Float32Array, seen: Times) -> Result<Vec<ArrayRef>> {
    if values.null_count() == 0 && seen.null_count() == 0 {
        return Ok(vec![Arc::new(values), Arc::new(seen)]);
    }
    let lacking: BooleanArray = (0..values.len()).map(|row| Some(values.is_null(row) || seen.is_null(row))).collect();
    Ok(vec![arrow::compute::nullif(&values, &lacking)?, arrow::compute::nullif(&seen, &lacking)?])
}

/// The first thing wrong with each row of a chunk.
pub(crate) struct Verdicts {
    file: Arc<str>,
    /// The column that is being read.
    column: String,
    first: BTreeMap<usize, (Reason, String, String)>,
    /// For elements of lists: the row of each element.
    owners: Option<Vec<usize>>,
}

impl Verdicts {
    pub(super) fn new(file: &Arc<str>) -> Verdicts {
        Verdicts { file: file.clone(), column: String::new(), first: BTreeMap::new(), owners: None }
    }

    /// Notes that the cell of `row` in `cells` is bad.
    pub(super) fn note(&mut self, row: usize, reason: Reason, cells: &ArrayRef) {
        let owner = self.owners.as_ref().map_or(row, |owners| owners[row]);
        let column = &self.column;
        self.first.entry(owner).or_insert_with(|| (reason, column.clone(), cell_text(cells, row)));
    }

    fn refuse_nulls(&mut self, values: &dyn Array, reason: Reason, cells: &ArrayRef) {
        if values.null_count() > 0 {
            (0..values.len()).filter(|&row| values.is_null(row)).for_each(|row| self.note(row, reason, cells));
        }
    }

    /// Verdicts on the elements of lists of these lengths.
    pub(super) fn for_elements(&self, lengths: &[usize]) -> Verdicts {
        let owners = lengths.iter().enumerate().flat_map(|(row, &len)| std::iter::repeat_n(row, len)).collect();
        Verdicts { column: self.column.clone(), owners: Some(owners), ..Verdicts::new(&self.file) }
    }

    /// Adds what was found in elements to the verdicts on their rows.
    pub(super) fn hand_up(self, rows: &mut Verdicts) {
        self.first.into_iter().for_each(|(row, verdict)| {
            rows.first.entry(row).or_insert(verdict);
        });
    }

    /// The error for a column that cannot hold what its field needs.
    pub(super) fn wrong_type(&self, expected: &dyn fmt::Display, got: &dyn fmt::Display) -> Error {
        Error::WrongType {
            file: self.file.to_string(),
            column: self.column.clone(),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    /// All refused rows of the chunk, in order of lines.
    fn into_bad_rows(self, chunk: &Chunk) -> Vec<BadRow> {
        let file = self.file.to_string();
        let mut bad: Vec<BadRow> = Vec::with_capacity(self.first.len() + chunk.refused.len());
        for (row, (reason, column, excerpt)) in self.first {
            let (file, line) = (file.clone(), chunk.lines[row]);
            bad.push(BadRow { file, line, reason, column: Some(column), excerpt });
        }
        for row in &chunk.refused {
            let (file, excerpt) = (file.clone(), row.excerpt.clone());
            bad.push(BadRow { file, line: row.line, reason: row.reason, column: None, excerpt });
        }
        bad.sort_by_key(|row| row.line);
        bad
    }
}

fn cell_text(cells: &ArrayRef, row: usize) -> String {
    match cells.data_type() {
        _ if cells.is_null(row) => String::new(),
        DataType::Binary => excerpt(cells.as_binary::<i32>().value(row)),
        _ => excerpt(array_value_to_string(cells, row).unwrap_or_default().as_bytes()),
    }
}
