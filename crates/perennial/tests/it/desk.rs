//! The program as a person calls it: a command line given in a folder of its own.

use assert_cmd::Command;
use perennial::eval::Results;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A folder in which commands are given.
pub(crate) struct Desk {
    folder: TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        Desk { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Gives a command, words separated by spaces; one that takes minutes is stopped.
    pub(crate) fn call(&self, line: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
        command.current_dir(self.folder.path()).args(line.split_whitespace()).timeout(Duration::from_secs(600));
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// A command that must succeed.
    #[track_caller]
    pub(crate) fn done(&self, line: &str) -> Said {
        let said = self.call(line);
        assert_eq!(said.code, 0, "perennial {line}: {said:?}");
        said
    }

    /// A command that must fail with exit code 1 and a message that holds all of `parts`, and nothing on standard
    /// output.
    #[track_caller]
    pub(crate) fn refused(&self, line: &str, parts: &[&str]) {
        let said = self.call(line);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "perennial {line}: {said:?}");
        assert!(said.err.starts_with("error: "), "perennial {line}: {}", said.err);
        for part in parts {
            assert!(said.err.contains(part), "perennial {line}: expected \"{part}\" in: {}", said.err);
        }
    }

    /// A command that must succeed and never hold more than `most` bytes; how many it held, and for how long it ran.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn done_within(&self, line: &str, most: u64) -> (u64, Duration) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_perennial"));
        command.current_dir(self.folder.path()).args(line.split_whitespace());
        let clock = std::time::Instant::now();
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        let mut peak = 0;
        let status = loop {
            peak = peak_memory(child.id()).unwrap_or(peak);
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert!(status.success(), "perennial {line}");
        assert!(peak > 0, "perennial {line} was never seen running");
        assert!(peak <= most, "perennial {line} took {} MiB, {} are allowed", peak >> 20, most >> 20);
        (peak, clock.elapsed())
    }

    /// The results in the folder of a finished run.
    pub(crate) fn results(&self, run: &str) -> Results {
        Results::from_json(&std::fs::read_to_string(self.path(run).join("results.json")).unwrap()).unwrap()
    }
}

/// The high-water mark of a running process in bytes.
#[cfg(target_os = "linux")]
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// Lets a process run for a while and kills it, so that it gets no chance to tidy up; whether it came to that. One that ends by
/// itself must have done what it was asked to.
#[track_caller]
pub(crate) fn killed_after(mut child: std::process::Child, wait: Duration) -> bool {
    std::thread::sleep(wait);
    if let Some(status) = child.try_wait().unwrap() {
        assert!(status.success(), "it was not killed, and ended with {status}");
        return false;
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.success() || status.code().is_none(), "it was not killed, and ended with {status}");
    !status.success()
}
