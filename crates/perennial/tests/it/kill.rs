//! The real process, killed at random moments: run again until it is done, the digest is that of a run never killed.

use crate::desk::killed_after;
use crate::world::{experiment_text, write_log};
use perennial::core::Stream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A method behind a gate that may open after every period.
const GATED: &str = r#"
    [[method]]
    name = "gated"
    strategy = { batch = { window = 2 } }
    gate = { window = 1, min_periods = 1, resamples = 100, promote = { margin = 0.0, confidence = 0.6 } }
"#;

fn command(experiment: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
    command.arg("run").arg(experiment).arg("--out").arg(out).args(["--json", "--workers", "2"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn results(out: &Path) -> perennial::core::Digest {
    let text = std::fs::read_to_string(out.join("results.json")).unwrap();
    perennial::eval::Results::from_json(&text).unwrap().digest()
}

/// `PERENNIAL_KILLS` says how many kills there must be; 12 if it does not.
#[test]
fn a_run_killed_at_random_moments_ends_with_the_same_digest() {
    let kills: usize = std::env::var("PERENNIAL_KILLS").map_or(12, |text| text.parse().unwrap());
    let log = write_log();
    let path = log.path().join("experiment.toml");
    std::fs::write(&path, experiment_text(log.path()) + GATED).unwrap();
    let undisturbed = log.path().join("undisturbed");
    let clock = Instant::now();
    assert!(command(&path, &undisturbed).status().unwrap().success());
    let whole = clock.elapsed();
    let expected = results(&undisturbed);
    let mut stream = Stream::new(&[17]);
    let mut killed = 0;
    for attempt in 0.. {
        let out = log.path().join(format!("killed-{attempt}"));
        loop {
            let wait = Duration::from_secs_f64(whole.as_secs_f64() * stream.unit_f64());
            if !killed_after(command(&path, &out).spawn().unwrap(), wait) {
                break;
            }
            killed += 1;
        }
        assert_eq!(results(&out), expected, "attempt {attempt} after {killed} kills");
        std::fs::remove_dir_all(&out).unwrap();
        if killed >= kills {
            break;
        }
    }
    println!("{killed} kills");
}
