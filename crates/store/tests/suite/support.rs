//! Small versions, and places to put them.

use crate::unreliable::Unreliable;
use object_store::memory::InMemory;
use perennial_core::{Digest, Timestamp};
use perennial_disk::{Disk, Step, Watch};
use perennial_store::{Bundle, DataRange, Lineage, Store, VersionId};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A folder in memory where there is one, so that thousands of flushes cost nothing.
pub(crate) fn folder() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

/// Runs `check` on a store of each kind.
pub(crate) fn everywhere(check: impl Fn(Store)) {
    let folder = folder();
    check(Store::open(folder.path().join("store")).unwrap());
    check(Store::in_bucket(Arc::new(InMemory::new())));
}

pub(crate) fn id(text: &str) -> VersionId {
    text.parse().unwrap()
}

/// Version `n` of a chain: one object common to all, one that changes every other version, one of its own.
pub(crate) fn bundle(n: u64) -> Bundle {
    Bundle {
        objects: vec![
            ("schema.toml".into(), b"name = \"toy\"\n".to_vec()),
            ("table/item/values/0000".into(), vec![(n / 2) as u8; 300]),
            ("dense.safetensors".into(), format!("weights {n}").into_bytes()),
        ],
        lineage: Lineage {
            parent: n.checked_sub(1).map(|n| id(&name(n))),
            data: Some(DataRange {
                first_period: n,
                last_period: n,
                start: Timestamp(n as i64 * 10),
                end: Timestamp(n as i64 * 10 + 9),
            }),
            strategy: "incremental".into(),
            ..Lineage::default()
        },
        content: Digest::of_bytes(&n.to_le_bytes()),
    }
}

pub(crate) fn name(n: u64) -> String {
    format!("chain/{n:04}")
}

pub(crate) fn publish(store: &Store, n: u64) -> VersionId {
    let id = id(&name(n));
    store.publish(&id, &bundle(n)).unwrap();
    id
}

/// Everything listed is whole, every alias points to something listed.
pub(crate) fn assert_sound(store: &Store) {
    let report = store.verify(None).unwrap();
    assert!(report.troubles.is_empty(), "{:#?}", report.troubles);
}

/// Does something once, just before a file is written whose path contains `at`: a race that always happens.
pub(crate) struct Interrupt {
    at: &'static str,
    action: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Interrupt {
    pub(crate) fn new(at: &'static str, action: impl FnOnce() + Send + 'static) -> Arc<Interrupt> {
        Arc::new(Interrupt { at, action: Mutex::new(Some(Box::new(action))) })
    }

    pub(crate) fn meet(&self, path: &str) {
        let action = if path.contains(self.at) { self.action.lock().unwrap().take() } else { None };
        if let Some(action) = action {
            // On a thread of its own, since executors do not nest.
            std::thread::spawn(action).join().unwrap();
        }
    }

    pub(crate) fn happened(&self) -> bool {
        self.action.lock().unwrap().is_none()
    }
}

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Interrupt at {}", self.at)
    }
}

impl Watch for Interrupt {
    fn before(&self, step: Step<'_>) -> std::io::Result<()> {
        if let Step::Write(path, _) = step {
            self.meet(path.to_str().unwrap());
        }
        Ok(())
    }
}

/// Runs `check` with two ways into one bucket: through the first, `action` is done to the second just before a file is
/// written whose path contains `at`.
pub(crate) fn in_a_race_for_a_bucket(at: &'static str, action: fn(&Store), check: impl Fn(&Store, &Store)) {
    let bucket = Arc::new(InMemory::new());
    let other = Store::in_bucket(bucket.clone());
    let interrupt = Interrupt::new(at, {
        let other = other.clone();
        move || action(&other)
    });
    check(&Store::in_bucket(Unreliable::interrupted(bucket, interrupt.clone())), &other);
    assert!(interrupt.happened());
}

/// The same on a disk and in a bucket.
pub(crate) fn in_a_race(at: &'static str, action: fn(&Store), check: impl Fn(&Store, &Store)) {
    let folder = folder();
    let other = Store::open(folder.path()).unwrap();
    let interrupt = Interrupt::new(at, {
        let other = other.clone();
        move || action(&other)
    });
    check(&Store::on_disk(folder.path(), Disk::watched(interrupt.clone())).unwrap(), &other);
    assert!(interrupt.happened());
    in_a_race_for_a_bucket(at, action, check);
}
