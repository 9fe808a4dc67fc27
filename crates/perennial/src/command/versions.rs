//! `perennial versions ...`

use crate::run::files;
use crate::terminal::Terminal;
use anyhow::{Result, bail};
use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use perennial_store::{AliasName, Change, Diff, Manifest, Object, Retention, RunLock, Store, VersionId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Arguments of `versions`.
#[derive(Debug, Args)]
#[command(after_help = "A version is named <method>/<seed>/<period>; <method>/<seed> means its last version, and an \
                        alias may stand wherever a version may. What changes a store is refused while its run is \
                        under way.")]
pub(crate) struct Arguments {
    /// Folder of the run, or of the store itself
    folder: PathBuf,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All versions and aliases (the default)
    List,
    /// What one version consists of and where it came from
    Show {
        /// The version
        version: String,
    },
    /// What one version has that another has not
    Diff {
        /// The first version
        a: String,
        /// The second version
        b: String,
    },
    /// Read and hash every object, of one version or of all
    Verify {
        /// The version; all if left out
        version: Option<String>,
    },
    /// Point an alias such as `live` at a version, or remove it
    Alias {
        /// The alias
        alias: String,
        /// The version
        #[arg(required_unless_present = "remove")]
        version: Option<String>,
        /// Remove the alias; its version stays
        #[arg(long, conflicts_with = "version")]
        remove: bool,
    },
    /// Remove one version; the run makes it again if it goes on and needs it
    Delete {
        /// The version, by its whole name
        version: String,
    },
    /// Remove what nothing needs: keep the last of each method and seed, aliases and their objects
    Collect {
        /// Keep so many of each method and seed
        #[arg(long, default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
        keep: usize,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    let store = open(&arguments.folder)?;
    let _lock = lock_for(arguments.action.as_ref(), &arguments.folder)?;
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => list(&store, terminal),
        Action::Show { version } => show(&store, &find(&store, version)?, terminal),
        Action::Diff { a, b } => diff(&store, &find(&store, a)?, &find(&store, b)?, terminal),
        Action::Verify { version } => verify(&store, version.as_deref(), terminal),
        Action::Alias { alias, version: Some(version), .. } => set_alias(&store, alias, version, terminal),
        Action::Alias { alias, version: None, .. } => remove_alias(&store, alias, terminal),
        Action::Delete { version } => delete(&store, version, terminal),
        Action::Collect { keep, dry_run } => collect(&store, *keep, *dry_run, terminal),
    }
}

/// Opens the store of a run's folder, or the store itself; never makes one.
pub(crate) fn open(folder: &Path) -> Result<Store> {
    let inner = folder.join(files::STORE);
    let folder = if inner.is_dir() { inner.as_path() } else { folder };
    if !folder.join("versions").is_dir() {
        bail!("{} holds no versions; name the folder of a run, such as runs/demo", folder.display());
    }
    Ok(Store::open(folder)?)
}

/// Keeps runs out for as long as a command changes the store.
fn lock_for(action: Option<&Action>, folder: &Path) -> Result<Option<RunLock>> {
    match action {
        Some(Action::Alias { .. } | Action::Delete { .. } | Action::Collect { dry_run: false, .. }) => {
            Ok(run_of(folder).map(RunLock::acquire).transpose()?)
        }
        _ => Ok(None),
    }
}

/// The folder of the run that a store belongs to, whether the run was named or its store; `None` for a store alone.
fn run_of(folder: &Path) -> Option<PathBuf> {
    if folder.join(files::STORE).is_dir() {
        return Some(folder.to_owned());
    }
    let run = folder.canonicalize().ok()?.parent()?.to_owned();
    run.join(files::EXPERIMENT).is_file().then_some(run)
}

/// The version of this name or alias; a method and a seed mean their last version.
pub(crate) fn find(store: &Store, name: &str) -> Result<VersionId> {
    if let Ok(alias) = name.parse::<AliasName>()
        && let Some(id) = store.aliases()?.remove(&alias)
    {
        return Ok(id);
    }
    let known = store.list("")?;
    if let Some(id) = known.iter().find(|id| id.as_str() == name) {
        return Ok(id.clone());
    }
    match last_of(store, known.iter().filter(|id| id.group() == name))? {
        Some(last) => Ok(last),
        None => unknown(name, suggestion(name, &known)),
    }
}

/// The version that learned from the latest period, as retention has it; of several, the last by name.
fn last_of<'a>(store: &Store, group: impl Iterator<Item = &'a VersionId>) -> Result<Option<VersionId>> {
    let mut last = None;
    for id in group {
        let at = (store.manifest(id)?.lineage.data.map(|data| data.last_period), id);
        last = last.max(Some(at));
    }
    Ok(last.map(|(_, id)| id.clone()))
}

fn unknown<R>(name: &str, near: Option<&str>) -> Result<R> {
    match near {
        Some(near) => bail!("there is no version \"{name}\"; did you mean \"{near}\"?"),
        None => bail!("there is no version \"{name}\"; `perennial versions FOLDER` lists them"),
    }
}

/// What a name that is none may have been meant to be. Methods and seeds come first: who mistypes one wants no
/// particular period of it.
fn suggestion<'a>(name: &str, known: &'a [VersionId]) -> Option<&'a str> {
    let segments = |text: &str| text.split('/').count();
    let groups = || known.iter().map(VersionId::group).filter(|group| !group.is_empty());
    let like = groups().filter(|group| segments(name) <= segments(group));
    let near = crate::suggest::nearest(name, like);
    near.or_else(|| version_like(name, known))
}

fn version_like<'a>(name: &str, known: &'a [VersionId]) -> Option<&'a str> {
    let of_group = known.iter().rfind(|id| id.group() == name).map(VersionId::as_str);
    of_group.or_else(|| crate::suggest::nearest(name, known.iter().map(VersionId::as_str)))
}

fn list(store: &Store, terminal: &Terminal) -> Result<()> {
    let aliases = store.aliases()?;
    let (mut rows, mut damaged) = (Vec::new(), Vec::new());
    for id in store.list("")? {
        let names: Vec<&str> = aliases.iter().filter(|(_, to)| **to == id).map(|(alias, _)| alias.as_str()).collect();
        match store.manifest(&id) {
            Ok(manifest) => rows.push((manifest, names.join(", "))),
            Err(error) => damaged.push(error),
        }
    }
    if terminal.json() {
        let rows: Vec<_> =
            rows.iter().map(|(manifest, aliases)| json!({ "version": manifest, "aliases": aliases })).collect();
        terminal.print(&serde_json::to_string_pretty(&rows)?);
    } else {
        terminal.print(&table_of(&rows));
    }
    // What can be read is told all the same.
    let all = damaged.len() + rows.len();
    match damaged.into_iter().next() {
        None => Ok(()),
        Some(first) if all == 1 => Err(first.into()),
        Some(first) => {
            Err(anyhow::Error::from(first).context(format!("{} of {all} versions cannot be read", all - rows.len())))
        }
    }
}

fn table_of(rows: &[(Manifest, String)]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_header(["version", "aliases", "content", "objects", "bytes", "parent"]);
    for (manifest, aliases) in rows {
        let parent = manifest.lineage.parent.as_ref().map_or("", |parent| parent.as_str());
        table.add_row([
            manifest.id.as_str(),
            aliases,
            &manifest.content.short(),
            &manifest.objects.len().to_string(),
            &human_bytes(manifest.bytes()),
            parent,
        ]);
    }
    for column in [3, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn show(store: &Store, id: &VersionId, terminal: &Terminal) -> Result<()> {
    let manifest = store.manifest(id)?;
    terminal.print(&if terminal.json() { serde_json::to_string_pretty(&manifest)? } else { describe(&manifest)? });
    Ok(())
}

/// A version for people.
pub(crate) fn describe(manifest: &Manifest) -> Result<String> {
    let mut text = format!("version  {}\ncontent  {}\n", manifest.id, manifest.content);
    let lineage = serde_json::to_value(&manifest.lineage)?;
    for (key, value) in lineage.as_object().into_iter().flatten() {
        text += &format!("{key:<12} {value}\n");
    }
    text += &format!("{} objects, {}\n", manifest.objects.len(), human_bytes(manifest.bytes()));
    for (name, object) in &manifest.objects {
        text += &format!("  {:>10}  {}  {}\n", human_bytes(object.bytes), object.digest.short(), name);
    }
    Ok(text)
}

fn diff(store: &Store, a: &VersionId, b: &VersionId, terminal: &Terminal) -> Result<()> {
    let diff = store.diff(a, b)?;
    if terminal.json() {
        terminal.print(&serde_json::to_string_pretty(&diff_json(&diff))?);
        return Ok(());
    }
    terminal.print(&diff_text(&diff));
    Ok(())
}

fn diff_text(diff: &Diff) -> String {
    let object = |object: &Object| format!("{} ({})", object.digest.short(), human_bytes(object.bytes));
    let mut text = match diff.same_content {
        true => "the content is the same\n".to_owned(),
        false => "the content differs\n".to_owned(),
    };
    text += &format!("{} objects ({}) are shared\n", diff.shared, human_bytes(diff.shared_bytes));
    for (name, change) in &diff.objects {
        text += &format!("  {name}: {}\n", change_text(change, object));
    }
    for (field, change) in &diff.lineage {
        text += &format!("  lineage {field}: {}\n", change_text(change, String::clone));
    }
    text
}

fn diff_json(diff: &Diff) -> Value {
    json!({
        "same_content": diff.same_content,
        "shared": diff.shared,
        "shared_bytes": diff.shared_bytes,
        "objects": changes_json(&diff.objects, |object| json!(object)),
        // Fields of the lineage are JSON already.
        "lineage": changes_json(&diff.lineage, |field| serde_json::from_str(field).unwrap_or_else(|_| json!(field))),
        "text": diff_text(diff),
    })
}

/// By name what was there before and after; what was added or removed has only one of the two.
fn changes_json<K: ToString, T>(changes: &BTreeMap<K, Change<T>>, json: impl Fn(&T) -> Value) -> Value {
    let change = |change: &Change<T>| match change {
        Change::Added(new) => json!({ "after": json(new) }),
        Change::Removed(old) => json!({ "before": json(old) }),
        Change::Changed(old, new) => json!({ "before": json(old), "after": json(new) }),
    };
    changes.iter().map(|(name, of)| (name.to_string(), change(of))).collect::<serde_json::Map<_, _>>().into()
}

fn change_text<T>(change: &Change<T>, show: impl Fn(&T) -> String) -> String {
    match change {
        Change::Added(new) => format!("added {}", show(new)),
        Change::Removed(old) => format!("removed {}", show(old)),
        Change::Changed(old, new) => format!("{} -> {}", show(old), show(new)),
    }
}

fn verify(store: &Store, version: Option<&str>, terminal: &Terminal) -> Result<()> {
    let id = version.map(|version| find(store, version)).transpose()?;
    let report = store.verify(id.as_ref())?;
    let troubles: Vec<String> = report.troubles.iter().map(|t| format!("{}: {}", t.id, t.error)).collect();
    let whole = format!("{} versions, {} objects, {} read", report.versions, report.objects, human_bytes(report.bytes));
    terminal.print(&match terminal.json() {
        true => json!({ "versions": report.versions, "objects": report.objects, "troubles": troubles }).to_string(),
        false => whole,
    });
    match troubles.is_empty() {
        true => Ok(()),
        false => bail!("damage was found:\n{}", troubles.join("\n")),
    }
}

fn set_alias(store: &Store, alias: &str, version: &str, terminal: &Terminal) -> Result<()> {
    let alias: AliasName = alias.parse()?;
    let id = find(store, version)?;
    let before = store.aliases()?.remove(&alias);
    store.set_alias(&alias, before.as_ref(), &id)?;
    if terminal.json() {
        terminal.print(&json!({ "alias": alias, "before": before, "after": id }).to_string());
        return Ok(());
    }
    terminal.note(&match before {
        Some(before) => format!("{alias}: {before} -> {id}"),
        None => format!("{alias}: {id}"),
    });
    Ok(())
}

fn remove_alias(store: &Store, alias: &str, terminal: &Terminal) -> Result<()> {
    let alias: AliasName = alias.parse()?;
    let before = store.alias(&alias)?;
    store.remove_alias(&alias)?;
    match terminal.json() {
        true => terminal.print(&json!({ "alias": alias, "before": before, "after": null }).to_string()),
        false => terminal.note(&format!("{alias}: removed; it was {before}")),
    }
    Ok(())
}

fn delete(store: &Store, version: &str, terminal: &Terminal) -> Result<()> {
    let known = store.list("")?;
    // No alias and no "last of": what goes for good is called by its name.
    let Some(id) = known.iter().find(|id| id.as_str() == version) else {
        return unknown(version, version_like(version, &known));
    };
    store.delete(id)?;
    match terminal.json() {
        true => terminal.print(&json!({ "deleted": id }).to_string()),
        false => terminal.note(&format!("{id}: removed; `versions FOLDER collect` removes what only it needed")),
    }
    Ok(())
}

fn collect(store: &Store, keep: usize, dry_run: bool, terminal: &Terminal) -> Result<()> {
    let pretrained = store.list(crate::experiment::PRETRAINED)?.into_iter().collect();
    let retention = Retention { last: keep, keep: pretrained };
    let swept = if dry_run { store.preview_gc(&retention)? } else { store.gc(&retention)? };
    if terminal.json() {
        terminal.print(&serde_json::to_string_pretty(&json!({
            "dry_run": dry_run,
            "versions": swept.versions,
            "objects": swept.objects,
            "bytes": swept.bytes,
        }))?);
        return Ok(());
    }
    let verb = if dry_run { "would remove" } else { "removed" };
    let bytes = human_bytes(swept.bytes);
    terminal.print(&format!("{verb} {} versions and {} objects ({bytes})", swept.versions.len(), swept.objects));
    Ok(())
}

/// `1.5 MiB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::{Digest, Timestamp};
    use perennial_store::{Bundle, DataRange, Lineage};

    fn publish(store: &Store, id: &str, last_period: u64) {
        let data = DataRange { first_period: 0, last_period, start: Timestamp(0), end: Timestamp(1) };
        let lineage = Lineage { data: Some(data), ..Lineage::default() };
        let objects = vec![("name".to_owned(), id.as_bytes().to_vec())];
        let bundle = Bundle { objects, lineage, content: Digest::of_bytes(id.as_bytes()) };
        store.publish(&id.parse().unwrap(), &bundle).unwrap();
    }

    #[test]
    fn the_last_of_a_group_learned_from_the_latest_period() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        publish(&store, "batch/1/9999", 9999);
        publish(&store, "batch/1/10000", 10_000);
        assert_eq!(find(&store, "batch/1").unwrap().as_str(), "batch/1/10000");
    }

    #[test]
    fn a_mistyped_method_suggests_the_method() {
        let known = ["batch-3/1/0004", "batch-3/2/0004", "pretrained/1/0000"].map(|id| id.parse().unwrap());
        let check = |name: &str, expected: Option<&str>| assert_eq!(suggestion(name, &known), expected, "{name}");
        check("batch3/1", Some("batch-3/1"));
        check("batch-3/1/0005", Some("batch-3/1/0004"));
        check("pretraned/1", Some("pretrained/1"));
        check("zzz", None);
    }

    #[test]
    fn a_change_is_refused_while_the_run_is_under_way() {
        let run = tempfile::tempdir().unwrap();
        let inner = run.path().join(files::STORE);
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(run.path().join(files::EXPERIMENT), "").unwrap();
        let _held = RunLock::acquire(run.path()).unwrap();
        let collect = |dry_run| Action::Collect { keep: 1, dry_run };
        for folder in [run.path(), &inner] {
            assert!(lock_for(Some(&collect(false)), folder).is_err(), "{}", folder.display());
            assert!(lock_for(Some(&collect(true)), folder).unwrap().is_none());
        }
    }
}
