//! What garbage collection takes and what it leaves.

use crate::support::{assert_sound, bundle, everywhere, folder, id, name, publish};
use perennial_store::{Error, Retention, Store, Swept};
use std::collections::BTreeSet;

#[test]
fn the_last_the_aliased_and_the_needed_stay() {
    everywhere(|store| {
        let versions: Vec<_> = (0..6).map(|n| publish(&store, n)).collect();
        store.publish(&id("other/0000"), &bundle(0)).unwrap();
        store.set_alias(&"live".parse().unwrap(), None, &versions[1]).unwrap();
        let retention = Retention { last: 2, keep: BTreeSet::from([versions[2].clone()]) };
        let preview = store.preview_gc(&retention).unwrap();
        let swept = store.gc(&retention).unwrap();
        assert_eq!(swept, preview);
        assert_eq!(swept.versions, [versions[0].clone(), versions[3].clone()]);
        // Version 0 lives on as other/0000; of version 3 only its own nine bytes of weights are not shared.
        assert_eq!((swept.objects, swept.bytes), (1, 9));
        let left: Vec<_> = store.list("").unwrap().iter().map(|id| id.to_string()).collect();
        assert_eq!(left, [&name(1), &name(2), &name(4), &name(5), "other/0000"]);
        assert_sound(&store);
        assert_eq!(store.gc(&retention).unwrap(), Swept::default());
    });
}

#[test]
fn objects_of_deleted_versions_go() {
    everywhere(|store| {
        let version = publish(&store, 0);
        assert_eq!(store.gc(&Retention::everything()).unwrap(), Swept::default());
        store.delete(&version).unwrap();
        assert_eq!(store.gc(&Retention::everything()).unwrap().objects, 3);
    });
}

/// The order is that of the data, not of the names: period 10 comes after period 9.
#[test]
fn the_last_is_the_one_that_learned_last() {
    everywhere(|store| {
        for n in [9, 10] {
            store.publish(&id(&format!("unpadded/{n}")), &bundle(n)).unwrap();
        }
        assert_eq!(store.gc(&Retention::default()).unwrap().versions, [id("unpadded/9")]);
    });
}

#[test]
fn leftovers_of_dead_writers_are_ignored_and_swept() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    publish(&store, 0);
    for path in ["objects/abc#123", "versions/chain/0007.manifest#1", "aliases/live#99"] {
        std::fs::create_dir_all(folder.path().join(path).parent().unwrap()).unwrap();
        std::fs::write(folder.path().join(path), b"half").unwrap();
    }
    assert_eq!(store.list("").unwrap().len(), 1);
    assert!(store.aliases().unwrap().is_empty());
    assert_eq!(store.gc(&Retention::everything()).unwrap(), Swept { leftovers: 3, ..Swept::default() });
    assert!(!folder.path().join("objects/abc#123").exists());
    assert_sound(&store);
}

#[test]
fn an_unreadable_manifest_stops_collection_until_its_version_is_deleted() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let (broken, whole) = (publish(&store, 0), publish(&store, 1));
    std::fs::write(folder.path().join("versions/chain/0000.manifest"), b"noise").unwrap();
    assert!(matches!(store.gc(&Retention::default()), Err(Error::DamagedFile { .. })));
    assert_eq!(store.list("").unwrap(), [broken.clone(), whole]);
    store.delete(&broken).unwrap();
    store.gc(&Retention::default()).unwrap();
    assert_sound(&store);
}
