//! The session logs of ADER (Mi, Lin and Faltings, RecSys 2020): `period_0.txt`, `period_1.txt`, ...

use super::{Dataset, DatasetOptions, Recipe, find_files, schema};
use crate::error::Result;
use crate::read::{Delimited, Format};
use std::path::Path;

pub(super) const DATASET: Dataset =
    Dataset { name: "ader", about: "ADER's DIGINETICA and YOOCHOOSE (period_*.txt: session item)", recipe };

/// A session stands for its user: its earlier views are the history of the later ones. There are no times; rows are
/// in order within each period, and the ordinal of a row over all files is its second.
const SCHEMA: &str = r#"
name = "ader"
field = [
  { name = "session", kind = "id", role = "user", id = "int" },
  { name = "item", kind = "id", role = "item", id = "int" },
  { name = "when", kind = "timestamp", unit = "s", column = "@row" },
  { name = "period", kind = "period", column = "@file" },
  { name = "view", kind = "label", constant = 1 },
]
"#;

fn recipe(dir: &Path, _: &DatasetOptions) -> Result<Recipe> {
    let sources = find_files(dir, "period_*.txt", |name| name.starts_with("period_"))?;
    let format = Format::Delimited(Delimited::plain(" ", &["session", "item"]));
    Ok(Recipe { schema: schema(SCHEMA), sources, format, sides: Vec::new() })
}
