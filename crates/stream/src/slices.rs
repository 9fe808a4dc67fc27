//! A log, batch by batch, as periods of examples.

use crate::config::{Negatives, PrepareConfig};
use crate::cutter::Cutter;
use crate::error::{Result, StreamError};
use crate::example_builder::ExampleBuilder;
use crate::facts::{Census, PeriodFacts};
use crate::layout::Layout;
use crate::past::Past;
use crate::pool::Pool;
use crate::rows::{Rows, is_known};
use arrow::array::RecordBatch;
use perennial_core::{Examples, FeatureSet, Schema, Stream, Timestamp};
use std::collections::VecDeque;
use std::error::Error;

/// One period, prepared.
#[derive(Debug, Clone, PartialEq)]
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
        loop {
            if let Some(slice) = self.ready.pop_front() {
                return Some(Ok(slice));
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.step() {
                self.done = true;
                return Some(Err(error));
            }
        }
    }
}
