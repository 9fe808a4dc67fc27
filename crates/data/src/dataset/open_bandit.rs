//! Open Bandit (Saito et al., NeurIPS 2021): impressions of fashion items with the probability of having shown them.

use super::{Dataset, DatasetOptions, Recipe, find_file, find_files, schema};
use crate::error::{Error, Result};
use crate::import::SideTable;
use crate::read::{Delimited, Format};
use std::path::Path;

pub(super) const DATASET: Dataset = Dataset {
    name: "open-bandit",
    about: "one campaign of Open Bandit (men.csv, women.csv or all.csv, with item_context.csv beside it)",
    recipe,
};

/// The propensity belongs to the request, so that no model takes it for an input.
const SCHEMA: &str = r#"
name = "open-bandit"
field = [
  { name = "item", kind = "id", role = "item", key = true, id = "int", column = "item_id" },
  { name = "when", kind = "timestamp", format = "%Y-%m-%d %H:%M:%S%.f%:z", column = "timestamp" },
  { name = "click", kind = "label" },
  { name = "propensity", kind = "numeric", role = "request", column = "propensity_score" },
  { name = "position", kind = "id", id = "int" },
  { name = "user_0", kind = "id", column = "user_feature_0" },
  { name = "user_1", kind = "id", column = "user_feature_1" },
  { name = "user_2", kind = "id", column = "user_feature_2" },
  { name = "user_3", kind = "id", column = "user_feature_3" },
  { name = "item_0", kind = "numeric", role = "item", column = "item_feature_0" },
  { name = "item_1", kind = "id", role = "item", column = "item_feature_1" },
  { name = "item_2", kind = "id", role = "item", column = "item_feature_2" },
  { name = "item_3", kind = "id", role = "item", column = "item_feature_3" },
]
"#;

const CAMPAIGNS: [&str; 3] = ["women.csv", "men.csv", "all.csv"]; // "women" ends in "men": it comes first

fn recipe(dir: &Path, _: &DatasetOptions) -> Result<Recipe> {
    let end_of = |name: &str| CAMPAIGNS.into_iter().find(|end| name.contains(end));
    let sources = find_files(dir, "men.csv, women.csv or all.csv", |name| end_of(name).is_some())?;
    let [log] = sources.as_slice() else {
        let problem = "holds several campaigns or policies, whose items differ; name the file of one";
        return Err(Error::Usage(format!("{}: {problem}", dir.display())));
    };
    let csv = Format::Delimited(Delimited::csv());
    let name = log.file_name().unwrap_or_default().to_string_lossy();
    let prefix = end_of(&name).and_then(|end| name.split(end).next()).unwrap_or_default();
    let beside = log.parent().unwrap_or(Path::new(""));
    let context = format!("{prefix}item_context.csv");
    let context = find_file(beside, &context).ok_or_else(|| super::not_there(beside, &context))?;
    let names = ["item_feature_0", "item_feature_1", "item_feature_2", "item_feature_3"].map(|name| (name, name));
    let items = SideTable::read(&context, &csv, "item_id", "item_id", &names)?;
    Ok(Recipe { schema: schema(SCHEMA), sources, format: csv, sides: vec![items] })
}
