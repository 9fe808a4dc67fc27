//! Races that are made to happen, at the worst moment.

use crate::support::{assert_sound, bundle, id, in_a_race, in_a_race_for_a_bucket, name, publish};
use perennial_store::{Error, Retention, Store};

/// A collector that comes when the objects are there and the manifest is not.
#[test]
fn a_collector_waits_for_a_publisher() {
    fn collect(store: &Store) {
        assert!(matches!(store.gc(&Retention::everything()), Err(Error::Busy { .. })));
    }
    in_a_race("versions/", collect, |store, other| {
        publish(store, 0);
        assert_eq!(other.list("").unwrap().len(), 1);
        assert_sound(other);
        other.gc(&Retention::everything()).unwrap();
    });
}

/// Another version of the same name, after we have looked and before we write.
#[test]
fn a_publisher_never_overwrites() {
    fn publish_another(store: &Store) {
        store.publish(&id(&name(0)), &bundle(7)).unwrap();
    }
    in_a_race("versions/", publish_another, |store, other| {
        let error = store.publish(&id(&name(0)), &bundle(0)).unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error}");
        assert_eq!(other.manifest(&id(&name(0))).unwrap().content, bundle(7).content);
    });
}

/// The same version, published by two at once: both succeed.
#[test]
fn two_publishers_of_the_same_agree() {
    in_a_race(
        "versions/",
        |store| drop(publish(store, 0)),
        |store, other| {
            publish(store, 0);
            assert_sound(other);
        },
    );
}

/// An alias that moves after we have read it and before we write. (On a disk, reading and writing share a lock.)
#[test]
fn an_alias_moved_meanwhile_stays_where_it_was_moved() {
    fn move_to_2(store: &Store) {
        store.set_alias(&"live".parse().unwrap(), Some(&id(&name(0))), &id(&name(2))).unwrap();
    }
    in_a_race_for_a_bucket("aliases/live", move_to_2, |store, other| {
        let live = "live".parse().unwrap();
        let versions: Vec<_> = (0..3).map(|n| publish(other, n)).collect();
        other.set_alias(&live, None, &versions[0]).unwrap();
        let error = store.set_alias(&live, Some(&versions[0]), &versions[1]).unwrap_err();
        assert!(matches!(&error, Error::AliasMoved { found: Some(found), .. } if *found == versions[2]), "{error}");
        assert_eq!(other.alias(&live).unwrap(), versions[2]);
    });
}
