//! Faults at the write points of a log and a run on it: made again, all is as without faults.

use crate::world::{Left, experiment, left_by, run_on, write_log_on};
use perennial::disk::fault::{Fault, Faults, Survives};
use perennial::disk::{Disk, Step, Watch};
use perennial::world::TRUTH_FILE;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Where each step was made.
#[derive(Default)]
struct Places(Mutex<Vec<PathBuf>>);

impl Watch for Places {
    fn before(&self, step: Step<'_>) -> std::io::Result<()> {
        self.0.lock().unwrap().push(step.path().to_owned());
        Ok(())
    }
}

/// Writes the log unless it is there, and runs an experiment on it that keeps its scores.
fn log_and_run(folder: &Path, disk: &Disk) -> anyhow::Result<Left> {
    if !folder.join(TRUTH_FILE).exists() {
        write_log_on(disk, folder)?;
    }
    let mut experiment = experiment(folder);
    experiment.keep.scores = true;
    let out = folder.join("out");
    let outcome = run_on(&experiment, &out, 1, disk.clone())?;
    Ok(left_by(&out, &outcome))
}

/// Steps by the folder that they change something in, such as `log` and `out/store`.
fn by_area(folder: &Path, places: &[PathBuf]) -> BTreeMap<PathBuf, Vec<usize>> {
    let mut areas: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
    for (step, place) in places.iter().enumerate() {
        let place = place.strip_prefix(folder).unwrap_or(Path::new(""));
        let depth = if place.starts_with("out") { 2 } else { 1 };
        areas.entry(place.components().take(depth).collect()).or_default().push(step);
    }
    areas
}

/// Every point is cut with `PERENNIAL_FAULTS=all`; otherwise up to six spread over each area, some fifty.
fn to_cut(areas: BTreeMap<PathBuf, Vec<usize>>) -> Vec<usize> {
    let all = std::env::var("PERENNIAL_FAULTS").is_ok_and(|value| value == "all");
    let some = |steps: Vec<usize>| {
        let stride = if all { 1 } else { steps.len().div_ceil(6) };
        steps.into_iter().step_by(stride)
    };
    areas.into_values().flat_map(some).collect()
}

#[test]
fn a_run_cut_at_any_write_point_ends_with_the_same_digests() {
    let folder = tempfile::tempdir().unwrap();
    let places = Arc::new(Places::default());
    let undisturbed = folder.path().join("undisturbed");
    let expected = log_and_run(&undisturbed, &Disk::watched(places.clone())).unwrap();
    assert!(!expected.scores.is_empty());
    let places = places.0.lock().unwrap();
    let areas = by_area(&undisturbed, &places);
    for area in ["log", TRUTH_FILE, "out/prepared", "out/scores", "out/store", "out/ledger", "out/results.json"] {
        assert!(areas.keys().any(|name| name.starts_with(area)), "{area} is not among {:?}", areas.keys());
    }
    let points = to_cut(areas);
    println!("{} write points, {} are cut", places.len(), points.len());
    let faults = [
        Fault::PowerCut(Survives::Everything),
        Fault::PowerCut(Survives::Names),
        Fault::PowerCut(Survives::Nothing),
        Fault::Error(std::io::ErrorKind::StorageFull),
    ];
    for (nth, point) in points.into_iter().enumerate() {
        let folder = folder.path().join(format!("cut-{point}"));
        let fault = faults[nth % faults.len()];
        let cut = log_and_run(&folder, &Disk::watched(Faults::at(point, fault)));
        if let Ok(left) = &cut {
            // Nothing but tidying up can have failed.
            assert_eq!(*left, expected, "{fault:?} at write point {point}");
        }
        assert!(cut.is_err() || matches!(fault, Fault::Error(_)), "nothing can be written without power");
        let left = log_and_run(&folder, &Disk::default()).unwrap_or_else(|error| {
            panic!("{fault:?} at write point {point} ({}): {error:#}", places[point].display())
        });
        assert_eq!(left, expected, "{fault:?} at write point {point} ({})", places[point].display());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
