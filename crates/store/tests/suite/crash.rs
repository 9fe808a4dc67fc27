//! A run killed at any step and started again ends as if nothing had happened.

use crate::support::{assert_sound, folder, publish};
use crate::unreliable::{Cut, Unreliable};
use futures::StreamExt;
use futures::executor::block_on;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use perennial_disk::Disk;
use perennial_disk::fault::{Fault, Faults, Survives};
use perennial_store::{AliasName, Error, Result, Retention, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Five periods of a run: publish, point `live` at it, collect. Every part can be repeated.
fn run(store: &Store) -> Result<()> {
    let live: AliasName = "live".parse()?;
    for n in 0..5 {
        let id = crate::support::id(&crate::support::name(n));
        store.publish(&id, &crate::support::bundle(n))?;
        let now = match store.alias(&live) {
            Ok(now) => Some(now),
            Err(Error::NoAlias { .. }) => None,
            Err(error) => return Err(error),
        };
        store.set_alias(&live, now.as_ref(), &id)?;
        store.gc(&Retention::default())?;
    }
    Ok(())
}

/// All files of a store but its locks, seen through `object_store` alone.
fn contents(bucket: &dyn ObjectStore) -> BTreeMap<String, Vec<u8>> {
    let listed: Vec<_> = block_on(bucket.list(None).collect());
    let mut files = BTreeMap::new();
    for meta in listed {
        let path = meta.unwrap().location;
        if !path.as_ref().starts_with("locks/") {
            let bytes = block_on(async { bucket.get(&path).await?.bytes().await }).unwrap();
            files.insert(path.to_string(), bytes.to_vec());
        }
    }
    files
}

fn on_disk(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    contents(&LocalFileSystem::new_with_prefix(folder).unwrap())
}

fn undisturbed() -> (usize, BTreeMap<String, Vec<u8>>) {
    let (folder, faults) = (folder(), Faults::none());
    run(&Store::on_disk(folder.path(), Disk::watched(faults.clone())).unwrap()).unwrap();
    (faults.steps(), on_disk(folder.path()))
}

#[test]
fn killed_at_any_step_of_the_disk() {
    let (steps, expected) = undisturbed();
    assert!(steps > 100, "{steps} steps: the run no longer tests much");
    for survives in [Survives::Everything, Survives::Names, Survives::Nothing] {
        for step in 0..steps {
            let folder = folder();
            let faults = Faults::at(step, Fault::PowerCut(survives));
            let cut = Store::on_disk(folder.path(), Disk::watched(faults)).and_then(|store| run(&store));
            assert!(cut.is_err(), "{survives:?}: step {step} was not cut");

            let store = Store::open(folder.path()).unwrap();
            assert_sound(&store);
            run(&store).unwrap();
            assert_eq!(on_disk(folder.path()), expected, "{survives:?}: step {step}");
        }
    }
}

/// What was reported done is still there when the power goes right after.
#[test]
fn acknowledged_means_durable() {
    let count = Faults::none();
    let counted = folder();
    publish(&Store::on_disk(counted.path(), Disk::watched(count.clone())).unwrap(), 0);
    let folder = folder();
    let faults = Faults::at(count.steps(), Fault::PowerCut(Survives::Nothing));
    let store = Store::on_disk(folder.path(), Disk::watched(faults)).unwrap();
    let id = publish(&store, 0);
    assert!(store.set_alias(&"live".parse().unwrap(), None, &id).is_err());
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.list("").unwrap(), [id]);
    assert_sound(&store);
}

/// A disk that fills up at any step: a clear error, a valid store, and the same command succeeds later.
#[test]
fn full_at_any_step_of_the_disk() {
    let (steps, expected) = undisturbed();
    let full = Fault::Error(std::io::ErrorKind::StorageFull);
    let mut refused = 0;
    for step in 0..steps {
        let folder = folder();
        match Store::on_disk(folder.path(), Disk::watched(Faults::at(step, full))).and_then(|store| run(&store)) {
            Ok(()) => {}
            Err(error) => {
                refused += 1;
                assert!(error.is_full() && error.to_string().contains("make room"), "step {step}: {error}");
            }
        }
        let store = Store::open(folder.path()).unwrap();
        assert_sound(&store);
        run(&store).unwrap();
        assert_eq!(on_disk(folder.path()), expected, "step {step}");
    }
    assert_eq!(refused, steps);
}

/// The same for a bucket, where a write may also arrive although its answer does not.
#[test]
fn killed_at_any_write_to_a_bucket() {
    let count = Unreliable::new(Arc::new(InMemory::new()), usize::MAX, Cut::Before);
    run(&Store::in_bucket(count.clone())).unwrap();
    let expected = contents(&*count);
    for cut in [Cut::Before, Cut::After] {
        for write in 0..count.writes() {
            let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let failing = Unreliable::new(bucket.clone(), write, cut);
            let killed = run(&Store::in_bucket(failing));
            // The very last write gives back a claim; nobody waits for its answer.
            assert!(killed.is_err() || write + 1 == count.writes(), "{cut:?}: write {write} was not cut");

            let store = Store::in_bucket(bucket.clone());
            assert_sound(&store);
            store.void_claims().unwrap();
            run(&store).unwrap();
            assert_eq!(contents(&*bucket), expected, "{cut:?}: write {write}");
        }
    }
}

#[test]
fn the_claim_of_a_dead_collector_can_be_ended() {
    let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = Store::in_bucket(bucket.clone());
    let id = publish(&store, 0);
    block_on(bucket.put(&"leases/alone".into(), Vec::new().into())).unwrap();
    let error = store.delete(&id).unwrap_err().to_string();
    assert!(error.contains("leases/alone claims it") && error.contains("void_claims"), "{error}");
    store.void_claims().unwrap();
    store.delete(&id).unwrap();
}
