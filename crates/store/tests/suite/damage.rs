//! Nothing that was altered on disk is ever returned.

use crate::support::{assert_sound, bundle, folder, id, publish};
use perennial_store::{Error, Limits, Published, Store};
use std::fs;
use std::path::PathBuf;

/// Where the object of version 0 of that name is kept.
fn place(store: &Store, name: &str) -> PathBuf {
    store.locate(&id("chain/0000")).unwrap()[name].clone().into()
}

#[test]
fn every_flipped_bit_is_detected_and_named() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let version = publish(&store, 0);
    let path = place(&store, "dense.safetensors");
    let good = fs::read(&path).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bad).unwrap();
        let error = store.load(&version).unwrap_err();
        assert!(matches!(&error, Error::Damaged { object, .. } if object.as_str() == "dense.safetensors"), "{error}");
    }
    let text = store.load(&version).unwrap_err().to_string();
    assert!(text.contains("chain/0000") && text.contains(path.to_str().unwrap()), "{text}");
    fs::write(&path, &good).unwrap();
    assert_sound(&store);
}

#[test]
fn cut_grown_and_missing_objects_are_detected() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let version = publish(&store, 0);
    let path = place(&store, "schema.toml");
    for (bad, expected) in [(&b"name"[..], "it has 4 bytes, expected 13"), (&[b'x'; 14], "it has 14 bytes")] {
        fs::write(&path, bad).unwrap();
        let error = store.load(&version).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let report = store.verify(None).unwrap();
    assert_eq!((report.versions, report.objects, report.troubles.len()), (1, 2, 1));
    assert!(report.troubles[0].error.to_string().contains("\"schema.toml\" of version \"chain/0000\""));
    assert!(store.verify(Some(&version)).unwrap().troubles.len() == 1);
}

/// Publishing over what a damaged disk holds writes anew what has the wrong length.
#[test]
fn a_cut_object_is_replaced_by_the_next_version_that_has_it() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    publish(&store, 0);
    fs::write(place(&store, "schema.toml"), b"name").unwrap();
    publish(&store, 1);
    assert_sound(&store);
}

/// And what has the right length and other bytes.
#[test]
fn an_object_with_a_flipped_bit_is_replaced_by_the_next_version_that_has_it() {
    let folder = folder();
    publish(&Store::open(folder.path()).unwrap(), 0);
    let store = Store::open(folder.path()).unwrap();
    let path = place(&store, "schema.toml");
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    publish(&store, 1);
    assert_sound(&store);
}

#[test]
fn a_damaged_alias_is_named() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let version = publish(&store, 0);
    store.set_alias(&"live".parse().unwrap(), None, &version).unwrap();
    let path = folder.path().join("aliases/live");
    let text = fs::read_to_string(&path).unwrap().replace("chain/0000", "chain/0001");
    fs::write(&path, text).unwrap();
    let error = store.alias(&"live".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("aliases/live is damaged: its checksum is"), "{error}");
}

#[test]
fn limits_are_respected() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let version = publish(&store, 0);
    for limits in [Limits { manifest_bytes: 50, ..Limits::default() }, Limits { objects: 2, ..Limits::default() }] {
        let strict = store.clone().with_limits(limits);
        assert!(matches!(strict.load(&version), Err(Error::Limit { .. })));
        assert!(matches!(strict.publish(&id("new"), &bundle(1)), Err(Error::Limit { .. })));
    }
    assert_eq!(store.publish(&id("new"), &bundle(1)).unwrap(), Published::New);
}
