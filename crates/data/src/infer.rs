//! Proposing a schema from a sample of a file.
//!
//! A proposal is a start for a person, not a decision: every field comes with the reason for what it was taken for.

use crate::error::{Error, Result};
use crate::import::parse_time;
use crate::read::{Chunk, Format, ReadOptions, Wanted};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use hashbrown::HashSet;
use jiff::tz::TimeZone;
use perennial_core::Schema;
use std::fmt::Write;
use std::path::Path;

/// A proposed schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Inferred {
    /// The schema.
    pub schema: Schema,
    /// The schema as TOML, with the reason for each field above it.
    pub toml: String,
}

/// Rows to look at, about.
const SAMPLE: usize = 20_000;

/// Proposes a schema for logs like `file` from its first rows; `format` is guessed from the name if not given.
pub fn infer(file: &Path, format: Option<&Format>) -> Result<Inferred> {
    let guessed = Format::guess(file);
    let format = format
        .or(guessed.as_ref())
        .ok_or_else(|| Error::Usage(format!("{}: its name does not tell its format; say --format", file.display())))?;
    let mut columns: Vec<Profile> = format.column_names(file)?.into_iter().map(Profile::named).collect();
    sample(file, format, &mut columns)?;
    if columns.iter().all(|column| column.values == 0) {
        return Err(Error::NoSources(format!("{}: no rows to infer a schema from", file.display())));
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let toml = propose(name.split('.').next().unwrap_or("log"), &columns);
    let schema = Schema::parse(&toml);
    Ok(Inferred { schema: schema.map_err(|source| Error::Schema { file: file.to_owned(), source })?, toml })
}

/// What the sample says of a column.
struct Profile {
    name: String,
    rows: usize,
    /// Rows that hold something.
    values: usize,
    integers: usize,
    numbers: usize,
    with_bar: usize,
    largest: f64,
    smallest: f64,
    /// Different values, as far as they are counted.
    distinct: HashSet<String>,
    is_list: bool,
    is_time: bool,
    /// Formats that every value so far was written in.
    formats: Vec<&'static str>,
}

/// Different values beyond which counting stops.
const DISTINCT: usize = 1000;

const FORMATS: [&str; 6] = [
    "%Y-%m-%d %H:%M:%S%.f%:z",
    "%Y-%m-%dT%H:%M:%S%.f%:z",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%d",
];

fn sample(file: &Path, format: &Format, columns: &mut [Profile]) -> Result<()> {
    let want = |column: &Profile| Wanted { name: column.name.clone(), optional: true, separator: None };
    let wanted: Vec<Wanted> = columns.iter().map(want).collect();
    let mut reader = format.open(file, &wanted, &ReadOptions::default())?;
    let mut rows = 0;
    while rows < SAMPLE
        && let Some(Chunk { columns: arrays, ordinals, .. }) = reader.next_chunk()?
    {
        rows += ordinals.len();
        columns.iter_mut().zip(&arrays).try_for_each(|(column, array)| column.add(array))?;
    }
    Ok(())
}

impl Profile {
    fn named(name: String) -> Profile {
        Profile {
            name,
            rows: 0,
            values: 0,
            integers: 0,
            numbers: 0,
            with_bar: 0,
            largest: f64::NEG_INFINITY,
            smallest: f64::INFINITY,
            distinct: HashSet::new(),
            is_list: false,
            is_time: false,
            formats: FORMATS.to_vec(),
        }
    }

    fn add(&mut self, array: &ArrayRef) -> Result<()> {
        self.rows += array.len();
        match array.data_type() {
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                (self.is_list, self.values) = (true, self.values + array.len());
            }
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
                (self.is_time, self.values) = (true, self.values + array.len());
            }
            DataType::Null | DataType::Struct(_) | DataType::Map(..) => {}
            DataType::Binary => {
                array.as_binary::<i32>().iter().flatten().for_each(|cell| self.see(&String::from_utf8_lossy(cell)));
            }
            _ => cast(array, &DataType::Utf8)?.as_string::<i32>().iter().flatten().for_each(|cell| self.see(cell)),
        }
        Ok(())
    }

    fn see(&mut self, cell: &str) {
        let cell = cell.trim();
        if cell.is_empty() {
            return;
        }
        self.values += 1;
        self.integers += usize::from(cell.parse::<i64>().is_ok());
        self.with_bar += usize::from(cell.contains('|'));
        self.is_list |= cell.starts_with('[') && cell.ends_with(']');
        if let Ok(number) = cell.parse::<f64>() {
            self.numbers += 1;
            self.largest = self.largest.max(number);
            self.smallest = self.smallest.min(number);
        }
        if self.distinct.len() < DISTINCT {
            self.distinct.insert(cell.to_owned());
        }
        self.formats.retain(|format| parse_time(cell.as_bytes(), format, &TimeZone::UTC).is_some());
    }

    fn is_integer(&self) -> bool {
        self.values > 0 && self.integers == self.values
    }

    fn is_number(&self) -> bool {
        self.values > 0 && self.numbers == self.values
    }

    /// Whether all values are 0 or 1 (also -1 or false and true), and both occur.
    fn is_binary(&self) -> bool {
        let low = |value: &str| matches!(value, "0" | "0.0" | "-1" | "false" | "False");
        let high = |value: &str| matches!(value, "1" | "1.0" | "true" | "True");
        self.distinct.len() == 2 && self.distinct.iter().any(|v| low(v)) && self.distinct.iter().any(|v| high(v))
    }

    /// Whether it sounds like the probability that a model gave.
    fn is_answer(&self) -> bool {
        let fractions = self.is_number() && !self.is_integer() && self.smallest >= 0.0 && self.largest <= 1.0;
        fractions && self.has_word(&ANSWERS)
    }

    /// Whether one of `words` is a word of the name: `click_article_id` has the words click, article and id.
    fn has_word(&self, words: &[&str]) -> bool {
        let name = split_camel_case(&self.name);
        name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| words.contains(&word))
    }

    /// How the time is written, and why it is thought to be one.
    fn time(&self) -> Option<(String, String)> {
        if self.is_list {
            return None;
        }
        if self.is_time {
            return Some(("unit = \"us\"".to_owned(), "a column of times, which knows its own unit".to_owned()));
        }
        if self.is_number() {
            // 1973 in the unit at hand: smaller numbers are counts, or hours, or anything.
            let units = [(1e17, "ns"), (1e14, "us"), (1e11, "ms"), (1e8, "s")];
            let (_, unit) = units.into_iter().find(|(least, _)| self.smallest >= *least)?;
            let named = self.has_word(&["time", "timestamp", "t", "ts", "date", "when", "at"]);
            return named.then(|| {
                (format!("unit = \"{unit}\""), format!("values from {:.0} are times in this unit", self.smallest))
            });
        }
        let format = self.formats.first().filter(|_| self.values > 0)?;
        Some((format!("format = \"{format}\""), "every value is written like this".to_owned()))
    }
}

/// `userId` becomes `user_id`.
fn split_camel_case(name: &str) -> String {
    let mut split = String::new();
    let mut after_small = false;
    for c in name.chars() {
        if c.is_uppercase() && after_small {
            split.push('_');
        }
        after_small = c.is_lowercase() || c.is_ascii_digit();
        split.extend(c.to_lowercase());
    }
    split
}

const USERS: [&str; 8] = ["user", "uid", "visitor", "customer", "member", "household", "viewer", "person"];
const ITEMS: [&str; 11] =
    ["item", "iid", "movie", "article", "product", "video", "news", "song", "track", "book", "sku"];
const SESSIONS: [&str; 3] = ["session", "request", "impression"];
const LABELS: [&str; 12] = [
    "label",
    "click",
    "clicked",
    "target",
    "y",
    "like",
    "liked",
    "rating",
    "purchase",
    "conversion",
    "converted",
    "stars",
];
const QUANTITIES: [&str; 12] =
    ["price", "amount", "count", "score", "duration", "size", "length", "age", "value", "num", "total", "ratio"];

/// What a model's answer is called. A bare "score" may be anything.
const ANSWERS: [&str; 8] = ["pctr", "pcvr", "pclick", "prediction", "predicted", "pred", "predictions", "probability"];

/// Writes the schema field by field: time and label first, then the columns in order.
fn propose(name: &str, columns: &[Profile]) -> String {
    let mut text = format!("# Proposed from a sample of {} rows. Check every field.\n", columns[0].rows);
    let _ = writeln!(text, "name = {:?}", field_name(name, &[]));
    let time = columns.iter().position(|column| column.time().is_some());
    let label = find_label(columns, time);
    let find = |words: &[&str]| {
        let fits = |(at, column): &(usize, &Profile)| {
            Some(*at) != time && Some(*at) != label && column.has_word(words) && may_be_key(column)
        };
        let named = columns.iter().enumerate().filter(fits).map(|(at, _)| at);
        named.min_by_key(|&at| !columns[at].has_word(&["id", "uid", "iid"]))
    };
    let score = columns.iter().position(Profile::is_answer);
    let keys = [("user", find(&USERS)), ("item", find(&ITEMS)), ("request", find(&SESSIONS))];
    let mut names = Vec::new();
    match time.map(|at| (&columns[at], columns[at].time())) {
        Some((column, Some((how, why)))) => write_field(&mut text, &mut names, column, "timestamp", &how, &why),
        _ => text.push_str(
            "\n# No column looks like a time: rows are taken to be in order, a second apart.\n\
             [[field]]\nname = \"when\"\nkind = \"timestamp\"\nunit = \"s\"\ncolumn = \"@row\"\n",
        ),
    }
    match label.map(|at| &columns[at]) {
        Some(column) if column.is_binary() && !column.distinct.contains("-1") => {
            write_field(&mut text, &mut names, column, "label", "", "its values are 0 and 1");
        }
        Some(column) => {
            let least = if column.distinct.contains("-1") { 0.5 } else { (column.largest * 0.8).round() };
            let why = format!("values from {} to {}: choose what counts as positive", column.smallest, column.largest);
            write_field(&mut text, &mut names, column, "label", &format!("at_least = {least:?}"), &why);
        }
        None => text.push_str(
            "\n# No column looks like a label: every row is taken to be a positive event.\n\
             [[field]]\nname = \"positive\"\nkind = \"label\"\nconstant = 1\n",
        ),
    }
    for (at, column) in columns.iter().enumerate().filter(|(at, _)| Some(*at) != time && Some(*at) != label) {
        if Some(at) == score {
            let why = "its name sounds like what a model answered, and its values are probabilities: no input of another model";
            write_field(&mut text, &mut names, column, "score", "", why);
            continue;
        }
        let key = keys.iter().find(|(_, key)| *key == Some(at)).map(|(role, _)| *role);
        propose_field(&mut text, &mut names, column, key, &keys);
    }
    text
}

fn find_label(columns: &[Profile], time: Option<usize>) -> Option<usize> {
    let free = || columns.iter().enumerate().filter(move |(at, _)| Some(*at) != time);
    let named = free().find(|(_, column)| column.has_word(&LABELS) && (column.is_binary()));
    let graded = || {
        free().find(|(_, column)| {
            column.has_word(&["rating", "stars", "label", "target"])
                && column.is_number()
                && column.distinct.len() < 100
        })
    };
    let binary = || free().find(|(_, column)| column.is_binary());
    named.or_else(graded).or_else(binary).map(|(at, _)| at)
}

/// A key is there in every row, and is no fraction.
fn may_be_key(column: &Profile) -> bool {
    column.values == column.rows && !column.is_list && (column.is_integer() || !column.is_number())
}

fn propose_field(
    text: &mut String,
    names: &mut Vec<String>,
    column: &Profile,
    key: Option<&str>,
    keys: &[(&str, Option<usize>); 3],
) {
    if column.name.is_empty() || column.values == 0 {
        let _ = writeln!(text, "\n# Column {:?} is left out: it has no name or no values.", column.name);
        return;
    }
    let id = if column.is_integer() { "id = \"int\"" } else { "id = \"text\"" };
    if let Some(role) = key {
        let why = format!("its name sounds like the key of the {role}, and it is never missing");
        return write_field(text, names, column, "id", &format!("role = \"{role}\"\nkey = true\n{id}"), &why);
    }
    let known = |role: &str| keys.iter().any(|(name, key)| *name == role && key.is_some());
    let role = match () {
        () if column.has_word(&USERS) && known("user") => "user",
        () if column.has_word(&ITEMS) && known("item") => "item",
        () => "context",
    };
    let distinct = column.distinct.len();
    let many = if distinct >= DISTINCT { "many".to_owned() } else { distinct.to_string() };
    let (kind, why) = match () {
        () if column.is_list => ("ids", "its values are lists".to_owned()),
        () if column.with_bar * 5 > column.values => ("ids", "many values hold several parts between |".to_owned()),
        () if column.is_number() && !column.is_integer() => ("numeric", "its values are decimal numbers".to_owned()),
        () if column.is_integer() && column.has_word(&QUANTITIES) => {
            ("numeric", "its name sounds like a quantity".into())
        }
        () => ("id", format!("{many} different values in the sample")),
    };
    let how = match kind {
        "numeric" => format!("role = \"{role}\""),
        "ids" => format!("role = \"{role}\"\nid = \"text\""),
        _ => format!("role = \"{role}\"\n{id}"),
    };
    write_field(text, names, column, kind, &how, &why);
}

fn write_field(text: &mut String, names: &mut Vec<String>, column: &Profile, kind: &str, how: &str, why: &str) {
    let name = field_name(&column.name, names);
    let _ = write!(text, "\n# {why}\n[[field]]\nname = \"{name}\"\nkind = \"{kind}\"\n");
    if name != column.name {
        let _ = writeln!(text, "column = {:?}", column.name);
    }
    if !how.is_empty() {
        let _ = writeln!(text, "{how}");
    }
    names.push(name);
}

/// A name that a field may have and that is not taken.
fn field_name(column: &str, taken: &[String]) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let mut name: String = split_camel_case(column).chars().map(fits).collect();
    if name.is_empty() || perennial_core::schema::RESERVED_NAMES.contains(&name.as_str()) {
        name.push_str("_of_source");
    }
    while taken.contains(&name) {
        name.push('_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::{FieldKind, Role, TimeFormat, TimeUnit};

    fn infer_from(name: &str, text: &str) -> Inferred {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        infer(&file, None).unwrap()
    }

    #[test]
    fn the_usual_names_are_understood() {
        let found = infer_from(
            "clicks.csv",
            "userId,movieId,clicked,timestamp,price,genres,os\n\
             1,10,0,1506826828020,1.5,a|b,x\n2,11,1,1506826828021,2,b|c,y\n",
        );
        let schema = &found.schema;
        assert_eq!(schema.key_of(Role::User).unwrap().column, "userId");
        assert_eq!(schema.key_of(Role::Item).unwrap().name, "movie_id");
        assert_eq!(schema.labels().next().unwrap().name, "clicked");
        let FieldKind::Timestamp { format, .. } = &schema.timestamp().kind else { panic!() };
        assert_eq!(*format, TimeFormat::Since1970(TimeUnit::Millisecond));
        assert_eq!(schema.field("price").unwrap().kind, FieldKind::Numeric);
        assert!(matches!(schema.field("genres").unwrap().kind, FieldKind::Ids { .. }));
        assert!(found.toml.contains("# its values are 0 and 1"), "{}", found.toml);
    }

    /// A model that takes another's answer for an input learns nothing of its own.
    #[test]
    fn what_a_model_answered_is_no_input() {
        let found =
            infer_from("s.csv", "user,item,click,pctr,predictedLoad,score\n1,2,0,0.25,7.5,0.5\n1,3,1,0.5,1.5,0.1\n");
        assert_eq!(found.schema.score().unwrap().name, "pctr");
        for field in ["predicted_load", "score"] {
            assert_eq!(found.schema.field(field).unwrap().kind, FieldKind::Numeric, "{field}");
        }
    }

    #[test]
    fn ratings_texts_and_absences_have_answers() {
        let rated =
            infer_from("r.csv", "visitor,sku,rating,date\na,b,5,2024-01-02 03:04:05\nc,d,2,2024-01-02 03:04:06\n");
        let FieldKind::Label { at_least, .. } = rated.schema.labels().next().unwrap().kind else { panic!() };
        assert_eq!(at_least, Some(4.0));
        let FieldKind::Timestamp { format, .. } = &rated.schema.timestamp().kind else { panic!() };
        assert_eq!(*format, TimeFormat::Text("%Y-%m-%d %H:%M:%S%.f".to_owned()));
        let bare = infer_from("x.jsonl", "{\"session\": 3, \"item\": \"a\", \"tags\": [1, 2]}\n");
        assert_eq!(bare.schema.timestamp().column, "@row");
        assert!(matches!(bare.schema.labels().next().unwrap().kind, FieldKind::Label { constant: Some(1.0), .. }));
        assert!(matches!(bare.schema.field("tags").unwrap().kind, FieldKind::Ids { .. }));
    }
}
