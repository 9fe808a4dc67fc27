//! Looking for damage.

use crate::reader::object_path;
use crate::{Error, Reader, Result, VersionId};
use perennial_core::Digest;
use std::collections::BTreeMap;

/// What a check of versions found.
#[derive(Debug, Default)]
pub struct Report {
    /// Number of versions looked at.
    pub versions: usize,
    /// Number of distinct objects read and hashed.
    pub objects: usize,
    /// Bytes of those objects.
    pub bytes: u64,
    /// All that is wrong. Empty is good.
    pub troubles: Vec<Trouble>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Trouble {
    /// The version that suffers; an alias that points nowhere names the version it points to.
    pub id: VersionId,
    /// What is wrong, as loading it would say.
    pub error: Error,
}

impl Reader {
    /// Reads and hashes every object of one version, or of all and follows the aliases; goes on after damage.
    ///
    /// An object that several versions share is read once and, if it is damaged, reported for each.
    pub fn verify(&self, id: Option<&VersionId>) -> Result<Report> {
        let ids = match id {
            Some(id) => vec![id.clone()],
            None => self.list("")?,
        };
        let mut report = Report { versions: ids.len(), ..Report::default() };
        let mut good = BTreeMap::new();
        for id in ids {
            self.verify_one(&id, &mut good, &mut report);
        }
        report.objects = good.len();
        report.bytes = good.values().sum();
        if id.is_none() {
            self.verify_aliases(&mut report)?;
        }
        Ok(report)
    }

    fn verify_one(&self, id: &VersionId, good: &mut BTreeMap<Digest, u64>, report: &mut Report) {
        let manifest = match self.manifest(id) {
            Ok(manifest) => manifest,
            Err(error) => return report.troubles.push(Trouble { id: id.clone(), error }),
        };
        for (name, object) in &manifest.objects {
            if good.contains_key(&object.digest) {
                continue;
            }
            match self.load_object(&manifest, name.as_str()) {
                Ok(bytes) => drop(good.insert(object.digest, bytes.len() as u64)),
                Err(error) => report.troubles.push(Trouble { id: id.clone(), error }),
            }
        }
    }

    fn verify_aliases(&self, report: &mut Report) -> Result<()> {
        for id in self.aliases()?.into_values() {
            if let Err(error @ Error::NoVersion { .. }) = self.manifest(&id) {
                report.troubles.push(Trouble { id, error });
            }
        }
        Ok(())
    }

    /// Where the objects of a version are kept, by name: for other tools.
    pub fn locate(&self, id: &VersionId) -> Result<BTreeMap<String, String>> {
        let manifest = self.manifest(id)?;
        let place = |object: &crate::Object| self.files.locate(&object_path(&object.digest));
        Ok(manifest.objects.iter().map(|(name, object)| (name.to_string(), place(object))).collect())
    }
}
