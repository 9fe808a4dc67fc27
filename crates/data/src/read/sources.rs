//! Which files to read, and in what order.

use super::Format;
use crate::error::{Error, Result};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A file to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its name relative to the directory, or to the fixed part of the pattern, that was given. Event ids are made
    /// of it, so that they do not depend on where the data lie.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// Finds the files that `given` stands for: files as they are, directories with everything below them that has the
/// extension of a known format, and patterns (`logs/*.csv.gz`). Files of one directory or pattern are in natural
/// order of their names: `part-9` comes before `part-10`.
///
/// Names that start with `.` or `_` are left out of directories. The same file twice, by path or by content, is an
/// error; so are two different files of one name, because events are named after files.
pub fn find_sources(given: &[PathBuf]) -> Result<Vec<SourceFile>> {
    let mut sources = Vec::new();
    for place in given {
        let found = find(place)?;
        if found.is_empty() {
            let problem = "no file with the extension of a known format (csv, tsv, txt, jsonl, parquet, libsvm, ...)";
            return Err(Error::NoSources(format!("{}: {problem}; name files or a pattern", place.display())));
        }
        sources.extend(found);
    }
    if sources.is_empty() {
        return Err(Error::NoSources("nothing to import: name at least one file, directory or pattern".into()));
    }
    check_duplicates(&sources)?;
    Ok(sources)
}

fn find(place: &Path) -> Result<Vec<SourceFile>> {
    if place.is_dir() {
        let mut files = Vec::new();
        list(place, &mut files)?;
        return sorted(place, files);
    }
    if place.exists() {
        return sorted(place.parent().unwrap_or(Path::new("")), vec![place.to_owned()]);
    }
    let pattern = place.to_string_lossy();
    if !pattern.contains(['*', '?', '[']) {
        return Err(Error::io(place)(std::io::ErrorKind::NotFound.into()));
    }
    let bad_pattern = |error: &dyn std::fmt::Display| Error::Usage(format!("{pattern}: not a pattern: {error}"));
    let mut files = Vec::new();
    for path in glob::glob(&pattern).map_err(|error| bad_pattern(&error))? {
        let path = path.map_err(|error| {
            let place = error.path().to_owned();
            Error::io(&place)(error.into())
        })?;
        if path.is_file() {
            files.push(path);
        }
    }
    let fixed = place.iter().take_while(|part| !part.to_string_lossy().contains(['*', '?', '[']));
    sorted(&fixed.collect::<PathBuf>(), files)
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if Format::guess(&path).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

fn sorted(root: &Path, files: Vec<PathBuf>) -> Result<Vec<SourceFile>> {
    let source = |path: PathBuf| -> Result<SourceFile> {
        let bytes = fs::metadata(&path).map_err(Error::io(&path))?.len();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        Ok(SourceFile { path, name, bytes })
    };
    let mut sources = files.into_iter().map(source).collect::<Result<Vec<_>>>()?;
    sources.sort_by(|a, b| natural(&a.name, &b.name));
    Ok(sources)
}

/// Compares names so that runs of digits count as numbers.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (digits_left, digits_right) = (leading_digits(left), leading_digits(right));
        let order = if digits_left > 0 && digits_right > 0 {
            let number = |text: &str, len: usize| text[..len].trim_start_matches('0').to_owned();
            let (x, y) = (number(left, digits_left), number(right, digits_right));
            (left, right) = (&left[digits_left..], &right[digits_right..]);
            x.len().cmp(&y.len()).then(x.cmp(&y))
        } else {
            match (left.chars().next(), right.chars().next()) {
                (Some(x), Some(y)) => {
                    (left, right) = (&left[x.len_utf8()..], &right[y.len_utf8()..]);
                    x.cmp(&y)
                }
                (None, None) => return a.cmp(b), // "a01" and "a1"
                (x, y) => return x.is_some().cmp(&y.is_some()),
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn check_duplicates(sources: &[SourceFile]) -> Result<()> {
    let mut by_path: HashMap<PathBuf, usize> = HashMap::new();
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    let mut by_size: HashMap<u64, Vec<usize>> = HashMap::new();
    let duplicate = |first: usize, second: usize, how: &str| Error::DuplicateFiles {
        first: sources[first].path.clone(),
        second: sources[second].path.clone(),
        how: how.to_owned(),
    };
    for (i, source) in sources.iter().enumerate() {
        let path = fs::canonicalize(&source.path).map_err(Error::io(&source.path))?;
        if let Some(first) = by_path.insert(path, i) {
            return Err(duplicate(first, i, "are one file"));
        }
        if source.bytes > 0 {
            by_size.entry(source.bytes).or_default().push(i);
        }
    }
    // Only files of one size can have one content, so hardly any is read for this.
    for group in by_size.values().filter(|group| group.len() > 1) {
        let mut by_content = HashMap::new();
        for &i in group {
            if let Some(first) = by_content.insert(content_hash(&sources[i].path)?, i) {
                return Err(duplicate(first, i, "have the same content"));
            }
        }
    }
    for (i, source) in sources.iter().enumerate() {
        if let Some(first) = by_name.insert(&source.name, i) {
            return Err(duplicate(first, i, "have one name, and events are named after files"));
        }
    }
    Ok(())
}

fn content_hash(path: &Path) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let read = fs::File::open(path).and_then(|file| hasher.update_reader(file).map(|_| ()));
    read.map_err(Error::io(path))?;
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natural_order_counts() {
        let mut names = ["p10.csv", "p9.csv", "p09.csv", "a/2", "p", "a/10", "a/b"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a/2", "a/10", "a/b", "p", "p09.csv", "p9.csv", "p10.csv"]);
    }

    #[test]
    fn directories_patterns_and_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("day=2")).unwrap();
        let names = ["x10.csv", "x9.csv.gz", "NOTES.md", "_SUCCESS", ".hidden.csv", "day=2/a.parquet"];
        names.iter().for_each(|name| fs::write(dir.path().join(name), name).unwrap());
        let found = |place: PathBuf| -> Vec<String> {
            find_sources(&[place]).unwrap().into_iter().map(|source| source.name).collect()
        };
        assert_eq!(found(dir.path().to_owned()), ["day=2/a.parquet", "x9.csv.gz", "x10.csv"]);
        assert_eq!(found(dir.path().join("x*")), ["x9.csv.gz", "x10.csv"]);
        assert_eq!(found(dir.path().join("NOTES.md")), ["NOTES.md"]);
        assert!(find_sources(&[dir.path().join("absent.csv")]).unwrap_err().to_string().contains("absent.csv"));
        assert!(find_sources(&[]).is_err());
    }

    #[test]
    fn the_same_file_twice_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("d")).unwrap();
        for (name, text) in [("a.csv", "same"), ("b.csv", "same"), ("c.csv", "other"), ("d/a.csv", "third")] {
            fs::write(path(name), text).unwrap();
        }
        let problem = |names: &[&str]| {
            let given: Vec<PathBuf> = names.iter().map(|name| path(name)).collect();
            find_sources(&given).unwrap_err().to_string()
        };
        assert!(problem(&["a.csv", "a.csv"]).contains("duplicate files"));
        assert!(problem(&["a.csv", "b.csv"]).contains("same content"));
        assert!(problem(&["a.csv", "d/a.csv"]).contains("one name"));
        assert_eq!(find_sources(&[path("a.csv"), path("c.csv")]).unwrap().len(), 2);
    }
}
