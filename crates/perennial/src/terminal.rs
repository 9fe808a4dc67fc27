//! What a person, or a program, sees while something runs.

use crate::run::{Event, Watch};
use crate::split::{SplitEvent, SplitWatch};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use perennial_learn::SplitStep;
use serde_json::json;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How to show things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Progress bars and tables.
    Pretty,
    /// Results only.
    Quiet,
    /// JSON: progress lines on standard error, results on standard output.
    Json,
}

/// Standard output and standard error, with progress bars on the latter.
pub(crate) struct Terminal {
    mode: Mode,
    bar: ProgressBar,
    /// Why a result could not be printed, the first time.
    unprinted: Mutex<Option<std::io::Error>>,
}

impl Terminal {
    /// A terminal in this mode.
    pub(crate) fn new(mode: Mode) -> Terminal {
        let shown = mode == Mode::Pretty && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Terminal { mode, bar: ProgressBar::with_draw_target(Some(0), target), unprinted: Mutex::new(None) }
    }

    /// Whether results go out as JSON.
    pub(crate) fn json(&self) -> bool {
        self.mode == Mode::Json
    }

    /// Prints a result. A closed pipe is nobody's error; any other failure is [kept](Terminal::unprinted).
    #[allow(clippy::print_stdout, reason = "this is the one place where results are printed")]
    pub(crate) fn print(&self, text: &str) {
        self.bar.finish_and_clear();
        let mut out = std::io::stdout().lock();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        match write!(out, "{text}{end}").and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                self.unprinted.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            _ => {}
        }
    }

    /// Why a result could not be printed, if one could not.
    pub(crate) fn unprinted(&self) -> Option<std::io::Error> {
        self.unprinted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells a person something beside the results.
    pub(crate) fn note(&self, text: &str) {
        match self.mode {
            Mode::Pretty => self.bar.suspend(|| self.to_stderr(text)),
            Mode::Json => self.to_stderr(&json!({ "note": text }).to_string()),
            Mode::Quiet => {}
        }
    }

    /// Shows an error with all its causes.
    pub(crate) fn fail(&self, error: &anyhow::Error) {
        self.bar.finish_and_clear();
        let causes = causes(error);
        match self.mode {
            Mode::Json => self.to_stderr(&json!({ "error": causes }).to_string()),
            _ => self.to_stderr(&format!("error: {}", causes.join("\n  because: "))),
        }
    }

    /// Begins a bar of `length` units of `what`; also resets the rate.
    pub(crate) fn begin(&self, what: &str, length: u64) {
        let template = "{msg:.bold} {wide_bar:.cyan/dim} {human_pos}/{human_len} {per_sec:.dim} {eta:>4} left";
        let style = ProgressStyle::with_template(template).expect("the template is fixed").progress_chars("━╸─");
        self.bar.reset();
        self.bar.set_style(style);
        self.bar.set_length(length);
        self.bar.set_message(what.to_owned());
    }

    /// Moves the bar.
    pub(crate) fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Writes a line to standard error, whatever the mode.
    pub(crate) fn to_stderr(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// The message and its causes, without those that the message before already tells: many of our errors quote what the
/// system said.
fn causes(error: &anyhow::Error) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        if causes.last().is_none_or(|last| !last.contains(&cause)) {
            causes.push(cause);
        }
    }
    causes
}

/// Set by the first interrupt; the second ends the process at once.
static STOP: AtomicBool = AtomicBool::new(false);

/// From now on an interrupt asks to stop instead of ending the process. A second one ends it: every file is written
/// whole, so that is safe too.
///
/// Called when a run begins to prepare its log: from there on it answers within a batch of rows or a step. Before that,
/// and in every other command, an interrupt ends the process at once (a shell shows 130): logs and worlds are made
/// beside their place and named last, so nothing half-written passes for whole.
fn stop_on_interrupt() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let asked = || {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        };
        // Without the handler an interrupt ends the process, which is safe.
        let _ = ctrlc::set_handler(asked);
    });
}

impl Watch for Terminal {
    fn tell(&self, event: Event<'_>) {
        if let Event::Preparing { .. } = event {
            stop_on_interrupt();
        }
        match self.mode {
            Mode::Pretty => self.show(&event),
            Mode::Json => self.report(&event),
            Mode::Quiet => {}
        }
    }

    fn stop(&self) -> bool {
        STOP.load(Ordering::Relaxed)
    }
}

impl Terminal {
    fn show(&self, event: &Event<'_>) {
        match event {
            Event::Preparing { log } => self.begin(&format!("preparing {}", log.display()), 0),
            Event::Prepared { rows, of } => {
                self.bar.set_length(*of);
                self.at(*rows);
            }
            Event::Noted { text } => self.note(text),
            Event::Planned { periods } => self.begin("periods", *periods),
            Event::Training { method, seed, period, step, of } => {
                if step % 32 == 0 || step == of {
                    self.bar.set_message(format!("{method}/{seed} period {period}: step {step}/{of}"));
                }
            }
            Event::Scored { .. } => self.bar.inc(1),
            Event::Updated { .. } => self.bar.tick(),
        }
    }

    fn report(&self, event: &Event<'_>) {
        let line = match event {
            Event::Preparing { log } => json!({ "event": "preparing", "log": log }),
            Event::Noted { text } => return self.note(text),
            Event::Planned { periods } => json!({ "event": "planned", "periods": periods }),
            Event::Prepared { .. } | Event::Training { .. } => return,
            Event::Scored { method, seed, period, metrics } => {
                json!({ "event": "scored", "method": method, "seed": seed, "period": period, "metrics": metrics })
            }
            Event::Updated { method, seed, period, trained, seconds } => json!({
                "event": "updated", "method": method, "seed": seed, "period": period, "trained": trained,
                "seconds": seconds
            }),
        };
        self.to_stderr(&line.to_string());
    }
}

impl SplitWatch for Terminal {
    fn tell(&self, event: SplitEvent<'_>) {
        if let SplitEvent::Planned { .. } = event {
            stop_on_interrupt();
        }
        match self.mode {
            Mode::Pretty => self.show_split(&event),
            Mode::Json => self.report_split(&event),
            Mode::Quiet => {}
        }
    }

    fn stop(&self) -> bool {
        STOP.load(Ordering::Relaxed)
    }
}

impl Terminal {
    fn show_split(&self, event: &SplitEvent<'_>) {
        match event {
            SplitEvent::Reading { file, bytes: 0, of } => self.begin(&format!("reading {}", file.display()), *of),
            SplitEvent::Reading { bytes, .. } => self.at(*bytes),
            SplitEvent::Planned { .. } | SplitEvent::Finished { .. } => self.end(),
            SplitEvent::Training { method, seed, step: SplitStep { earlier, step, of } } => {
                if *step == 1 {
                    let what = earlier.map_or(String::new(), |(nth, of)| format!(", earlier model {nth} of {of}"));
                    self.begin(&format!("{method}/{seed}{what}"), *of);
                }
                self.at(*step);
            }
            SplitEvent::Epoch { method, seed, epoch } => {
                let [auc, loss] = ["auc", "log_loss"].map(|metric| epoch.valid.get(metric));
                let shown = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
                let valid = format!("valid AUC {} LogLoss {}", shown(auc), shown(loss));
                self.bar.set_message(format!("{method}/{seed} epoch {}: {valid}", epoch.epoch));
            }
        }
    }

    fn report_split(&self, event: &SplitEvent<'_>) {
        let line = match event {
            SplitEvent::Reading { .. } | SplitEvent::Training { .. } => return,
            SplitEvent::Planned { runs } => json!({ "event": "planned", "runs": runs }),
            SplitEvent::Epoch { method, seed, epoch } => {
                json!({ "event": "epoch", "method": method, "seed": seed, "epoch": epoch })
            }
            SplitEvent::Finished { method, run } => {
                json!({ "event": "finished", "method": method, "seed": run.seed, "seconds": run.seconds })
            }
        };
        self.to_stderr(&line.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let told = |error: anyhow::Error| causes(&error).join(" < ");
        assert_eq!(
            told(anyhow!("entity not found").context("nope.csv: entity not found")),
            "nope.csv: entity not found"
        );
        assert_eq!(
            told(anyhow!("entity not found").context("cannot read nope.csv")),
            "cannot read nope.csv < entity not found"
        );
        let deep = anyhow!("disk full").context("writing x: disk full").context("the run ended");
        assert_eq!(told(deep), "the run ended < writing x: disk full");
    }
}
