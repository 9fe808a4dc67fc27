//! Globo.com news clicks (de Souza Pereira Moreira et al., 2018): `clicks_hour_*.csv`.

use super::{Dataset, DatasetOptions, Recipe, find_files, schema};
use crate::error::Result;
use crate::read::{Delimited, Format};
use std::path::Path;

pub(super) const DATASET: Dataset =
    Dataset { name: "globo", about: "Globo.com news clicks (clicks_hour_*.csv, plain or compressed)", recipe };

/// Clicks only, so the label is constant. `session_size` is left out: it counts clicks that are still to come.
const SCHEMA: &str = r#"
name = "globo"
field = [
  { name = "user", kind = "id", role = "user", id = "int", column = "user_id" },
  { name = "session", kind = "id", role = "request", id = "int", column = "session_id" },
  { name = "article", kind = "id", role = "item", id = "int", column = "click_article_id" },
  { name = "when", kind = "timestamp", unit = "ms", column = "click_timestamp" },
  { name = "environment", kind = "id", id = "int", column = "click_environment" },
  { name = "device", kind = "id", id = "int", column = "click_deviceGroup" },
  { name = "os", kind = "id", id = "int", column = "click_os" },
  { name = "country", kind = "id", id = "int", column = "click_country" },
  { name = "region", kind = "id", id = "int", column = "click_region" },
  { name = "referrer", kind = "id", id = "int", column = "click_referrer_type" },
  { name = "click", kind = "label", constant = 1 },
]
"#;

fn recipe(dir: &Path, _: &DatasetOptions) -> Result<Recipe> {
    let sources = find_files(dir, "clicks_hour_*.csv", |name| name.starts_with("clicks_hour_"))?;
    let format = Format::Delimited(Delimited::csv());
    Ok(Recipe { schema: schema(SCHEMA), sources, format, sides: Vec::new() })
}
