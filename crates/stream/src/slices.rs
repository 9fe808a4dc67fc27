//! A log, batch by batch, as periods of examples.

use crate::config::{Negatives, PrepareConfig};
use crate::cutter::Cutter;
use crate::error::{Result, StreamError};
use crate::example_builder::ExampleBuilder;
use crate::facts::{Census, PeriodFacts};
use crate::key::is_known;
use crate::layout::Layout;
use crate::past::Past;
use crate::pool::Pool;
use crate::rows::Rows;
use arrow::array::RecordBatch;
use perennial_core::{Examples, FeatureSet, Schema, Stream, Timestamp};
use std::collections::VecDeque;
use std::error::Error;

/// One period, prepared.
#[derive(Debug, Clone)]
pub struct Slice {
    /// What it holds, in numbers.
    pub facts: PeriodFacts,
    /// Its rows in order of time, each positive followed by its sampled negatives.
    pub examples: Examples,
    /// For each example, whether it was sampled.
    pub sampled: Vec<bool>,
}

/// The periods of a log, in order. Reads batches as they are needed; holds one period, one batch, the catalogue and the
/// histories.
pub struct Slices<I> {
    batches: I,
    layout: Layout,
    config: PrepareConfig,
    cutter: Cutter,
    past: Past,
    census: Census,
    period: Period,
    ready: VecDeque<Slice>,
    expected: u64,
    read: u64,
    dropped: u64,
    /// End of the period closed last.
    last_end: i64,
    done: bool,
}

/// The period under construction.
struct Period {
    facts: PeriodFacts,
    builder: ExampleBuilder,
    /// Times of its first and last row.
    span: Option<(i64, i64)>,
}

impl Period {
    fn new(index: usize, layout: &Layout) -> Period {
        Period { facts: PeriodFacts::empty(index), builder: ExampleBuilder::new(layout), span: None }
    }
}

impl<I, E> Slices<I>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    /// Cuts `batches` of the canonical log of this schema, `rows` rows in all, sorted by time.
    pub fn new(schema: &Schema, config: &PrepareConfig, rows: u64, batches: I) -> Result<Slices<I>> {
        config.check(schema)?;
        let layout = Layout::new(schema, config.label.as_deref(), config.history > 0)?;
        let pool = config.negatives.map(Pool::new);
        Ok(Slices {
            batches,
            cutter: Cutter::new(config.slicing, rows)?,
            past: Past::new(&layout, config.history as usize, pool),
            census: Census::default(),
            period: Period::new(0, &layout),
            ready: VecDeque::new(),
            expected: rows,
            read: 0,
            dropped: 0,
            last_end: 0,
            done: false,
            config: config.clone(),
            layout,
        })
    }

    /// What the columns of the examples are.
    pub fn features(&self) -> &FeatureSet {
        &self.layout.features
    }

    /// Rows read so far.
    pub fn rows_read(&self) -> u64 {
        self.read
    }

    /// Rows so far that belong to no period: the remainder of equal counts.
    pub fn dropped_rows(&self) -> u64 {
        self.dropped
    }

    /// Hands out a period that is ready, or reads a batch, which gives none yet: for those who may want to stop between
    /// batches. After an error there is nothing more.
    pub(crate) fn turn(&mut self) -> Option<Result<Option<Slice>>> {
        if let Some(slice) = self.ready.pop_front() {
            return Some(Ok(Some(slice)));
        }
        if self.done {
            return None;
        }
        let read = self.step();
        self.done |= read.is_err();
        Some(read.map(|()| None))
    }

    fn step(&mut self) -> Result<()> {
        match self.batches.next() {
            Some(batch) => {
                let batch = batch.map_err(|error| StreamError::Source(error.into()))?;
                let rows = Rows::from_batch(&self.layout, self.config.label_delay.0, &batch)?;
                (0..rows.len()).try_for_each(|row| self.row(&rows, row))
            }
            None => self.end(),
        }
    }

    fn row(&mut self, rows: &Rows, row: usize) -> Result<()> {
        self.read += 1;
        let (event, time) = (rows.event[row], rows.time[row]);
        if time < self.past.now() {
            let previous = Timestamp(self.past.now());
            return Err(StreamError::Unsorted { event, time: Timestamp(time), previous });
        }
        self.past.advance(time);
        let Some(index) = self.cutter.place(event, time, rows.period.get(row).copied())? else {
            self.dropped += 1;
            return Ok(());
        };
        while self.period.facts.index < index {
            self.close();
        }
        let first = self.period.span.map_or(time, |(first, _)| first);
        self.period.span = Some((first, time));
        self.census.count(&mut self.period.facts, rows, row);
        self.period.builder.row(&self.layout, rows, row, self.past.known())?;
        if rows.is_positive(row)
            && let Some(negatives) = self.config.negatives
        {
            self.sample(negatives, rows, row)?;
        }
        self.past.record(&self.layout, rows, row);
        Ok(())
    }

    fn sample(&mut self, negatives: Negatives, rows: &Rows, row: usize) -> Result<()> {
        let pool = self.past.pool().expect("made when negatives are configured");
        let known = self.past.known();
        let mut rejected: Vec<u32> = known.catalogue.find(rows.item[row]).into_iter().collect();
        if pool.rejects_history() {
            rejected.extend(known.histories.of(rows.user[row]).iter().map(|past| past.item));
        }
        rejected.sort_unstable();
        rejected.dedup();
        let event = rows.event[row];
        for ordinal in 0..negatives.per_positive {
            let mut stream = Stream::new(&[self.config.data_seed, event, u64::from(ordinal)]);
            match pool.draw(&mut stream, &rejected).filter(|_| is_known(rows.item[row])) {
                Some(item) => {
                    self.period.facts.sampled += 1;
                    self.period.builder.negative(&self.layout, event, ordinal, item, &known.catalogue)?;
                }
                None => self.period.facts.no_candidate += 1,
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        let next = Period::new(self.period.facts.index + 1, &self.layout);
        let Period { mut facts, builder, span } = std::mem::replace(&mut self.period, next);
        (facts.start, facts.end) = self.cutter.bounds(facts.index, span, self.last_end);
        self.last_end = facts.end.0;
        self.census.close(&mut facts, self.layout.user.is_some(), self.layout.item.is_some());
        let (examples, sampled) = builder.finish();
        self.ready.push_back(Slice { facts, examples, sampled });
    }

    /// Closes the last period. A log without rows has none.
    fn end(&mut self) -> Result<()> {
        self.done = true;
        if self.read != self.expected {
            return Err(StreamError::RowCount { expected: self.expected, got: self.read });
        }
        if self.period.span.is_some() {
            self.close();
        }
        Ok(())
    }
}

impl<I, E> Iterator for Slices<I>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    type Item = Result<Slice>;

    /// After an error there is nothing more.
    fn next(&mut self) -> Option<Result<Slice>> {
        std::iter::from_fn(|| self.turn()).find_map(Result::transpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Candidates, Reject, Slicing, Weighing};
    use crate::example_builder::negative_event;
    use crate::key::text_key;
    use crate::testing::{Event, bag, batches, bits, busy_log, click, name_of, resolve, schema};
    use perennial_core::{Column, Span};
    use proptest::prelude::*;

    fn one_period() -> PrepareConfig {
        PrepareConfig::new(Slicing::Count(1))
    }

    fn with_negatives(per_positive: u32, from: Candidates, reject: Reject) -> PrepareConfig {
        let negatives = Negatives { per_positive, from, by: Weighing::Uniform, reject };
        PrepareConfig { negatives: Some(negatives), ..one_period() }
    }

    fn try_cut(config: &PrepareConfig, events: &[Event], batch: usize) -> Result<Vec<Slice>> {
        Slices::new(&schema(), config, events.len() as u64, batches(events, batch))?.collect()
    }

    fn cut(config: &PrepareConfig, events: &[Event]) -> Vec<Slice> {
        try_cut(config, events, 3).unwrap()
    }

    fn histories(config: &PrepareConfig, events: &[Event]) -> Vec<String> {
        let slice = &cut(config, events)[0];
        (0..slice.examples.len()).map(|row| bag(&slice.examples, "history.item", row).concat()).collect()
    }

    /// Event 2 does not know of event 1, which is of the same time; d was shown to user 2 but not clicked.
    #[test]
    fn a_history_is_what_the_user_clicked_strictly_before() {
        let events = [
            click(1, 1, "a"),
            click(2, 1, "b"),
            click(2, 1, "c"),
            click(3, 2, "d").labelled(0.0),
            click(3, 1, "d"),
            click(4, 2, "a"),
        ];
        assert_eq!(histories(&one_period(), &events), ["", "a", "a", "", "abc", ""]);
        assert_eq!(histories(&PrepareConfig { history: 2, ..one_period() }, &events)[4], "bc");
    }

    /// With delay 5 a click at 1 is observable at 6, hence known at 7. Without, a's label comes at 10, after b's at 3,
    /// and then takes the place that a had in the log.
    #[test]
    fn a_history_waits_for_labels() {
        let events = [click(1, 1, "a"), click(6, 1, "b"), click(7, 1, "c")];
        assert_eq!(histories(&PrepareConfig { label_delay: Span(5), ..one_period() }, &events), ["", "", "a"]);
        let events = [
            click(1, 1, "a").observable(10),
            click(2, 1, "b").observable(3),
            click(5, 1, "c"),
            click(10, 1, "d"),
            click(11, 1, "e"),
        ];
        assert_eq!(histories(&one_period(), &events), ["", "", "b", "bc", "abcd"]);
    }

    /// A label cannot be known before its event, whatever the log says: with delay 2 one of 5 comes at 7, known at 8.
    #[test]
    fn a_label_from_before_its_event_is_no_label_from_before() {
        let events = [click(5, 1, "a").observable(1), click(7, 1, "b"), click(8, 1, "c")];
        assert_eq!(histories(&PrepareConfig { label_delay: Span(2), ..one_period() }, &events), ["", "", "a"]);
        assert_eq!(cut(&one_period(), &events)[0].examples.observable[0], Timestamp(5));
    }

    /// Item a is tagged x and y at 1, z from 3 on; b has no tag. Each past item counts 1 in all, b nothing.
    #[test]
    fn attributes_of_past_items_are_the_latest_seen_before_and_count_once() {
        let events = [
            click(1, 1, "a").tagged(&["x", "y"]),
            click(2, 1, "b"),
            click(3, 2, "a").tagged(&["z"]),
            click(3, 1, "c"),
            click(4, 1, "c"),
        ];
        let examples = &cut(&one_period(), &events)[0].examples;
        assert_eq!(bag(examples, "history.tags", 3), ["x*0.5", "y*0.5"]);
        assert_eq!(bag(examples, "history.tags", 4), ["z*1"]);
        assert_eq!(bag(examples, "history.item", 4), ["a", "b", "c"]);
    }

    /// Two rows of one moment disagree about item a: the later one in the log holds.
    #[test]
    fn of_one_moment_the_last_row_holds() {
        let events = [
            click(1, 1, "a").tagged(&["x"]),
            click(2, 2, "a").tagged(&["y"]),
            click(2, 2, "a").tagged(&["x"]),
            click(3, 1, "b"),
        ];
        assert_eq!(bag(&cut(&one_period(), &events)[0].examples, "history.tags", 3), ["x*1"]);
    }

    #[test]
    fn a_negative_is_its_positive_with_another_item() {
        let events = [
            click(1, 2, "b").tagged(&["x"]).priced(2.5),
            click(2, 1, "a"),
            click(3, 1, "c").tagged(&["y"]).observable(9),
        ];
        // Event 2 rejects c and its history, a: only b is left.
        let config = with_negatives(2, Candidates::Catalogue, Reject::History);
        let slice = &cut(&config, &events)[0];
        let examples = &slice.examples;
        assert_eq!(slice.sampled, [false, false, true, true, false, true, true]);
        assert_eq!((slice.facts.rows, slice.facts.sampled, slice.facts.no_candidate), (3, 4, 2));
        for (row, ordinal) in [(5, 0), (6, 1)] {
            assert_eq!(name_of(examples.item[row]), "b");
            assert_eq!(examples.event[row], negative_event(2, ordinal));
            assert_eq!((examples.label[row], examples.observable[row].0), (0.0, 9));
            let (positive, negative) = (resolve(&schema(), examples, 4), resolve(&schema(), examples, row));
            let differing: Vec<&str> =
                positive.iter().zip(&negative).filter(|(a, b)| a != b).map(|(a, _)| a.0.as_str()).collect();
            assert_eq!(differing, ["item", "tags", "price", "event, user, item, time"]);
            assert_eq!(bag(examples, "tags", row), ["x"]);
            let Column::Numeric(prices) = &examples.columns[3] else { panic!("price is a number") };
            assert_eq!((prices[row], prices[4].is_nan()), (2.5, true));
        }
        let Column::Bag { spans, .. } = &examples.columns[5] else { panic!("history.item is a bag") };
        assert_eq!(spans.range(4), spans.range(6), "one stretch of ids for all three");
    }

    /// Window 10: at time 20 items clicked at 10 to 19 may be drawn. a is too old, b is on the border, c was shown but not
    /// clicked, d is of the same moment, e's label came at 20 and f's at 19.
    #[test]
    fn a_window_holds_what_was_clicked_in_it_and_known_in_time() {
        let events = [
            click(9, 1, "a"),
            click(10, 1, "b"),
            click(15, 1, "c").labelled(0.0),
            click(16, 1, "e").observable(20),
            click(17, 1, "f").observable(19),
            click(20, 1, "d"),
            click(20, 2, "g"),
        ];
        let config = with_negatives(200, Candidates::Window(Span(10)), Reject::Positive);
        let slice = &cut(&config, &events)[0];
        let last = slice.sampled.iter().rposition(|&sampled| !sampled).unwrap();
        let mut drawn: Vec<String> = slice.examples.item[last + 1..].iter().map(|&item| name_of(item)).collect();
        drawn.sort();
        drawn.dedup();
        assert_eq!(drawn, ["b", "f"]);
    }

    #[test]
    fn negatives_do_not_depend_on_batches_or_on_other_events() {
        let events = busy_log(120, 7);
        let config = with_negatives(2, Candidates::Catalogue, Reject::History);
        let whole = cut(&config, &events);
        assert_eq!(bits(&whole[0]), bits(&try_cut(&config, &events, 1).unwrap()[0]));
        let draws = |slices: &[Slice], event: u64| {
            let examples = &slices[0].examples;
            let at = |ordinal| examples.event.iter().position(|&name| name == negative_event(event, ordinal));
            [0, 1].map(|ordinal| at(ordinal).map(|row| examples.item[row]))
        };
        let kept = cut(&with_negatives(1, Candidates::Catalogue, Reject::History), &events);
        for event in 0..120 {
            assert_eq!(draws(&whole, event)[0], draws(&kept, event)[0], "another number of draws changes no draw");
        }
        let reseeded = cut(&PrepareConfig { data_seed: 1, ..config.clone() }, &events);
        assert_ne!(bits(&whole[0]), bits(&reseeded[0]));
    }

    fn facts(config: &PrepareConfig, events: &[Event]) -> Vec<PeriodFacts> {
        cut(config, events).into_iter().map(|slice| slice.facts).collect()
    }

    fn bounds(facts: &[PeriodFacts]) -> Vec<(i64, i64, u64)> {
        facts.iter().map(|facts| (facts.start.0, facts.end.0, facts.rows)).collect()
    }

    #[test]
    fn periods_without_rows_exist() {
        let events = [click(12, 1, "a").part(3), click(14, 1, "b").part(3), click(45, 2, "a").part(6)];
        let by_time = facts(&PrepareConfig::new(Slicing::Time(Span(10))), &events);
        assert_eq!(bounds(&by_time), [(10, 20, 2), (20, 30, 0), (30, 40, 0), (40, 50, 1)]);
        assert_eq!((by_time[3].new_user_share(), by_time[3].new_item_share()), (Some(1.0), Some(0.0)));
        assert_eq!(by_time[1].new_user_share(), None);
        let given = facts(&PrepareConfig::new(Slicing::Given), &events);
        assert_eq!(bounds(&given), [(12, 15, 2), (15, 15, 0), (15, 15, 0), (45, 46, 1)]);
    }

    /// floor(5 / 2) = 2 rows each; the border falls within a moment, and the fifth row is dropped.
    #[test]
    fn equal_counts_drop_the_remainder() {
        let events: Vec<Event> = [1, 2, 2, 3, 4].map(|time| click(time, time, "a")).to_vec();
        let config = PrepareConfig::new(Slicing::Count(2));
        let mut slices = Slices::new(&schema(), &config, 5, batches(&events, 2)).unwrap();
        let facts: Vec<PeriodFacts> = slices.by_ref().map(|slice| slice.unwrap().facts).collect();
        assert_eq!(bounds(&facts), [(1, 3, 2), (2, 4, 2)]);
        assert_eq!(slices.dropped_rows(), 1);
        assert_eq!((facts[0].users, facts[1].users, facts[1].new_users, facts[1].new_items), (2, 2, 1, 0));
    }

    #[test]
    fn an_empty_log_has_no_periods() {
        assert!(cut(&PrepareConfig::new(Slicing::Time(Span(10))), &[]).is_empty());
        assert!(try_cut(&one_period(), &[], 1).is_err(), "0 rows cannot be cut into equal parts");
    }

    #[test]
    fn bad_logs_are_refused() {
        let refused = |events: &[Event], rows: u64, expected: &str| {
            let slices = Slices::new(&schema(), &PrepareConfig::new(Slicing::Time(Span(10))), rows, batches(events, 1));
            let error = slices.unwrap().find_map(Result::err).expect("refused").to_string();
            assert!(error.contains(expected), "got: {error}");
        };
        refused(&[click(2, 1, "a"), click(1, 1, "a")], 2, "event 1 at 1 us follows a row at 2 us");
        refused(&[click(2, 1, "a").labelled(0.5)], 1, "must be 0 or 1, got 0.5");
        refused(&[click(2, 1, "a")], 2, "2 rows, reading it gave 1");
        let lacking = batches(&[click(1, 1, "a")], 1).map(|batch| batch.map(|batch| batch.project(&[0, 1]).unwrap()));
        let mut slices = Slices::new(&schema(), &one_period(), 1, lacking).unwrap();
        let error = slices.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("\"user\"") && error.contains("no such column"), "got: {error}");
    }

    /// All inputs of all examples of the rows before `until`.
    fn inputs_before(config: &PrepareConfig, events: &[Event], until: usize) -> Vec<Vec<(String, String)>> {
        let mut inputs = Vec::new();
        let mut rows = 0;
        for slice in try_cut(config, events, 16).unwrap() {
            for example in 0..slice.examples.len() {
                rows += usize::from(!slice.sampled[example]);
                if rows > until {
                    return inputs;
                }
                inputs.push(resolve(&schema(), &slice.examples, example));
            }
        }
        inputs
    }

    fn flipped(event: &Event) -> Event {
        Event { label: event.label.map(|label| 1.0 - label), ..event.clone() }
    }

    fn leak_configs() -> Vec<PrepareConfig> {
        let mut configs = Vec::new();
        for delay in [0, 13] {
            for (from, by) in [
                (Candidates::Catalogue, Weighing::Popularity),
                (Candidates::Window(Span(50)), Weighing::Uniform),
                (Candidates::Window(Span(50)), Weighing::Popularity),
            ] {
                configs.push(PrepareConfig {
                    label_delay: Span(delay),
                    history: 4,
                    negatives: Some(Negatives { per_positive: 2, from, by, reject: Reject::History }),
                    ..PrepareConfig::new(Slicing::Time(Span(25)))
                });
            }
        }
        configs
    }

    /// Labels of the future, and rows of the future, change no input of the past.
    #[test]
    fn a_flipped_future_changes_no_input() {
        let events = busy_log(150, 8);
        for config in leak_configs() {
            let inputs = inputs_before(&config, &events, 100);
            assert!(inputs.len() > 150, "positives have negatives");
            let mut flip = events.clone();
            flip[100..].iter_mut().for_each(|event| *event = flipped(event));
            assert_eq!(inputs_before(&config, &flip, 100), inputs);
            let shortened = inputs_before(&config, &events[..110], 100);
            assert_eq!(shortened, inputs);
        }
    }

    /// For each event in turn, everything that was not observable strictly before it is changed: the label of every
    /// earlier row that was still awaiting it, its own label, and label and item of every later row. If any of it
    /// reached a history, a pool of candidates or a catalogue, an input would change.
    #[test]
    fn an_event_knows_no_label_that_was_not_observable_before_it() {
        let events = busy_log(40, 9);
        for config in leak_configs() {
            for at in 0..events.len() {
                let now = events[at].time;
                let unknown = |event: &Event| event.observable.is_none_or(|seen| seen + config.label_delay.0 >= now);
                let mut changed = events.clone();
                for (row, event) in changed.iter_mut().enumerate() {
                    if row >= at || unknown(event) {
                        *event = flipped(event);
                    }
                    if row > at {
                        event.item = "z".to_owned();
                    }
                }
                let own = |events: &[Event]| {
                    let slices = try_cut(&config, events, 16).unwrap();
                    let found = slices.iter().find_map(|slice| {
                        let example = slice.examples.event.iter().position(|&event| event == at as u64)?;
                        Some(resolve(&schema(), &slice.examples, example))
                    });
                    found.expect("every row is an example")
                };
                assert_eq!(own(&events), own(&changed), "event {at}");
                changed[at] = events[at].clone();
                assert_eq!(negatives_of(&config, &events, at), negatives_of(&config, &changed, at), "event {at}");
            }
        }
    }

    fn negatives_of(config: &PrepareConfig, events: &[Event], at: usize) -> Vec<Option<u64>> {
        let slices = try_cut(config, events, 16).unwrap();
        let item = |name: u64| {
            slices.iter().find_map(|slice| {
                let row = slice.examples.event.iter().position(|&event| event == name)?;
                Some(slice.examples.item[row])
            })
        };
        (0..2).map(|ordinal| item(negative_event(at as u64, ordinal))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// The naive twin looks at all earlier rows for every row.
        #[test]
        fn histories_and_candidates_agree_with_looking_at_everything(
            rows in 1u64..70, seed in any::<u64>(), delay in 0i64..20, limit in 1u32..5, window in 1i64..80,
            windowed in any::<bool>(),
        ) {
            let events = busy_log(rows, seed);
            let from = if windowed { Candidates::Window(Span(window)) } else { Candidates::Catalogue };
            let config = PrepareConfig {
                label_delay: Span(delay), history: limit, ..with_negatives(1, from, Reject::History)
            };
            let slice = &cut(&config, &events)[0];
            let mut example = 0;
            for (row, event) in events.iter().enumerate() {
                let known = |earlier: &&Event| {
                    earlier.label == Some(1.0) && earlier.observable.is_some_and(|seen| seen + delay < event.time)
                };
                let mut history: Vec<u64> = events[..row].iter().filter(known).filter(|past| past.user == event.user)
                    .map(|past| text_key(Some(&past.item))).collect();
                history.drain(..history.len().saturating_sub(limit as usize));
                let Column::Bag { spans, ids, .. } = &slice.examples.columns[5] else { panic!("history.item is a bag") };
                let got: Vec<u64> = ids[spans.range(example)].iter().map(|&id| slice.examples.keys[1][id as usize]).collect();
                prop_assert_eq!(&got, &history);
                example += 1;
                if event.label != Some(1.0) {
                    continue;
                }
                let candidate = |earlier: &&Event| match windowed {
                    true => known(earlier) && earlier.time >= event.time - window,
                    false => earlier.time < event.time,
                };
                let candidates: Vec<u64> = events[..row].iter().filter(candidate)
                    .map(|past| text_key(Some(&past.item)))
                    .filter(|item| *item != text_key(Some(&event.item)) && !history.contains(item)).collect();
                let sampled = slice.sampled.get(example).copied().unwrap_or(false);
                prop_assert_eq!(sampled, !candidates.is_empty(), "event {}", row);
                if sampled {
                    prop_assert!(candidates.contains(&slice.examples.item[example]));
                    example += 1;
                }
            }
            prop_assert_eq!(example, slice.examples.len());
        }
    }
}
