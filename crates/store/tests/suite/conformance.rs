//! One suite for every place.

use crate::support::{assert_sound, bundle, everywhere, id, name, publish};
use perennial_core::Digest;
use perennial_store::{Bundle, Change, Error, Published, Retention, Store};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_version_comes_back_as_it_was() {
    everywhere(|store| {
        let id = publish(&store, 3);
        let mut loaded = store.load(&id).unwrap();
        let bundle = bundle(3);
        assert_eq!(loaded.manifest.lineage, bundle.lineage);
        assert_eq!(loaded.manifest.content, bundle.content);
        assert_eq!(loaded.manifest.bytes(), bundle.objects.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
        for (name, bytes) in &bundle.objects {
            assert_eq!(loaded.object(name).unwrap(), bytes);
            assert_eq!(store.load_object(&loaded.manifest, name).unwrap(), *bytes);
            assert_eq!(&loaded.take(name).unwrap(), bytes);
        }
        let error = store.load_object(&loaded.manifest, "absent").unwrap_err().to_string();
        assert!(error.contains("no object \"absent\"; it holds dense.safetensors, schema.toml"), "{error}");
    });
}

#[test]
fn versions_never_change() {
    everywhere(|store| {
        let id = id("a/1");
        assert_eq!(store.publish(&id, &bundle(1)).unwrap(), Published::New);
        assert_eq!(store.publish(&id, &bundle(1)).unwrap(), Published::Same);
        let error = store.publish(&id, &bundle(2)).unwrap_err();
        assert!(matches!(&error, Error::Conflict { stored, offered, .. }
            if *stored == bundle(1).content && *offered == bundle(2).content));
        assert!(error.to_string().contains(&bundle(2).content.to_string()), "{error}");
        assert_eq!(store.load(&id).unwrap().object("dense.safetensors").unwrap(), b"weights 1");
    });
}

#[test]
fn bundles_that_cannot_be_published_are_refused() {
    everywhere(|store| {
        for names in [&["a", "a"][..], &["../a"], &["/etc/passwd"], &[""]] {
            let objects = names.iter().map(|name| ((*name).to_owned(), vec![])).collect();
            assert!(store.publish(&id("v"), &Bundle { objects, ..bundle(0) }).is_err(), "{names:?}");
        }
        assert!(store.list("").unwrap().is_empty());
    });
}

#[test]
fn an_empty_bundle_and_an_empty_object_are_fine() {
    everywhere(|store| {
        store.publish(&id("none"), &Bundle { objects: vec![], ..bundle(0) }).unwrap();
        store.publish(&id("empty"), &Bundle { objects: vec![("o".into(), vec![])], ..bundle(0) }).unwrap();
        assert_eq!(store.load(&id("empty")).unwrap().object("o").unwrap(), b"");
        assert_sound(&store);
    });
}

#[test]
fn lists_by_prefix_in_order() {
    everywhere(|store| {
        assert!(store.list("").unwrap().is_empty());
        for name in ["b/2", "a", "b/1", "b/10", "ab"] {
            store.publish(&id(name), &bundle(0)).unwrap();
        }
        let listed = |prefix| store.list(prefix).unwrap().iter().map(|id| id.to_string()).collect::<Vec<_>>();
        assert_eq!(listed(""), ["a", "ab", "b/1", "b/10", "b/2"]);
        assert_eq!(listed("a"), ["a", "ab"]);
        assert_eq!(listed("b/1"), ["b/1", "b/10"]);
        assert!(matches!(store.load(&id("b/3")), Err(Error::NoVersion { .. })));
    });
}

#[test]
fn aliases_move_only_from_where_they_were_seen() {
    everywhere(|store| {
        let (live, one, two) = ("live".parse().unwrap(), publish(&store, 1), publish(&store, 2));
        assert!(matches!(store.alias(&live), Err(Error::NoAlias { .. })));
        assert!(matches!(store.set_alias(&live, None, &id("absent")), Err(Error::NoVersion { .. })));
        store.set_alias(&live, None, &one).unwrap();
        let error = store.set_alias(&live, None, &two).unwrap_err().to_string();
        assert!(error.contains("expected to be absent, but is at \"chain/0001\""), "{error}");
        assert!(store.set_alias(&live, Some(&two), &two).is_err());
        assert_eq!(store.alias(&live).unwrap(), one);
        store.set_alias(&live, Some(&one), &two).unwrap();
        assert_eq!(store.aliases().unwrap().into_iter().collect::<Vec<_>>(), [(live.clone(), two.clone())]);
        assert!(matches!(store.delete(&two), Err(Error::InUse { .. })));
        store.remove_alias(&live).unwrap();
        store.delete(&two).unwrap();
        assert!(matches!(store.delete(&two), Err(Error::NoVersion { .. })));
    });
}

/// Of many who move an alias from the same place, one does.
#[test]
fn alias_races_have_one_winner() {
    everywhere(|store| {
        let live = "live".parse().unwrap();
        let versions: Vec<_> = (0..4).map(|n| publish(&store, n)).collect();
        for expected in [None, Some(&versions[0])] {
            let winners = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for new in &versions[1..] {
                    scope.spawn(|| match store.set_alias(&live, expected, new) {
                        Ok(()) => drop(winners.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => assert!(matches!(error, Error::AliasMoved { .. }), "{error}"),
                    });
                }
            });
            assert_eq!(winners.into_inner(), 1);
            store.set_alias(&live, Some(&store.alias(&live).unwrap()), &versions[0]).unwrap();
        }
    });
}

/// Of many who publish under one name, one does; the others are told what is there.
#[test]
fn publish_races_have_one_winner() {
    everywhere(|store| {
        let results: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..4)
                .map(|n| {
                    scope.spawn({
                        let store = &store;
                        move || store.publish(&id("v"), &bundle(n))
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| matches!(result, Ok(Published::New))).count(), 1);
        assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::Conflict { .. }))).count(), 3);
        assert_sound(&store);
    });
}

/// Versions whose objects are the very ones that the collector is about to take.
#[test]
fn nothing_that_is_being_published_is_collected() {
    everywhere(|store| {
        std::thread::scope(|scope| {
            let publishers: Vec<_> = (0..2)
                .map(|k| {
                    scope.spawn({
                        let store = &store;
                        move || churn(store, k)
                    })
                })
                .collect();
            while publishers.iter().any(|publisher| !publisher.is_finished()) {
                match store.gc(&Retention::default()) {
                    Ok(_) | Err(Error::Busy { .. }) => std::thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        store.gc(&Retention::default()).unwrap();
        assert_eq!(store.list("").unwrap().len(), 2);
        assert_sound(&store);
    });
}

fn churn(store: &Store, k: u64) {
    for round in 0..20 {
        let id = id(&format!("churn{k}/{round:02}"));
        let bundle = Bundle { content: Digest::of_bytes(&[k as u8, round]), ..bundle(0) };
        store.publish(&id, &bundle).unwrap();
        // Only the last of the group is kept, and that is this one until the next round.
        store.load(&id).unwrap();
    }
}

#[test]
fn differences_are_named() {
    everywhere(|store| {
        let (two, three) = (publish(&store, 2), publish(&store, 3));
        let diff = store.diff(&two, &three).unwrap();
        assert!(!diff.same_content);
        assert_eq!((diff.shared, diff.shared_bytes), (2, 313)); // 13 bytes of schema and 300 of table
        assert_eq!(diff.objects.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["dense.safetensors"]);
        let parent = Change::Changed(format!("\"{}\"", name(1)), format!("\"{}\"", name(2)));
        assert_eq!(diff.lineage["parent"], parent);
        assert_eq!(diff.lineage["data.start"], Change::Changed("20".into(), "30".into()));
        assert!(!diff.lineage.contains_key("strategy"));
        let same = store.diff(&two, &two).unwrap();
        assert!(same.same_content && same.objects.is_empty() && same.lineage.is_empty());
        store.publish(&id("less"), &Bundle { objects: vec![], ..bundle(2) }).unwrap();
        let less = store.diff(&two, &id("less")).unwrap();
        assert!(less.objects.len() == 3 && less.objects.values().all(|change| matches!(change, Change::Removed(_))));
    });
}
