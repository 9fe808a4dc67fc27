//! `perennial versions ...`

use crate::run::files;
use crate::terminal::Terminal;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use perennial_store::{AliasName, Change, Manifest, Object, Retention, Store, VersionId};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments of `versions`.
#[derive(Debug, Args)]
#[command(after_help = "A version is named <method>/<seed>/<period>; an alias may stand wherever a version may.")]
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
    /// Point an alias such as `live` at a version
    Alias {
        /// The alias
        alias: String,
        /// The version
        version: String,
    },
    /// Remove what nothing needs: keep the last of each method and seed, aliases and their objects
    Collect {
        /// Keep so many of each method and seed
        #[arg(long, default_value_t = 1)]
        keep: usize,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<()> {
    let store = open(&arguments.folder)?;
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => list(&store, terminal),
        Action::Show { version } => show(&store, &find(&store, version)?, terminal),
        Action::Diff { a, b } => diff(&store, &find(&store, a)?, &find(&store, b)?, terminal),
        Action::Verify { version } => verify(&store, version.as_deref(), terminal),
        Action::Alias { alias, version } => set_alias(&store, alias, version, terminal),
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

/// The version of this name or alias.
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
    // A method and a seed mean their last version.
    if let Some(last) = known.iter().rfind(|id| id.group() == name) {
        return Ok(last.clone());
    }
    match crate::suggest::nearest(name, known.iter().map(|id| id.as_str())) {
        Some(near) => bail!("there is no version \"{name}\"; did you mean \"{near}\"?"),
        None => bail!("there is no version \"{name}\"; `perennial versions FOLDER` lists them"),
    }
}

fn list(store: &Store, terminal: &Terminal) -> Result<()> {
    let aliases = store.aliases()?;
    let mut rows = Vec::new();
    for id in store.list("")? {
        let names: Vec<&str> = aliases.iter().filter(|(_, to)| **to == id).map(|(alias, _)| alias.as_str()).collect();
        rows.push((store.manifest(&id)?, names.join(", ")));
    }
    if terminal.json() {
        let rows: Vec<_> =
            rows.iter().map(|(manifest, aliases)| json!({ "version": manifest, "aliases": aliases })).collect();
        terminal.print(&serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_header(["version", "aliases", "content", "objects", "bytes", "parent"]);
    for (manifest, aliases) in &rows {
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
    terminal.print(&table.to_string());
    Ok(())
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
    terminal.print(&if terminal.json() {
        json!({ "same_content": diff.same_content, "text": text }).to_string()
    } else {
        text
    });
    Ok(())
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
    terminal.note(&match before {
        Some(before) => format!("{alias}: {before} -> {id}"),
        None => format!("{alias}: {id}"),
    });
    Ok(())
}

fn collect(store: &Store, keep: usize, dry_run: bool, terminal: &Terminal) -> Result<()> {
    let pretrained = store.list(crate::experiment::PRETRAINED)?.into_iter().collect();
    let retention = Retention { last: keep, keep: pretrained };
    let swept = if dry_run { store.preview_gc(&retention)? } else { store.gc(&retention)? };
    let verb = if dry_run { "would remove" } else { "removed" };
    let bytes = human_bytes(swept.bytes);
    terminal.print(&format!("{verb} {} versions and {} objects ({bytes})", swept.versions.len(), swept.objects));
    Ok(())
}

/// `1.5 MiB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
