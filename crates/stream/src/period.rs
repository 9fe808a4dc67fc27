//! Test, then train, by type: a period must be scored before anything can be trained on it.
//!
//! ```text
//! FreshPeriod ── scored by all who take part ──► AwaitingPeriod + Receipt ── Timeline::close ──► SeenPeriod
//!       └────────── rescored_by(Receipt), after a crash ──────┘
//! ```
//!
//! Only a [`SeenPeriod`] shows labels to a strategy. There is no way from a fresh period to a seen one but through
//! scoring, and no way to make a seen one by hand:
//!
//! ```compile_fail,E0308
//! use perennial_stream::period::{FreshPeriod, SeenPeriod};
//! fn train(_: &SeenPeriod) {}
//! fn cheat(fresh: FreshPeriod) { train(&fresh) }
//! ```
//! ```compile_fail,E0451
//! use perennial_stream::period::{FreshPeriod, SeenPeriod};
//! fn cheat(fresh: FreshPeriod) -> SeenPeriod { SeenPeriod { index: 0, parts: vec![] } }
//! ```
//! ```compile_fail,E0616
//! use perennial_stream::period::FreshPeriod;
//! fn cheat(fresh: FreshPeriod) -> Vec<f32> { fresh.outcome.label }
//! ```
//! ```compile_fail,E0277
//! use perennial_stream::period::{AwaitingPeriod, SeenPeriod};
//! fn cheat(awaiting: AwaitingPeriod) -> SeenPeriod { awaiting.into() }
//! ```
//! A period is closed once:
//! ```compile_fail,E0382
//! use perennial_stream::period::{AwaitingPeriod, Timeline};
//! fn twice(timeline: &mut Timeline, period: AwaitingPeriod) {
//!     timeline.close(period).unwrap();
//!     timeline.close(period).unwrap();
//! }
//! ```

use crate::error::{Result, StreamError};
use perennial_core::{Digest, DigestBuilder, Examples, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A period that nothing has scored yet. Its labels are put away until it has been.
#[derive(Debug)]
pub struct FreshPeriod {
    index: usize,
    end: Timestamp,
    blind: Examples,
    outcome: Outcome,
}

/// What scorers are given: all of a period but its labels.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a>(&'a Examples);

/// What came of a period's examples, one entry per example. For evaluation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// 0 or 1; NaN where no label ever became observable.
    pub label: Vec<f32>,
    /// Weights in metrics.
    pub weight: Vec<f32>,
    /// When the label became observable.
    pub observable: Vec<Timestamp>,
}

/// A fresh period while it is being scored.
#[derive(Debug)]
pub struct Scoring {
    fresh: FreshPeriod,
    scorers: Vec<Scorer>,
}

/// A scored period whose labels may now be looked at by evaluation, and wait to be learned from.
#[derive(Debug)]
pub struct AwaitingPeriod {
    index: usize,
    end: Timestamp,
    examples: Arc<Examples>,
}

/// Proof that a period was scored, and by whom. Written to the ledger, it rebuilds the period's state after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Index of the period.
    pub period: usize,
    /// Number of its examples.
    pub rows: usize,
    /// Digest of their event ids, in order.
    pub events: Digest,
    /// Who scored it, in order.
    pub scorers: Vec<Scorer>,
}

/// One scorer's entry in a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scorer {
    /// Name of the scorer.
    pub name: String,
    /// Digest of the version that scored.
    pub version: Digest,
    /// Digest of its logits, bit for bit.
    pub logits: Digest,
}

impl FreshPeriod {
    /// The period of this index, which closes at `end` (exclusive).
    ///
    /// Takes the labels out of `examples` without copying the rest, if nobody else holds them.
    pub fn new(index: usize, end: Timestamp, examples: Arc<Examples>) -> FreshPeriod {
        let mut blind = Arc::unwrap_or_clone(examples);
        let rows = blind.len();
        let outcome = Outcome {
            label: std::mem::replace(&mut blind.label, vec![f32::NAN; rows]),
            weight: std::mem::replace(&mut blind.weight, vec![1.0; rows]),
            observable: std::mem::replace(&mut blind.observable, vec![Timestamp(i64::MAX); rows]),
        };
        FreshPeriod { index, end, blind, outcome }
    }

    /// Index of the period.
    pub fn index(&self) -> usize {
        self.index
    }

    /// All of the period but its labels.
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs(&self.blind)
    }

    /// Begins the scoring of the period.
    pub fn scoring(self) -> Scoring {
        Scoring { fresh: self, scorers: Vec::new() }
    }

    /// The period as it stood after it had been scored. Fails if the receipt is of other rows, or of no scorer.
    pub fn rescored_by(self, receipt: &Receipt) -> Result<AwaitingPeriod> {
        let events = events_digest(&self.blind);
        if (self.index, self.blind.len(), events) != (receipt.period, receipt.rows, receipt.events) {
            return Err(StreamError::Period {
                period: self.index,
                problem: format!(
                    "the receipt is for period {} with {} rows and events {}; this one has {} rows and events {}: \
                     was the log prepared with other settings?",
                    receipt.period,
                    receipt.rows,
                    receipt.events.short(),
                    self.blind.len(),
                    events.short()
                ),
            });
        }
        if receipt.scorers.is_empty() {
            return Err(unscored(self.index));
        }
        Ok(self.reveal())
    }

    fn reveal(self) -> AwaitingPeriod {
        let FreshPeriod { index, end, blind, outcome: Outcome { label, weight, observable } } = self;
        AwaitingPeriod { index, end, examples: Arc::new(Examples { label, weight, observable, ..blind }) }
    }
}

impl<'a> Inputs<'a> {
    /// The examples with every label NaN, every weight 1 and no label ever observable.
    pub fn examples(self) -> &'a Examples {
        self.0
    }
}

impl Scoring {
    /// All of the period but its labels.
    pub fn inputs(&self) -> Inputs<'_> {
        self.fresh.inputs()
    }

    /// Lets one scorer, here its `version`, give a logit for each example, and hands them back.
    ///
    /// Fails if `scorer` fails, gives another number of logits than there are examples, or gives a NaN.
    pub fn score<E: From<StreamError>>(
        &mut self,
        name: &str,
        version: Digest,
        scorer: impl FnOnce(Inputs<'_>) -> Result<Vec<f32>, E>,
    ) -> Result<Vec<f32>, E> {
        let logits = scorer(self.inputs())?;
        self.check(name, &logits)?;
        let digest = DigestBuilder::new("logits").f32s(&logits).finish();
        self.scorers.push(Scorer { name: name.to_owned(), version, logits: digest });
        Ok(logits)
    }

    /// Ends the scoring: labels are revealed, and the receipt says who scored. Fails if nobody did.
    pub fn finish(self) -> Result<(AwaitingPeriod, Receipt)> {
        if self.scorers.is_empty() {
            return Err(unscored(self.fresh.index));
        }
        let receipt = Receipt {
            period: self.fresh.index,
            rows: self.fresh.blind.len(),
            events: events_digest(&self.fresh.blind),
            scorers: self.scorers,
        };
        Ok((self.fresh.reveal(), receipt))
    }

    fn check(&self, name: &str, logits: &[f32]) -> Result<()> {
        let rows = self.fresh.blind.len();
        let refuse = |problem| Err(StreamError::Period { period: self.fresh.index, problem });
        if logits.len() != rows {
            return refuse(format!("\"{name}\" gave {} logits for {rows} examples", logits.len()));
        }
        match logits.iter().position(|logit| logit.is_nan()) {
            Some(row) => {
                refuse(format!("\"{name}\" gave NaN for example {row} (event {})", self.fresh.blind.event[row]))
            }
            None => Ok(()),
        }
    }
}

impl AwaitingPeriod {
    /// Index of the period.
    pub fn index(&self) -> usize {
        self.index
    }

    /// When the period closes, exclusive.
    pub fn end(&self) -> Timestamp {
        self.end
    }

    /// Keeps what the version in service scored, `logits[i]` for example i, to be learned from with the labels. Fails if
    /// these are not as many as there are examples.
    pub fn with_scores(self, logits: Vec<f32>) -> Result<AwaitingPeriod> {
        let rows = self.examples.len();
        if logits.len() != rows {
            let problem = format!("{} served scores for {rows} examples", logits.len());
            return Err(StreamError::Period { period: self.index, problem });
        }
        let examples = Examples { previous: logits, ..Arc::unwrap_or_clone(self.examples) };
        Ok(AwaitingPeriod { examples: Arc::new(examples), ..self })
    }

    /// Labels and all else that metrics need. Not for learning: a strategy takes a [`SeenPeriod`].
    pub fn outcome(&self) -> &Examples {
        &self.examples
    }
}

/// What may be learned from when a period has closed.
///
/// For period t these are all examples whose label became observable before t's end and that were in no earlier seen
/// period; without label delay exactly the labelled examples of t itself.
#[derive(Debug, Clone)]
pub struct SeenPeriod {
    index: usize,
    parts: Vec<Arc<Examples>>,
}

impl SeenPeriod {
    /// The periods before the loop begins, which nothing scores: `parts` in order, the last of them being period
    /// `index`, which closes at `end`. Labels that are not observable by then are left to the timeline.
    pub fn pretraining(index: usize, end: Timestamp, parts: Vec<Arc<Examples>>) -> (SeenPeriod, Timeline) {
        let mut timeline = Timeline { next: index + 1, waiting: parts.into_iter().map(Waiting::all).collect() };
        let seen = timeline.seen(index, end);
        (seen, timeline)
    }

    /// The training half of a static split, where time does not matter: all labelled examples of `parts`.
    pub fn static_split(parts: Vec<Arc<Examples>>) -> SeenPeriod {
        SeenPeriod::pretraining(0, Timestamp(i64::MAX), parts).0
    }

    /// Index of the period that closed last.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The examples: oldest period first, each in order of time. Parts have their own lists of keys.
    pub fn parts(&self) -> &[Arc<Examples>] {
        &self.parts
    }

    /// The same examples with other earlier scores: a logit for each example of each part, by `score`.
    pub fn rescored<E>(&self, mut score: impl FnMut(&Examples) -> Result<Vec<f32>, E>) -> Result<SeenPeriod, E> {
        let part = |part: &Arc<Examples>| {
            let previous = score(part)?;
            debug_assert_eq!(previous.len(), part.len(), "a logit for each example");
            Ok(Arc::new(Examples { previous, ..(**part).clone() }))
        };
        Ok(SeenPeriod { index: self.index, parts: self.parts.iter().map(part).collect::<Result<_, E>>()? })
    }

    /// The examples that `keep` says of a part and a position in it.
    pub fn filtered(&self, keep: impl Fn(&Examples, usize) -> bool) -> SeenPeriod {
        let part = |part: &Arc<Examples>| {
            let index: Vec<u32> = (0..part.len() as u32).filter(|&i| keep(part, i as usize)).collect();
            Arc::new(part.select(&index))
        };
        SeenPeriod { index: self.index, parts: self.parts.iter().map(part).collect() }
    }

    /// Changes every earlier score.
    pub fn each_previous(&mut self, change: impl Fn(&mut f32)) {
        for part in &mut self.parts {
            Arc::make_mut(part).previous.iter_mut().for_each(&change);
        }
    }

    /// Number of examples.
    pub fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

/// Closes periods one after the other and keeps the examples whose labels are still to come.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    next: usize,
    waiting: Vec<Waiting>,
}

/// Examples of which some were not seen yet.
#[derive(Debug, Clone)]
struct Waiting {
    examples: Arc<Examples>,
    /// The rows whose label exists and was not seen, in order.
    rows: Vec<u32>,
}

impl Timeline {
    /// Closes a scored period: what can be learned now.
    ///
    /// Fails if it is not the period after the one that was closed last.
    pub fn close(&mut self, period: AwaitingPeriod) -> Result<SeenPeriod> {
        if period.index != self.next {
            return Err(StreamError::Period {
                period: period.index,
                problem: format!("closed out of turn: expected period {}", self.next),
            });
        }
        self.next += 1;
        self.waiting.push(Waiting::all(period.examples));
        Ok(self.seen(period.index, period.end))
    }

    /// Number of labelled examples that no seen period held yet.
    pub fn waiting(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.rows.len()).sum()
    }

    fn seen(&mut self, index: usize, end: Timestamp) -> SeenPeriod {
        let parts = self.waiting.iter_mut().filter_map(|waiting| waiting.take(end)).collect();
        self.waiting.retain(|waiting| !waiting.rows.is_empty());
        SeenPeriod { index, parts }
    }
}

impl Waiting {
    fn all(examples: Arc<Examples>) -> Waiting {
        let rows = (0..examples.len() as u32).filter(|&row| !examples.label[row as usize].is_nan()).collect();
        Waiting { examples, rows }
    }

    /// Takes out the rows whose label is observable before `end`.
    fn take(&mut self, end: Timestamp) -> Option<Arc<Examples>> {
        let observable = |&row: &u32| self.examples.observable[row as usize] < end;
        let (now, later): (Vec<u32>, Vec<u32>) = self.rows.iter().partition(|row| observable(row));
        self.rows = later;
        match now.len() {
            0 => None,
            all if all == self.examples.len() => Some(self.examples.clone()),
            _ => Some(Arc::new(self.examples.select(&now))),
        }
    }
}

fn events_digest(examples: &Examples) -> Digest {
    let mut digest = DigestBuilder::new("events");
    for &event in &examples.event {
        digest.u64(event);
    }
    digest.finish()
}

fn unscored(period: usize) -> StreamError {
    StreamError::Period { period, problem: "nothing scored it; a period is scored before it is learned from".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::Column;

    /// Examples named by their position, given (time, label, observable).
    fn examples(rows: &[(i64, f32, i64)]) -> Arc<Examples> {
        Arc::new(Examples {
            keys: vec![vec![7]],
            columns: vec![Column::Id(vec![0; rows.len()])],
            label: rows.iter().map(|row| row.1).collect(),
            weight: vec![2.0; rows.len()],
            time: rows.iter().map(|row| Timestamp(row.0)).collect(),
            observable: rows.iter().map(|row| Timestamp(row.2)).collect(),
            event: rows.iter().map(|row| row.0 as u64).collect(),
            user: vec![1; rows.len()],
            item: vec![7; rows.len()],
            ..Examples::default()
        })
    }

    fn version() -> Digest {
        Digest::of_bytes(b"v")
    }

    fn scored(fresh: FreshPeriod) -> (AwaitingPeriod, Receipt) {
        let mut scoring = fresh.scoring();
        scoring.score("zero", version(), |inputs| Ok::<_, StreamError>(vec![0.0; inputs.examples().len()])).unwrap();
        scoring.finish().unwrap()
    }

    fn events(seen: &SeenPeriod) -> Vec<u64> {
        seen.parts().iter().flat_map(|part| part.event.clone()).collect()
    }

    #[test]
    fn scorers_see_no_label_and_nothing_is_lost() {
        let original = examples(&[(1, 1.0, 1), (2, 0.0, 5)]);
        let fresh = FreshPeriod::new(3, Timestamp(10), original.clone());
        let blind = fresh.inputs().examples();
        assert!(blind.label.iter().all(|label| label.is_nan()));
        assert_eq!(blind.weight, [1.0, 1.0]);
        assert_eq!(blind.observable, [Timestamp(i64::MAX); 2]);
        assert_eq!((&blind.columns, &blind.event), (&original.columns, &original.event));
        assert_eq!(scored(fresh).0.outcome(), &*original);
    }

    #[test]
    fn wrong_scores_are_refused() {
        let refused = |logits: Vec<f32>, expected: &str| {
            let mut scoring = FreshPeriod::new(0, Timestamp(10), examples(&[(1, 1.0, 1), (2, 0.0, 2)])).scoring();
            let error = scoring.score("bad", version(), |_| Ok::<_, StreamError>(logits)).unwrap_err();
            assert!(error.to_string().contains(expected), "got: {error}");
            assert!(scoring.finish().is_err(), "a refused scorer is no scorer");
        };
        refused(vec![0.0], "1 logits for 2 examples");
        refused(vec![0.0, f32::NAN], "NaN for example 1 (event 2)");
    }

    #[test]
    fn a_receipt_rebuilds_only_the_period_it_is_for() {
        let rows = [(1, 1.0, 1), (2, 0.0, 2)];
        let (awaiting, receipt) = scored(FreshPeriod::new(0, Timestamp(10), examples(&rows)));
        let stored: Receipt = serde_json::from_str(&serde_json::to_string(&receipt).unwrap()).unwrap();
        let again = FreshPeriod::new(0, Timestamp(10), examples(&rows)).rescored_by(&stored).unwrap();
        assert_eq!(again.outcome(), awaiting.outcome());

        let refused = |fresh: FreshPeriod, receipt: &Receipt| assert!(fresh.rescored_by(receipt).is_err());
        refused(FreshPeriod::new(1, Timestamp(10), examples(&rows)), &receipt);
        refused(FreshPeriod::new(0, Timestamp(10), examples(&rows[..1])), &receipt);
        refused(FreshPeriod::new(0, Timestamp(10), examples(&[(1, 1.0, 1), (3, 0.0, 2)])), &receipt);
        let unsigned = Receipt { scorers: vec![], ..receipt };
        refused(FreshPeriod::new(0, Timestamp(10), examples(&rows)), &unsigned);
    }

    #[test]
    fn without_delay_a_seen_period_is_the_period_itself() {
        let period = examples(&[(1, 1.0, 1), (9, 0.0, 9)]);
        let (awaiting, _) = scored(FreshPeriod::new(0, Timestamp(10), period.clone()));
        let kept = awaiting.examples.clone();
        let seen = Timeline::default().close(awaiting).unwrap();
        assert_eq!(seen.parts().len(), 1);
        assert!(Arc::ptr_eq(&seen.parts()[0], &kept), "nothing is copied");
        assert_eq!(*kept, *period);
    }

    /// Delay 5, periods [0, 10), [10, 20), [20, 30); event = time. 4 is observable at 9, 5 at 10 (which is not before
    /// the end of period 0), 7 at 12, 14 at 19, 16 at 21. Event 8 never gets a label.
    #[test]
    fn late_labels_arrive_in_a_later_period() {
        let first = examples(&[(4, 1.0, 9), (5, 0.0, 10), (7, 1.0, 12), (8, f32::NAN, i64::MAX)]);
        let second = examples(&[(14, 1.0, 19), (16, 0.0, 21)]);
        let mut timeline = Timeline::default();
        let mut close = |index: usize, end, rows: &Arc<Examples>| {
            let seen = timeline.close(scored(FreshPeriod::new(index, Timestamp(end), rows.clone())).0).unwrap();
            (events(&seen), timeline.waiting())
        };
        assert_eq!(close(0, 10, &first), (vec![4], 2));
        assert_eq!(close(1, 20, &second), (vec![5, 7, 14], 1));
        assert_eq!(close(2, 30, &examples(&[])), (vec![16], 0));
    }

    #[test]
    fn pretraining_leaves_late_labels_to_the_loop() {
        let parts = vec![examples(&[(4, 1.0, 25)]), examples(&[(11, 1.0, 16)])];
        let (seen, mut timeline) = SeenPeriod::pretraining(1, Timestamp(20), parts.clone());
        assert_eq!((seen.index(), events(&seen)), (1, vec![11]));
        let out_of_turn = scored(FreshPeriod::new(1, Timestamp(30), examples(&[]))).0;
        assert!(timeline.close(out_of_turn).unwrap_err().to_string().contains("expected period 2"));
        let next = timeline.close(scored(FreshPeriod::new(2, Timestamp(30), examples(&[]))).0).unwrap();
        assert_eq!(events(&next), [4]);
        assert_eq!(events(&SeenPeriod::static_split(parts)), [4, 11]);
    }
}
