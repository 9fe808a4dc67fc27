//! Criteo display advertising: a label, 13 integers and 26 hashed categories, tab separated, without header.

use super::{Dataset, DatasetOptions, Recipe, find_files, schema};
use crate::error::Result;
use crate::read::{Delimited, Format};
use std::path::Path;

pub(super) const DATASET: Dataset =
    Dataset { name: "criteo", about: "Criteo display advertising (train*.txt, train*.tsv or day_*)", recipe };

/// Rows are in order of time but carry none, so that the ordinal of a row is its second.
fn recipe(dir: &Path, _: &DatasetOptions) -> Result<Recipe> {
    let expected = "train*.txt, train*.tsv or day_*";
    let sources = find_files(dir, expected, |name| name.starts_with("train") || name.starts_with("day_"))?;
    let numbers: Vec<String> = (1..=13).map(|i| format!("i{i}")).collect();
    let categories: Vec<String> = (1..=26).map(|i| format!("c{i}")).collect();
    let mut text = r#"name = "criteo"
        [[field]]
        name = "when"
        kind = "timestamp"
        unit = "s"
        column = "@row"
        [[field]]
        name = "click"
        kind = "label"
        "#
    .to_owned();
    numbers.iter().for_each(|name| text.push_str(&format!("[[field]]\nname = \"{name}\"\nkind = \"numeric\"\n")));
    categories.iter().for_each(|name| text.push_str(&format!("[[field]]\nname = \"{name}\"\nkind = \"id\"\n")));
    let columns: Vec<&str> =
        std::iter::once("click").chain(numbers.iter().chain(&categories).map(String::as_str)).collect();
    let format = Format::Delimited(Delimited::plain("\t", &columns));
    Ok(Recipe { schema: schema(&text), sources, format, sides: Vec::new() })
}
