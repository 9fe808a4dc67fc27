//! A disk that is really full.

use crate::support::{assert_sound, bundle, id, publish};
use perennial_store::{Bundle, Store};
use std::process::Command;

const FOLDER: &str = "PERENNIAL_TEST_SMALL_DISK";

/// Mounts 256 KiB of memory in a namespace of its own and runs [`inside`] there. Where the system forbids that without
/// privileges, the injected faults of `crash.rs` have to do.
#[test]
#[cfg(target_os = "linux")]
fn a_small_disk_fills_up() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=256k tmpfs "$0" || exit 99; exec "$1" --exact --ignored full_disk::inside"#;
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .output();
    match status {
        Ok(output) if output.status.code() == Some(0) => {}
        Ok(output) if matches!(output.status.code(), Some(1 | 99)) => {
            eprintln!("skipped: no private mounts here: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output) => panic!("{}\n{}", output.status, String::from_utf8_lossy(&output.stdout)),
        Err(error) => eprintln!("skipped: no unshare here: {error}"),
    }
}

#[test]
#[ignore = "run by a_small_disk_fills_up"]
fn inside() {
    let store = Store::open(std::env::var(FOLDER).unwrap()).unwrap();
    let small = publish(&store, 0);
    let large = Bundle { objects: vec![("large".into(), vec![7; 1 << 20])], ..bundle(1) };
    let error = store.publish(&id("large"), &large).unwrap_err();
    assert!(error.is_full() && error.to_string().contains("make room"), "{error}");
    assert_eq!(store.list("").unwrap(), [small]);
    assert_sound(&store);
    publish(&store, 1);
}
