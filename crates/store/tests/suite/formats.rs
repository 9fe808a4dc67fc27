//! Stores written by every released format stay readable.

use crate::support::id;
use perennial_core::{Digest, Timestamp};
use perennial_store::{Bundle, DataRange, Lineage, Published, Reader, Store};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format)
}

/// What the fixture of format 1 was made from, by `write_format_1` below.
fn first() -> Bundle {
    Bundle {
        objects: vec![
            ("config.toml".into(), b"seed = 7\n".to_vec()),
            ("table/item/values/0000".into(), (0..=255).collect()),
        ],
        lineage: Lineage {
            parent: Some(id("pretrained/7/0009")),
            data: Some(DataRange { first_period: 10, last_period: 10, start: Timestamp(-1), end: Timestamp(i64::MAX) }),
            strategy: "incremental".into(),
            objective: "bce".into(),
            seed: u64::MAX,
            kernel_set: "avx512".into(),
            created_by: "0.1.0".into(),
            extra: BTreeMap::from([("note".into(), "\"quoted\" \u{e9}".into())]),
        },
        content: Digest::of_bytes(b"first"),
    }
}

#[test]
fn format_1_is_read() {
    let reader = Reader::open(fixture("format1"));
    assert_eq!(reader.list("").unwrap(), [id("incremental/7/0010")]);
    let loaded = reader.load(&reader.alias(&"live".parse().unwrap()).unwrap()).unwrap();
    let bundle = first();
    assert_eq!((loaded.manifest.content, &loaded.manifest.lineage), (bundle.content, &bundle.lineage));
    assert_eq!(loaded.objects("").count(), bundle.objects.len());
    for (name, bytes) in &bundle.objects {
        assert_eq!(loaded.object(name).unwrap(), bytes);
    }
    assert!(reader.verify(None).unwrap().troubles.is_empty());
}

/// As long as format 1 is what is written, it is written the same, the release in the first line aside.
#[test]
fn format_1_is_written_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(write(folder.path()), Published::New);
    for path in ["versions/incremental/7/0010.manifest", "aliases/live"] {
        let body = |root: &Path| fs::read_to_string(root.join(path)).unwrap().split_once('\n').unwrap().1.to_owned();
        assert_eq!(body(folder.path()), body(&fixture("format1")), "{path}");
    }
}

fn write(folder: &Path) -> Published {
    let store = Store::open(folder).unwrap();
    let published = store.publish(&id("incremental/7/0010"), &first()).unwrap();
    store.set_alias(&"live".parse().unwrap(), None, &id("incremental/7/0010")).unwrap();
    published
}

/// Made the fixture. Not to be run again: a fixture is what an old release wrote.
#[test]
#[ignore = "writes the fixture of format 1"]
fn write_format_1() {
    assert!(!fixture("format1").exists(), "the fixture exists");
    write(&fixture("format1"));
    fs::remove_dir_all(fixture("format1").join("locks")).unwrap();
}
