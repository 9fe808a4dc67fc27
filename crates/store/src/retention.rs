//! Which versions are kept, and the collection of what is not.

use crate::backend::Hold;
use crate::reader::{manifest_path, object_path};
use crate::{Manifest, Reader, Result, Store, VersionId};
use std::collections::{BTreeMap, BTreeSet};

/// Which versions outlive a garbage collection, besides those to which aliases point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The last so many of each group, in order of the last period they learned from, then of their names.
    pub last: usize,
    /// These, whatever their age: what a strategy still needs.
    pub keep: BTreeSet<VersionId>,
}

impl Default for Retention {
    /// Aliases and the last of each group.
    fn default() -> Self {
        Retention { last: 1, keep: BTreeSet::new() }
    }
}

impl Retention {
    /// Keeps every version, and so collects only what no version refers to.
    pub fn everything() -> Retention {
        Retention { last: usize::MAX, keep: BTreeSet::new() }
    }
}

/// What a garbage collection removes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Versions that the policy does not keep.
    pub versions: Vec<VersionId>,
    /// Number of objects that no kept version refers to.
    pub objects: usize,
    /// Bytes of those objects.
    pub bytes: u64,
    /// Number of files left by writes that never ended.
    pub leftovers: usize,
}

impl Reader {
    /// What a garbage collection would remove now, `leftovers` aside.
    pub fn preview_gc(&self, retention: &Retention) -> Result<Swept> {
        Ok(self.plan_gc(retention)?.0)
    }

    /// What to remove, and the paths of the objects among it.
    fn plan_gc(&self, retention: &Retention) -> Result<(Swept, Vec<String>)> {
        let mut swept = Swept::default();
        let mut needed = BTreeSet::new();
        let aliased: BTreeSet<VersionId> = self.aliases()?.into_values().collect();
        for group in self.groups()? {
            let old = group.len().saturating_sub(retention.last);
            for (i, manifest) in group.into_iter().enumerate() {
                if i >= old || retention.keep.contains(&manifest.id) || aliased.contains(&manifest.id) {
                    needed.extend(manifest.objects.values().map(|object| object_path(&object.digest)));
                } else {
                    swept.versions.push(manifest.id);
                }
            }
        }
        let mut paths = Vec::new();
        for entry in self.files.list("objects")? {
            if !needed.contains(&entry.path) {
                swept.bytes += entry.bytes;
                paths.push(entry.path);
            }
        }
        swept.objects = paths.len();
        Ok((swept, paths))
    }

    /// The versions of each group, oldest first.
    fn groups(&self) -> Result<Vec<Vec<Manifest>>> {
        let mut groups: BTreeMap<String, Vec<Manifest>> = BTreeMap::new();
        for id in self.list("")? {
            groups.entry(id.group().to_owned()).or_default().push(self.manifest(&id)?);
        }
        // They came in order of their names, and sorting keeps that among equals.
        groups.values_mut().for_each(|group| group.sort_by_key(|m| m.lineage.data.map(|data| data.last_period)));
        Ok(groups.into_values().collect())
    }
}

impl Store {
    /// Removes the versions that are not kept, then the objects that no version refers to, then what broken writes
    /// have left.
    ///
    /// Waits for publishers and is waited for by them (see `FORMAT.md`, "Claims"), so that no object goes while a
    /// version that needs it is on its way. A crash on the way leaves whole versions and unneeded objects, which the next
    /// collection finds. A manifest that cannot be read stops it before anything is removed: what that version needs is
    /// not known.
    pub fn gc(&self, retention: &Retention) -> Result<Swept> {
        let _guard = self.hold(Hold::Alone)?;
        let (mut swept, objects) = self.reader().plan_gc(retention)?;
        // The manifests first, and durably: a version must never be listed without its objects.
        self.files.delete(&swept.versions.iter().map(manifest_path).collect::<Vec<_>>())?;
        self.files.delete(&objects)?;
        swept.leftovers = self.files.sweep()?;
        Ok(swept)
    }
}
