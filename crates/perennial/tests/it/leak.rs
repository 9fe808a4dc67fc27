//! The future changes nothing: a run on a log whose later rows or labels are others gives, up to there, the same scores
//! and versions, bit for bit. This goes through everything that looks at data: histories, negatives and what they are
//! drawn from, growing vocabularies, the statistics of numbers, the references, and every strategy.

use crate::world::{Left, left_by, run_on};
use perennial::core::{Schema, Stream};
use perennial::data::{ImportOptions, import};
use perennial::disk::Disk;
use perennial::experiment::Experiment;
use perennial::store::VersionId;
use std::fmt::Write;
use std::path::Path;
use tempfile::TempDir;

/// One row of the log; the row's place in the log is its event id.
#[derive(Clone)]
struct Event {
    /// Seconds.
    time: u64,
    user: u64,
    item: u64,
    tag: u64,
    price: f64,
    label: u64,
    /// When the label became observable, in seconds.
    observable: u64,
}

const HOUR: u64 = 3600;

/// Hours, each a period; two of them are for pre-training.
const HOURS: u64 = 7;

const EVENTS: u64 = 900;

/// Moments from which on the future is another one: within the first period that is scored, within a later one, and
/// where one ends.
const MOMENTS: [u64; 3] = [2 * HOUR + HOUR / 2, 4 * HOUR + HOUR / 2, 5 * HOUR];

/// A log in which users and items come and go, prices wander, and one label in four is late. Every third event is of a
/// visitor, who comes about twice, so that many users are on the verge of being admitted.
fn events() -> Vec<Event> {
    let mut stream = Stream::new(&[23]);
    let mut event = |nth: u64| {
        let time = nth * HOURS * HOUR / EVENTS;
        let late = if stream.below(4) == 0 { stream.below(2 * HOUR) } else { 0 };
        let item = nth / 60 + stream.below(20);
        let user = nth / 90 + stream.below(25);
        let visitor = 500 + nth / 6 + stream.below(12);
        Event {
            time,
            user: if stream.below(3) == 0 { visitor } else { user },
            item,
            tag: item % 5,
            price: item as f64 + stream.unit_f64(),
            label: u64::from(stream.below(10) < 3 + item % 4),
            observable: time + late,
        }
    };
    (0..EVENTS).map(&mut event).collect()
}

/// Another future: from `from` on all is different, and some users, items and tags were never seen before.
fn all_differs(events: &[Event], from: u64) -> Vec<Event> {
    let other = |event: &Event| Event {
        user: event.user * 7 % 31 + 1000 * (event.user % 2),
        item: event.item * 5 % 37 + 1000 * (event.item % 2),
        tag: event.tag + 3,
        price: -100.0 * event.price,
        label: 1 - event.label,
        ..event.clone()
    };
    events.iter().map(|event| if event.time < from { event.clone() } else { other(event) }).collect()
}

/// The same events, but labels that become observable from `from` on are the other way round.
fn labels_differ(events: &[Event], from: u64) -> Vec<Event> {
    let other = |event: &Event| Event { label: 1 - event.label, ..event.clone() };
    events.iter().map(|event| if event.observable < from { event.clone() } else { other(event) }).collect()
}

/// A log that ends before `from`.
fn nothing_follows(events: &[Event], from: u64) -> Vec<Event> {
    events.iter().filter(|event| event.time < from).cloned().collect()
}

fn csv(events: &[Event]) -> String {
    let mut text = String::from("event,user,item,tag,price,at,click,seen\n");
    for (nth, event) in events.iter().enumerate() {
        let Event { time, user, item, tag, price, label, observable } = event;
        writeln!(text, "{nth},{user},i{item},t{tag}|t{},{price},{time},{label},{observable}", tag + 1).unwrap();
    }
    text
}

/// Settings of an experiment that look at data in different ways.
struct Setting {
    label: &'static str,
    data: &'static str,
    encoder: &'static str,
}

/// Labels of both kinds that come late; ids admitted at their second sight; standardised numbers.
const LABELLED: Setting = Setting {
    label: r#"{ name = "click", kind = "label", observed_at = "seen" }"#,
    data: r#"label_delay = "5m""#,
    encoder: r#"unseen = "unknown", numeric = "standard""#,
};

/// Positives only, with negatives drawn by recent popularity; numbers in buckets; unseen ids have their first row.
const POSITIVES: Setting = Setting {
    label: r#"{ name = "click", column = "event", kind = "label", constant = 1 }"#,
    data: r#"negatives = { per_positive = 2, from = { window = "2h" }, by = "popularity", reject = "history" }"#,
    encoder: r#"unseen = "hash_init", numeric = { buckets = 4 }"#,
};

impl Setting {
    fn schema(&self) -> Schema {
        let text = format!(
            r#"
            name = "clicks"
            field = [
              {{ name = "event", kind = "event_id" }},
              {{ name = "user", kind = "id", role = "user", id = "int", vocabulary = {{ open = {{ min_count = 2 }} }} }},
              {{ name = "item", kind = "id", role = "item" }},
              {{ name = "tag", kind = "ids", role = "item" }},
              {{ name = "price", kind = "numeric", role = "item" }},
              {{ name = "at", kind = "timestamp", unit = "s" }},
              {},
            ]"#,
            self.label
        );
        Schema::parse(&text).unwrap()
    }

    fn experiment(&self, log: &Path) -> Experiment {
        let text = format!(
            r#"
            name = "leak"
            log = {log:?}
            data = {{ slicing = {{ time = "1h" }}, history = 5, {} }}
            protocol = {{ pretrain = 2 }}
            encoder = {{ {} }}
            model = {{ kind = "embedding_mlp", dim = 4, hidden = [6] }}
            training = {{ batch_size = 32, optimiser = {{ rule = "adam", learning_rate = 0.02 }} }}
            keep = {{ versions = "all", scores = true }}
            method = [
                {{ name = "frozen", strategy = "frozen" }},
                {{ name = "incremental", strategy = "incremental" }},
                {{ name = "batch-2", strategy = {{ batch = {{ window = 2 }} }} }},
                {{ name = "retrain", strategy = "retrain" }},
                {{ name = "gated", strategy = {{ batch = {{ window = 2 }} }}, gate = {{
                    window = 1, min_periods = 1, resamples = 50, promote = {{ margin = 0.0, confidence = 0.6 }}
                }} }},
            ]
            "#,
            self.data, self.encoder
        );
        Experiment::parse(&text).unwrap()
    }

    /// Imports the events and runs the whole loop on them.
    fn run(&self, events: &[Event]) -> Left {
        let folder: TempDir = tempfile::tempdir().unwrap();
        let (file, log, out) = (folder.path().join("a.csv"), folder.path().join("log"), folder.path().join("out"));
        std::fs::write(&file, csv(events)).unwrap();
        import(&ImportOptions::new(vec![file], self.schema(), log.clone()), &|_| {}).unwrap();
        let outcome = run_on(&self.experiment(&log), &out, 2, Disk::default()).unwrap();
        left_by(&out, &outcome)
    }
}

/// The period at the end of the name of a score file or a version.
fn period(name: &Path) -> u64 {
    name.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// Scores of events before `end`, by score file and event; bits, so that nothing is lost.
fn scores_before(left: &Left, events: &[Event], end: u64) -> Vec<(String, u64, u32)> {
    let mut found = Vec::new();
    for (file, scores) in &left.scores {
        for (nth, _) in events.iter().enumerate().filter(|(_, event)| event.time < end) {
            if let Some(score) = scores.get(nth as u64) {
                found.push((file.display().to_string(), nth as u64, score.to_bits()));
            }
        }
    }
    found
}

/// The past of a run on `events` must be that of a run on `others`, which differ from `from` on: scores of events before
/// `scored`, sampled ones among them where a period ends by then, and versions of periods that ended by `from`.
#[track_caller]
fn same_past(setting: &Setting, expected: &Left, events: &[Event], others: &[Event], from: u64, scored: u64) {
    let left = setting.run(others);
    let before = scores_before(expected, events, scored);
    // By five methods and two references.
    let least = 7 * EVENTS * (from - 2 * HOUR) / (HOURS * HOUR) - 7;
    assert!(before.len() as u64 >= least, "{} scores, at least {least} were expected", before.len());
    assert!(before == scores_before(&left, others, scored), "the future changed a score from before {from}");
    for (file, scores) in expected.scores.iter().filter(|(file, _)| (period(file) + 1) * HOUR <= from) {
        assert!(left.scores.get(file) == Some(scores), "the future changed {} from before {from}", file.display());
    }
    // Pre-trained versions are of the second hour, though they are named 0.
    let closed = |id: &VersionId| (period(Path::new(id.as_str())) + 1) * HOUR <= from;
    // Where nothing follows, the last period is scored and not learned from.
    let both = expected.versions.iter().filter_map(|(id, content)| Some((id, content, left.versions.get(id)?)));
    let both: Vec<_> = both.filter(|(id, ..)| closed(id)).collect();
    assert!(both.len() as u64 > 5 * (from / HOUR).saturating_sub(3), "only {} versions", both.len());
    for (id, expected, content) in both {
        assert_eq!(content, expected, "the future changed version {id}");
    }
}

#[test]
fn the_future_changes_no_score_and_no_version_of_the_past() {
    let events = events();
    for setting in [&LABELLED, &POSITIVES] {
        let expected = setting.run(&events);
        for from in MOMENTS {
            same_past(setting, &expected, &events, &all_differs(&events, from), from, from);
            same_past(setting, &expected, &events, &nothing_follows(&events, from), from, from);
        }
    }
}

/// A label that becomes observable at a moment changes nothing that is scored at that moment, however long ago its event
/// was; it does change what is scored later.
#[test]
fn a_label_changes_nothing_before_it_is_observable() {
    let events = events();
    let expected = LABELLED.run(&events);
    for from in MOMENTS {
        let others = labels_differ(&events, from);
        assert!(events.iter().zip(&others).any(|(a, b)| a.time + HOUR / 2 < from && a.label != b.label));
        same_past(&LABELLED, &expected, &events, &others, from, from + 1);
    }
    let others = labels_differ(&events, 4 * HOUR);
    let all = |left| scores_before(left, &events, u64::MAX);
    assert!(all(&expected) != all(&LABELLED.run(&others)), "labels change nothing at all");
}
