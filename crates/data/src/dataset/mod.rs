//! Public data sets with a schema of their own: where their files are, what their columns mean.
//!
//! A new one is a file here and a line in [`DATASETS`].

mod ader;
mod avazu;
mod criteo;
mod globo;
mod libfm;
mod movielens;
mod open_bandit;

use crate::error::{Error, Result};
use crate::import::{ImportOptions, SideTable};
use crate::read::{Format, natural};
use perennial_core::Schema;
use std::path::{Path, PathBuf};

/// A public data set.
pub struct Dataset {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is and which files it consists of, in a line.
    pub about: &'static str,
    recipe: fn(&Path, &DatasetOptions) -> Result<Recipe>,
}

/// All data sets that can be imported by name.
pub const DATASETS: &[Dataset] = &[
    movielens::DATASET,
    globo::DATASET,
    criteo::DATASET,
    avazu::DATASET,
    libfm::DATASET,
    open_bandit::DATASET,
    ader::DATASET,
];

/// What a data set leaves open.
#[derive(Debug, Clone, Copy)]
pub struct DatasetOptions {
    /// Ratings of at least this much are positive (MovieLens).
    pub positive_at_least: f64,
    /// Features to a line (libfm).
    pub fields: Option<usize>,
}

impl Default for DatasetOptions {
    /// Ratings of 4 and 5 stars are positive, as is usual in papers on click models.
    fn default() -> Self {
        DatasetOptions { positive_at_least: 4.0, fields: None }
    }
}

/// How to import a data set.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// What the columns are.
    pub schema: Schema,
    /// The files of rows, in order.
    pub sources: Vec<PathBuf>,
    /// Their format.
    pub format: Format,
    /// Attributes to join.
    pub sides: Vec<SideTable>,
}

impl Dataset {
    /// The data set of this name.
    pub fn named(name: &str) -> Result<&'static Dataset> {
        DATASETS.iter().find(|dataset| dataset.name == name).ok_or_else(|| {
            let known: Vec<&str> = DATASETS.iter().map(|dataset| dataset.name).collect();
            Error::Usage(format!("no data set is called \"{name}\"; there are {}", known.join(", ")))
        })
    }

    /// How to import the copy of it that lies in `dir` (for some also: the file `dir`).
    pub fn recipe(&self, dir: &Path, options: &DatasetOptions) -> Result<Recipe> {
        (self.recipe)(dir, options)
    }
}

impl Recipe {
    /// Options that import into the directory `out`, all else at its default.
    pub fn options(self, out: PathBuf) -> ImportOptions {
        let mut options = ImportOptions::new(self.sources, self.schema, out);
        (options.format, options.sides) = (Some(self.format), self.sides);
        options
    }
}

/// A built-in schema.
fn schema(text: &str) -> Schema {
    Schema::parse(text).expect("built-in schemas are correct: a test parses each")
}

/// The file `name` in `dir`, plain or compressed.
fn find_file(dir: &Path, name: &str) -> Option<PathBuf> {
    ["", ".gz", ".zst"].iter().map(|end| dir.join(format!("{name}{end}"))).find(|path| path.is_file())
}

/// The files in `dir` whose name passes `test`, in natural order; an error if there is none. A file stands for
/// itself.
fn find_files(dir: &Path, expected: &str, test: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    if dir.is_file() {
        return Ok(vec![dir.to_owned()]);
    }
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let entries = std::fs::read_dir(dir).map_err(Error::io(dir))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut found: Vec<PathBuf> = paths.map_err(Error::io(dir))?;
    found.retain(|path| path.is_file() && test(&name(path)));
    if found.is_empty() {
        return Err(not_there(dir, expected));
    }
    found.sort_by(|a, b| natural(&name(a), &name(b)));
    Ok(found)
}

fn not_there(dir: &Path, expected: &str) -> Error {
    Error::NoSources(format!("{}: expected {expected}; is this the right directory?", dir.display()))
}
