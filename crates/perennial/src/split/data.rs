//! From files to the three parts of a split.

use super::{SplitEvent, SplitExperiment, SplitOptions, SplitPart, Stretch};
use crate::run::users_of;
use anyhow::{Context, Result, bail};
use perennial_core::{Digest, DigestBuilder, Examples, Schema};
use perennial_data::read::find_sources;
use perennial_data::{ImportOptions, Log, import};
use perennial_eval::SplitRows;
use perennial_learn::{LearnError, StaticSplit};
use perennial_stream::{Cache, PrepareConfig, SeenPeriod, Slicing, prepare};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// What a split holds.
pub(super) struct Data {
    pub(super) schema: Schema,
    train: SeenPeriod,
    valid: Arc<Examples>,
    /// `None` where it is held back.
    test: Option<Arc<Examples>>,
    /// What the training files say of items, in the form of a history state.
    pub(super) histories: Vec<u8>,
    /// Over all of it.
    pub(super) digest: Digest,
}

/// A part before it becomes one for training.
struct Loaded {
    examples: Arc<Examples>,
    /// Of all that its files hold.
    digest: Digest,
    rows: Range<u64>,
    histories: Vec<u8>,
}

impl Data {
    /// Reads the files, or finds in the folder what they hold.
    pub(super) fn load(experiment: &SplitExperiment, options: &SplitOptions<'_>) -> Result<Data> {
        let path = &experiment.schema;
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let schema = Schema::parse(&text).with_context(|| format!("in {}", path.display()))?;
        let load = |name: &str, part: &SplitPart| {
            load(part, &schema, experiment, options).with_context(|| format!("in the examples of \"{name}\""))
        };
        let mut parts =
            vec![("train", load("train", &experiment.train)?), ("valid", load("valid", &experiment.valid)?)];
        if !options.hold_test_back {
            parts.push(("test", load("test", &experiment.test)?));
        }
        refuse_overlap(&parts)?;
        let mut digest = DigestBuilder::new("split");
        for (_, part) in &parts {
            digest.digest(&part.digest).u64(part.rows.start).u64(part.rows.end);
        }
        let mut parts = parts.into_iter().map(|(_, part)| part);
        let (Some(train), Some(valid)) = (parts.next(), parts.next()) else { unreachable!("both were loaded") };
        let test = parts.next().map(|test| test.examples);
        let train_histories = train.histories;
        let train = SeenPeriod::static_split(vec![train.examples]);
        if train.rows() == 0 {
            bail!("no example of \"train\" has a label");
        }
        Ok(Data { schema, train, valid: valid.examples, test, histories: train_histories, digest: digest.finish() })
    }

    pub(super) fn split(&self) -> StaticSplit<'_> {
        StaticSplit { train: &self.train, valid: &self.valid, test: self.test.as_deref() }
    }

    pub(super) fn rows(&self) -> SplitRows {
        let rows = |examples: &Examples| examples.len() as u64;
        SplitRows {
            train: self.train.rows() as u64,
            valid: rows(&self.valid),
            test: self.test.as_deref().map_or(0, rows),
        }
    }
}

/// The same rows in two parts would make one the judge of itself.
fn refuse_overlap(parts: &[(&str, Loaded)]) -> Result<()> {
    for (nth, (name, part)) in parts.iter().enumerate() {
        for (other_name, other) in &parts[..nth] {
            let common = part.rows.start.max(other.rows.start)..part.rows.end.min(other.rows.end);
            if part.digest == other.digest && !common.is_empty() {
                let common = common.end - common.start;
                bail!("\"{other_name}\" and \"{name}\" have {common} rows in common: the same rows of the same files");
            }
        }
    }
    Ok(())
}

fn load(part: &SplitPart, schema: &Schema, experiment: &SplitExperiment, options: &SplitOptions<'_>) -> Result<Loaded> {
    let data = options.data.clone().unwrap_or_else(|| options.out.join("data"));
    let folder = data.join(content(part, schema)?.to_string());
    let log = canonical(part, schema, &folder, options)?;
    let config = PrepareConfig { history: 0, label: experiment.label.clone(), ..PrepareConfig::new(Slicing::Count(1)) };
    let cache = Cache { folder: folder.join("prepared"), disk: options.disk.clone() };
    let prepared = prepare(&log, &config, &cache, &mut |_| !options.watch.stop())?;
    let all = prepared.load(0)?;
    let rows = stretch(part.rows, all.len() as u64)?;
    let mut examples = match rows == (0..all.len() as u64) {
        true => Arc::unwrap_or_clone(all),
        false => all.select(&(rows.start as u32..rows.end as u32).collect::<Vec<_>>()),
    };
    examples.user = users_of(schema, &examples.user).into_owned();
    let (digest, histories) = (prepared.digest(0)?, prepared.state(0)?);
    Ok(Loaded { examples: Arc::new(examples), digest, rows, histories })
}

/// The rows that are wanted of this many.
fn stretch(wanted: Option<Stretch>, rows: u64) -> Result<Range<u64>> {
    let enough = |count: u64| match count <= rows {
        true => Ok(count),
        false => bail!("{count} rows are wanted, but the files hold {rows}"),
    };
    Ok(match wanted {
        None => 0..rows,
        Some(Stretch::First(count)) => 0..enough(count)?,
        Some(Stretch::Last(count)) => rows - enough(count)?..rows,
    })
}

/// The files as a canonical log, which is found where it was made before.
fn canonical(part: &SplitPart, schema: &Schema, folder: &std::path::Path, options: &SplitOptions<'_>) -> Result<Log> {
    let place = folder.join("log");
    if let Ok(log) = Log::open(&place) {
        return Ok(log);
    }
    options.disk.create_folder(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut import_options = ImportOptions::new(part.files.clone(), schema.clone(), place.clone());
    import_options.disk = options.disk.clone();
    import_options.partition.replace = true;
    let file = part.files.first().map(PathBuf::as_path).unwrap_or(folder);
    import(&import_options, &|progress| {
        options.watch.tell(SplitEvent::Reading { file, bytes: progress.bytes, of: progress.total_bytes });
    })?;
    if options.watch.stop() {
        bail!(LearnError::Stopped);
    }
    Ok(Log::open(&place)?)
}

/// Digest of the files and rows that are trained on and validated by, without reading them as examples; the test files
/// are left alone.
pub(crate) fn held_back_digest(experiment: &SplitExperiment) -> Result<Digest> {
    let path = &experiment.schema;
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let schema = Schema::parse(&text).with_context(|| format!("in {}", path.display()))?;
    let mut digest = DigestBuilder::new("held back");
    for part in [&experiment.train, &experiment.valid] {
        digest.digest(&content(part, &schema)?);
    }
    Ok(digest.finish())
}

/// Digest of the files' bytes and the schema: a file that changed is read anew.
fn content(part: &SplitPart, schema: &Schema) -> Result<Digest> {
    let mut digest = DigestBuilder::new("split files");
    digest.str(&schema.to_toml());
    let mut buffer = vec![0; 1 << 20];
    for source in find_sources(&part.files)? {
        let path = &source.path;
        let cannot = || format!("cannot read {}", path.display());
        digest.str(&source.name);
        let mut file = File::open(path).with_context(cannot)?;
        loop {
            match file.read(&mut buffer).with_context(cannot)? {
                0 => break,
                read => digest.bytes(&buffer[..read]),
            };
        }
    }
    Ok(digest.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_of_the_beginning_or_of_the_end() {
        assert_eq!(stretch(None, 7).unwrap(), 0..7);
        assert_eq!(stretch(Some(Stretch::First(3)), 7).unwrap(), 0..3);
        assert_eq!(stretch(Some(Stretch::Last(3)), 7).unwrap(), 4..7);
        let error = stretch(Some(Stretch::Last(8)), 7).unwrap_err().to_string();
        assert!(error.contains("8 rows are wanted") && error.contains("hold 7"), "{error}");
    }

    #[test]
    fn parts_that_share_rows_are_refused() {
        let part = |digest: &[u8], rows| {
            let examples = Arc::default();
            Loaded { examples, digest: Digest::of_bytes(digest), rows, histories: Vec::new() }
        };
        assert!(refuse_overlap(&[("train", part(b"a", 0..5)), ("valid", part(b"a", 5..7))]).is_ok());
        assert!(refuse_overlap(&[("train", part(b"a", 0..5)), ("valid", part(b"b", 0..5))]).is_ok());
        let error = refuse_overlap(&[("train", part(b"a", 0..5)), ("valid", part(b"a", 3..7))]).unwrap_err();
        assert!(error.to_string().contains("\"train\" and \"valid\" have 2 rows in common"), "{error}");
    }
}
