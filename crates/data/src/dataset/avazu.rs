//! Avazu click-through rate (Kaggle, 2014): 21 categories, time by the hour.

use super::{Dataset, DatasetOptions, Recipe, find_files, schema};
use crate::error::Result;
use crate::read::{Delimited, Format};
use std::path::Path;

pub(super) const DATASET: Dataset =
    Dataset { name: "avazu", about: "Avazu click-through rate (train*, a CSV file with a header)", recipe };

/// Columns of categories, with their names here.
const CATEGORIES: [(&str, &str); 21] = [
    ("C1", "c1"),
    ("banner_pos", "banner_pos"),
    ("site_id", "site_id"),
    ("site_domain", "site_domain"),
    ("site_category", "site_category"),
    ("app_id", "app_id"),
    ("app_domain", "app_domain"),
    ("app_category", "app_category"),
    ("device_id", "device_id"),
    ("device_ip", "device_ip"),
    ("device_model", "device_model"),
    ("device_type", "device_type"),
    ("device_conn_type", "device_conn_type"),
    ("C14", "c14"),
    ("C15", "c15"),
    ("C16", "c16"),
    ("C17", "c17"),
    ("C18", "c18"),
    ("C19", "c19"),
    ("C20", "c20"),
    ("C21", "c21"),
];

fn recipe(dir: &Path, _: &DatasetOptions) -> Result<Recipe> {
    let sources = find_files(dir, "train*", |name| name.starts_with("train"))?;
    let mut text = r#"name = "avazu"
        [[field]]
        name = "event_id"
        kind = "event_id"
        column = "id"
        [[field]]
        name = "hour"
        kind = "timestamp"
        format = "%y%m%d%H"
        [[field]]
        name = "click"
        kind = "label"
        "#
    .to_owned();
    for (column, name) in CATEGORIES {
        text.push_str(&format!("[[field]]\nname = \"{name}\"\nkind = \"id\"\ncolumn = \"{column}\"\n"));
    }
    let format = Format::Delimited(Delimited::csv());
    Ok(Recipe { schema: schema(&text), sources, format, sides: Vec::new() })
}
