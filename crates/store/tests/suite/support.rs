//! Small versions, and places to put them.

use object_store::memory::InMemory;
use perennial_core::{Digest, Timestamp};
use perennial_store::{Bundle, DataRange, Lineage, Store, VersionId};
use std::sync::Arc;
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
