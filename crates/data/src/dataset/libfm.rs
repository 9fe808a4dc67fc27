//! One-hot features in libfm or libsvm format, a fixed number to a line.
//!
//! Such files do not say where one field's features end and the next one's begin; what is known is that the i-th
//! feature of every line belongs to field i.

use super::{Dataset, DatasetOptions, Recipe, find_files, schema};
use crate::error::{Error, Result};
use crate::read::Format;
use std::path::Path;

pub(super) const DATASET: Dataset = Dataset {
    name: "libfm",
    about: "libfm or libsvm files with a given number of one-hot fields; labels -1/1 or 0/1",
    recipe,
};

fn recipe(dir: &Path, options: &DatasetOptions) -> Result<Recipe> {
    let fields = options.fields.filter(|&fields| fields > 0).ok_or_else(|| {
        Error::Usage("libfm: say how many features a line has (--fields N); every line must have as many".into())
    })?;
    let known = [".libfm", ".libsvm", ".svm"];
    let sources = find_files(dir, "*.libfm, *.libsvm or *.svm", |name| known.iter().any(|end| name.contains(end)))?;
    let mut text = r#"name = "libfm"
        [[field]]
        name = "when"
        kind = "timestamp"
        unit = "s"
        column = "@row"
        [[field]]
        name = "label"
        kind = "label"
        at_least = 0.5
        "#
    .to_owned();
    for field in 0..fields {
        text.push_str(&format!("[[field]]\nname = \"f{field}\"\nkind = \"id\"\nid = \"int\"\n"));
    }
    Ok(Recipe { schema: schema(&text), sources, format: Format::Svm, sides: Vec::new() })
}
