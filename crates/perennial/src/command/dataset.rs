//! Options of public data sets, as `import` and `schema show` take them.

use anyhow::{Result, anyhow, bail};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use perennial_data::dataset::{DATASETS, Dataset, DatasetOptions};

/// What a data set leaves open.
#[derive(Debug, Args)]
pub(super) struct DatasetArguments {
    /// Features to a line (libfm)
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    fields: Option<usize>,
    /// Ratings of at least this much are positive (movielens) [default: 4]
    #[arg(long, value_parser = parse_finite, allow_negative_numbers = true)]
    positive_at_least: Option<f64>,
}

/// Option and the data set that has a use for it.
const FIELDS: (&str, &str) = ("--fields", "libfm");
const POSITIVE_AT_LEAST: (&str, &str) = ("--positive-at-least", "movielens");

impl DatasetArguments {
    /// Options for the data set of this name; `None` is a log with a schema of its own. Refuses what would be ignored.
    pub(super) fn options(&self, dataset: Option<&str>) -> Result<DatasetOptions> {
        let given = [(FIELDS, self.fields.is_some()), (POSITIVE_AT_LEAST, self.positive_at_least.is_some())];
        for ((option, user), _) in given.iter().filter(|(_, given)| *given) {
            match dataset {
                Some(name) if name == *user => {}
                Some(name) => bail!("{option} is for --dataset {user}; \"{name}\" has no use for it"),
                None => bail!("{option} is for --dataset {user}; a log with a schema of its own has no use for it"),
            }
        }
        let default = DatasetOptions::default();
        let positive_at_least = self.positive_at_least.unwrap_or(default.positive_at_least);
        Ok(DatasetOptions { positive_at_least, fields: self.fields })
    }
}

/// The data set of this name, or what it may have been meant to be.
pub(super) fn named(name: &str) -> Result<&'static Dataset> {
    Dataset::named(name).map_err(|error| {
        let near = crate::suggest::nearest(name, DATASETS.iter().map(|dataset| dataset.name));
        let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
        anyhow!("{error}{hint}")
    })
}

fn parse_finite(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("expected a finite number such as 4, got \"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_without_use_is_refused_with_the_set_that_has_one() {
        for (_, user) in [FIELDS, POSITIVE_AT_LEAST] {
            Dataset::named(user).unwrap();
        }
        let both = DatasetArguments { fields: Some(10), positive_at_least: None };
        assert_eq!(both.options(Some("libfm")).unwrap().fields, Some(10));
        let error = both.options(Some("criteo")).unwrap_err().to_string();
        assert!(error.contains("--dataset libfm") && error.contains("criteo"), "{error}");
        assert!(both.options(None).is_err());
        let rating = DatasetArguments { fields: None, positive_at_least: Some(3.0) };
        assert_eq!(rating.options(Some("movielens")).unwrap().positive_at_least, 3.0);
        assert!(rating.options(Some("libfm")).is_err());
    }

    #[test]
    fn numbers_are_finite() {
        assert_eq!(parse_finite("3.5"), Ok(3.5));
        for text in ["NaN", "inf", "-inf", "four", ""] {
            assert!(parse_finite(text).is_err(), "{text}");
        }
    }
}
