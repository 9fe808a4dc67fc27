//! Periods on disk, so that a log is cut once and not once for each experiment.
//!
//! ```text
//! <cache>/<key>/period-00000.bin ...   one file per period, see `period_file`
//! <cache>/<key>/index.json             written last: without it there is nothing
//! <cache>/<key>/state-00000.bin ...    histories at the close of a period, see `HistoryState`; written when asked for
//! <cache>/<key>/lock                   held while the folder is checked or written
//! ```
//!
//! The key is a digest of the log's content and of the settings. Every file is written under another name, synced and
//! renamed, so that being killed at any moment leaves nothing that is taken for whole; what is found damaged is named
//! and all is built anew.

use crate::config::PrepareConfig;
use crate::error::{Result, StreamError};
use crate::facts::PeriodFacts;
use crate::history_state::HistoryState;
use crate::layout::Layout;
use crate::past::Past;
use crate::period::{FreshPeriod, SeenPeriod, Timeline};
use crate::period_file;
use crate::rows::Rows;
use crate::slices::{Slice, Slices};
use arrow::array::RecordBatch;
use perennial_core::{Digest, DigestBuilder, Examples, FeatureSet, Schema};
use perennial_data::Log;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A log cut into periods, on disk.
#[derive(Debug)]
pub struct Prepared {
    dir: PathBuf,
    index: Index,
    layout: Layout,
    history: usize,
    damage: Option<String>,
    /// The past at the end of the periods replayed so far, kept because states are asked for in order.
    replay: Mutex<Option<Replay>>,
}

/// How far a preparation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows of the log read, or found in periods that were there.
    pub rows: u64,
    /// Rows of the log.
    pub of: u64,
    /// Periods written, or found whole.
    pub periods: usize,
}

/// What identifies a log that is to be prepared.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its schema.
    pub schema: Schema,
    /// Its number of rows.
    pub rows: u64,
    /// Digest of its content.
    pub digest: Digest,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    format: u32,
    key: Digest,
    dropped_rows: u64,
    files: Vec<FileEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    name: String,
    bytes: u64,
    blake3: Digest,
    facts: PeriodFacts,
}

/// The index and its own digest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    digest: Digest,
    index: Index,
}

#[derive(Debug)]
struct Replay {
    periods: usize,
    past: Past,
}

/// Goes up when the same log and settings would give other examples.
const FORMAT: u32 = 1;
const INDEX: &str = "index.json";

impl Source {
    /// A canonical log. Its digest covers schema and rows, not how they came to be.
    pub fn of(log: &Log) -> Source {
        let manifest = log.manifest();
        let mut digest = DigestBuilder::new("log");
        digest.digest(&manifest.schema);
        for part in &manifest.parts {
            digest.digest(&part.blake3);
        }
        Source { schema: log.schema().clone(), rows: manifest.rows, digest: digest.finish() }
    }
}

/// Cuts a canonical log into periods under `cache`, or finds them there.
///
/// Periods found are read once in full to check them. Costs memory for one period, the catalogue and the histories.
/// `progress` is told after every batch and every period, and says whether to go on: if not, the error is
/// [`StreamError::Stopped`], and the next call begins as if this one had not been.
pub fn prepare(
    log: &Log,
    config: &PrepareConfig,
    cache: &Path,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Prepared> {
    prepare_batches(&Source::of(log), log.batches(), config, cache, progress)
}

/// As [`prepare`], for batches from elsewhere. They are not asked for if the periods are found.
pub fn prepare_batches<I, E>(
    source: &Source,
    batches: I,
    config: &PrepareConfig,
    cache: &Path,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Prepared>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    config.check(&source.schema)?;
    let layout = Layout::new(&source.schema, config.label.as_deref(), config.history > 0)?;
    let key = key_of(source, config);
    let dir = cache.join(key.to_string());
    fs::create_dir_all(&dir).map_err(StreamError::io("creating", &dir))?;
    let _lock = lock(&dir)?;
    let (index, damage) = match find(&dir, key, source.rows, progress)? {
        Found::Whole(index) => (index, None),
        Found::Nothing => (build(&dir, key, source, batches, config, progress)?, None),
        Found::Damaged(problem) => (build(&dir, key, source, batches, config, progress)?, Some(problem)),
    };
    Ok(Prepared { dir, index, layout, history: config.history as usize, damage, replay: Mutex::new(None) })
}

impl Prepared {
    /// Number of periods.
    pub fn periods(&self) -> usize {
        self.index.files.len()
    }

    /// What a period holds, in numbers. Panics if there is no such period.
    pub fn facts(&self, period: usize) -> &PeriodFacts {
        &self.index.files[period].facts
    }

    /// What the columns of the examples are.
    pub fn features(&self) -> &FeatureSet {
        &self.layout.features
    }

    /// Digest of the log's content and of the settings.
    pub fn key(&self) -> Digest {
        self.index.key
    }

    /// Rows of the log that belong to no period: the remainder of equal counts.
    pub fn dropped_rows(&self) -> u64 {
        self.index.dropped_rows
    }

    /// What was found damaged and made it necessary to build the periods anew.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// The examples of a period, labels and all. Fails if there is no such period or its file is damaged.
    pub fn load(&self, period: usize) -> Result<Arc<Examples>> {
        Ok(Arc::new(self.slice(period)?.examples))
    }

    /// Digest of a period's examples, as they were prepared.
    pub fn digest(&self, period: usize) -> Result<Digest> {
        Ok(self.index.files[self.check(period)?].blake3)
    }

    /// A period that is to be scored before anything learns from it.
    pub fn fresh(&self, period: usize) -> Result<FreshPeriod> {
        Ok(FreshPeriod::new(period, self.facts(self.check(period)?).end, self.load(period)?))
    }

    /// The first `periods` periods, to be learned from without having been scored, and the timeline that goes on from
    /// there. Loads them all.
    pub fn pretraining(&self, periods: usize) -> Result<(SeenPeriod, Timeline)> {
        let last = periods.checked_sub(1).ok_or_else(|| {
            StreamError::Config(
                "pre-training takes at least one period; without it start from Timeline::default()".into(),
            )
        })?;
        let parts = (0..periods).map(|period| self.load(period)).collect::<Result<_>>()?;
        Ok(SeenPeriod::pretraining(last, self.facts(last).end, parts))
    }

    /// Catalogue and histories as they stand when a period closes, in the form of [`HistoryState`].
    ///
    /// The first time, replays the periods up to it, from the last one replayed if that was not later, and keeps the
    /// bytes beside the periods; from then on a read. Costs memory for two states.
    pub fn state(&self, period: usize) -> Result<Vec<u8>> {
        self.check(period)?;
        let path = self.dir.join(format!("state-{period:05}.bin"));
        // Held throughout, so that of several who ask for one state, one replays and the others read.
        let mut kept = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = fs::read(&path).ok().filter(|bytes| HistoryState::is_whole(bytes)) {
            return Ok(state);
        }
        let state = self.replay_to(period, &mut kept)?;
        let _lock = lock(&self.dir)?;
        write_whole(&path, |mut file| file.write_all(&state))?;
        Ok(state)
    }

    /// A period as it was prepared.
    pub fn slice(&self, period: usize) -> Result<Slice> {
        let entry = &self.index.files[self.check(period)?];
        let (examples, sampled) = read_entry(&self.dir, entry)?;
        Ok(Slice { facts: entry.facts.clone(), examples, sampled })
    }

    fn check(&self, period: usize) -> Result<usize> {
        match period < self.periods() {
            true => Ok(period),
            false => Err(StreamError::Period { period, problem: format!("the log has {} periods", self.periods()) }),
        }
    }

    fn replay_to(&self, period: usize, kept: &mut Option<Replay>) -> Result<Vec<u8>> {
        // Taken out while it is worked on: an error halfway must not leave a past that is neither here nor there.
        let mut replay = kept.take().filter(|replay| replay.periods <= period + 1).unwrap_or_else(|| self.beginning());
        while replay.periods <= period {
            self.replay_next(&mut replay)?;
        }
        let state = replay.past.known_at(self.facts(period).end.0).to_bytes();
        *kept = Some(replay);
        Ok(state)
    }

    fn beginning(&self) -> Replay {
        Replay { periods: 0, past: Past::new(&self.layout, self.history, None) }
    }

    fn replay_next(&self, replay: &mut Replay) -> Result<()> {
        let slice = self.slice(replay.periods)?;
        let rows = Rows::from_examples(&self.layout, &slice.examples, &slice.sampled);
        for row in 0..rows.len() {
            replay.past.advance(rows.time[row]);
            replay.past.record(&self.layout, &rows, row);
        }
        replay.periods += 1;
        Ok(())
    }
}

fn key_of(source: &Source, config: &PrepareConfig) -> Digest {
    // Not as TOML or JSON, where a span is written in whole seconds.
    let config = format!("{config:?}");
    let mut digest = DigestBuilder::new("prepared");
    digest.u64(u64::from(FORMAT)).digest(&source.digest).str(&source.schema.to_toml()).str(&config).finish()
}

/// Held until dropped, also by a process that is killed.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(StreamError::io("creating", &path))?;
    file.lock().map_err(StreamError::io("locking", &path))?;
    Ok(file)
}

/// What lies in a folder.
enum Found {
    Whole(Index),
    Damaged(String),
    /// Nothing was finished.
    Nothing,
}

fn find(dir: &Path, key: Digest, rows: u64, progress: &mut dyn FnMut(Progress) -> bool) -> Result<Found> {
    let path = dir.join(INDEX);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Ok(Found::Damaged(format!("{}: {error}", path.display()))),
    };
    let Some(index) = open_index(&text, key) else {
        return Ok(Found::Damaged(format!("{} is damaged", path.display())));
    };
    let mut found = 0;
    for (nth, entry) in index.files.iter().enumerate() {
        if let Err(error) = read_entry(dir, entry) {
            return Ok(Found::Damaged(error.to_string()));
        }
        found += entry.facts.rows;
        tell(progress, Progress { rows: found, of: rows, periods: nth + 1 })?;
    }
    Ok(Found::Whole(index))
}

fn tell(progress: &mut dyn FnMut(Progress) -> bool, now: Progress) -> Result<()> {
    if progress(now) { Ok(()) } else { Err(StreamError::Stopped) }
}

fn open_index(text: &[u8], key: Digest) -> Option<Index> {
    let Sealed { digest, index } = serde_json::from_slice(text).ok()?;
    (digest == digest_of(&index) && index.key == key && index.format == FORMAT).then_some(index)
}

fn digest_of(index: &Index) -> Digest {
    Digest::of_bytes(&serde_json::to_vec(index).expect("an index is plain data"))
}

fn read_entry(dir: &Path, entry: &FileEntry) -> Result<(Examples, Vec<bool>)> {
    let path = dir.join(&entry.name);
    let bytes = fs::read(&path).map_err(StreamError::io("reading", &path))?;
    let what = path.display().to_string();
    let (examples, sampled, blake3) = period_file::read(&what, &bytes)?;
    if blake3 != entry.blake3 {
        return Err(StreamError::corrupt(what, format!("the index says {}, its content is {blake3}", entry.blake3)));
    }
    Ok((examples, sampled))
}

fn build<I, E>(
    dir: &Path,
    key: Digest,
    source: &Source,
    batches: I,
    config: &PrepareConfig,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Index>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    forget(dir)?;
    let mut slices = Slices::new(&source.schema, config, source.rows, batches)?;
    let mut files = Vec::new();
    while let Some(turn) = slices.turn() {
        if let Some(slice) = turn? {
            files.push(write_slice(dir, slice)?);
        }
        tell(progress, Progress { rows: slices.rows_read(), of: source.rows, periods: files.len() })?;
    }
    sync_dir(dir)?;
    let dropped_rows = slices.dropped_rows();
    let index = Index { format: FORMAT, key, dropped_rows, files };
    write_index(dir, &index)?;
    Ok(index)
}

/// Removes the index first, so that what is about to be written is not taken for what it says.
fn forget(dir: &Path) -> Result<()> {
    let path = dir.join(INDEX);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StreamError::io("removing", &path)(error)),
        _ => sync_dir(dir),
    }
}

fn write_slice(dir: &Path, slice: Slice) -> Result<FileEntry> {
    let name = format!("period-{:05}.bin", slice.facts.index);
    let (bytes, blake3) = write_whole(&dir.join(&name), |file| {
        period_file::write(BufWriter::with_capacity(1 << 20, file), &slice.examples, &slice.sampled)
    })?;
    Ok(FileEntry { name, bytes, blake3, facts: slice.facts })
}

fn write_index(dir: &Path, index: &Index) -> Result<()> {
    let sealed = Sealed { digest: digest_of(index), index: index.clone() };
    let text = serde_json::to_vec(&sealed).expect("an index is plain data");
    write_whole(&dir.join(INDEX), |mut file| file.write_all(&text))?;
    sync_dir(dir)
}

/// Under another name first, synced, then renamed: the file is whole or absent. The folder itself is not synced.
fn write_whole<T>(path: &Path, write: impl FnOnce(&File) -> io::Result<T>) -> Result<T> {
    let partial = path.with_extension("partial");
    let attempt = || {
        let file = File::create(&partial)?;
        let written = write(&file)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        Ok(written)
    };
    attempt().map_err(StreamError::io("writing", path))
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StreamError::io("syncing", dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Candidates, Negatives, Reject, Slicing, Weighing};
    use crate::testing::{Event, batch, batches, bits, busy_log, resolve, schema};
    use perennial_core::Span;
    use perennial_data::{ImportNotes, LogWriter, PartitionOptions, arrow_schema};

    fn config() -> PrepareConfig {
        PrepareConfig {
            label_delay: Span(7),
            history: 3,
            negatives: Some(Negatives {
                per_positive: 2,
                from: Candidates::Window(Span(40)),
                by: Weighing::Popularity,
                reject: Reject::History,
            }),
            ..PrepareConfig::new(Slicing::Time(Span(25)))
        }
    }

    fn source(events: &[Event]) -> Source {
        Source {
            schema: schema(),
            rows: events.len() as u64,
            digest: Digest::of_bytes(format!("{events:?}").as_bytes()),
        }
    }

    fn in_memory(events: &[Event], config: &PrepareConfig) -> Vec<Slice> {
        let slices = Slices::new(&schema(), config, events.len() as u64, batches(events, 7)).unwrap();
        slices.collect::<Result<_>>().unwrap()
    }

    fn on_disk(events: &[Event], cache: &Path) -> Prepared {
        prepare_batches(&source(events), batches(events, 5), &config(), cache, &mut |_| true).unwrap()
    }

    fn check(prepared: &Prepared, expected: &[Slice]) {
        assert_eq!(prepared.periods(), expected.len());
        for (period, slice) in expected.iter().enumerate() {
            assert!(bits(&prepared.slice(period).unwrap()) == bits(slice), "period {period}");
        }
    }

    #[test]
    fn a_canonical_log_is_prepared() {
        let (events, cache) = (busy_log(100, 1), tempfile::tempdir().unwrap());
        let dir = cache.path().join("log");
        let mut writer = LogWriter::create(&dir, &schema(), PartitionOptions::default()).unwrap();
        let columns = batch(0, &events).columns().to_vec();
        writer.write(&RecordBatch::try_new(arrow_schema(&schema()), columns).unwrap()).unwrap();
        writer.finish(ImportNotes::default()).unwrap();
        let mut heard = Vec::new();
        let log = Log::open(&dir).unwrap();
        let prepared = prepare(&log, &config(), cache.path(), &mut |progress| {
            heard.push(progress);
            true
        });
        let prepared = prepared.unwrap();
        check(&prepared, &in_memory(&events, &config()));
        let last = Progress { rows: 100, of: 100, periods: prepared.periods() };
        assert_eq!(heard.last(), Some(&last));
        assert!(heard.is_sorted_by_key(|progress| (progress.rows, progress.periods)), "got: {heard:?}");
    }

    /// Pre-training, then test-then-train to the end: every labelled example is learned from exactly once, and none
    /// before its label was observable.
    #[test]
    fn the_loop_learns_from_every_label_once_and_in_time() {
        let (events, cache) = (busy_log(200, 4), tempfile::tempdir().unwrap());
        let prepared = on_disk(&events, cache.path());
        let (seen, mut timeline) = prepared.pretraining(2).unwrap();
        let mut learned: Vec<(usize, SeenPeriod)> = vec![(1, seen)];
        for period in 2..prepared.periods() {
            let mut scoring = prepared.fresh(period).unwrap().scoring();
            let zeros = |inputs: crate::Inputs<'_>| Ok::<_, StreamError>(vec![0.0; inputs.examples().len()]);
            scoring.score("zero", Digest::of_bytes(b""), zeros).unwrap();
            learned.push((period, timeline.close(scoring.finish().unwrap().0).unwrap()));
        }
        let mut names = Vec::new();
        for (period, part) in
            learned.iter().flat_map(|(period, seen)| seen.parts().iter().map(move |part| (period, part)))
        {
            let end = prepared.facts(*period).end;
            assert!(part.observable.iter().all(|&observable| observable < end), "period {period}");
            names.extend_from_slice(&part.event);
        }
        let all: Vec<_> = (0..prepared.periods()).map(|period| prepared.load(period).unwrap()).collect();
        let labelled = |examples: &Examples| examples.label.iter().filter(|label| !label.is_nan()).count();
        let total: usize = all.iter().map(|examples| labelled(examples)).sum();
        assert_eq!(names.len() + timeline.waiting(), total);
        assert!(learned.iter().any(|(_, seen)| seen.parts().len() > 1), "some labels came late");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len() + timeline.waiting(), total, "none twice");
    }

    /// Batches that must not be read.
    fn untouched() -> impl Iterator<Item = Result<RecordBatch>> {
        std::iter::from_fn(|| panic!("the periods were there already"))
    }

    #[test]
    fn through_the_cache_is_as_in_memory_and_is_found_again() {
        let (events, cache) = (busy_log(200, 1), tempfile::tempdir().unwrap());
        let expected = in_memory(&events, &config());
        check(&on_disk(&events, cache.path()), &expected);
        let again = prepare_batches(&source(&events), untouched(), &config(), cache.path(), &mut |_| true).unwrap();
        check(&again, &expected);
        assert_eq!(again.damage(), None);
    }

    #[test]
    fn another_log_or_other_settings_are_another_preparation() {
        let (events, cache) = (busy_log(50, 1), tempfile::tempdir().unwrap());
        let first = on_disk(&events, cache.path()).key();
        assert_ne!(first, on_disk(&events[..49], cache.path()).key());
        let other = PrepareConfig { data_seed: 1, ..config() };
        let other = prepare_batches(&source(&events), batches(&events, 5), &other, cache.path(), &mut |_| true).unwrap();
        assert_ne!(first, other.key());
    }

    /// Stops at every ninth row in turn, leaving behind what a killed process would, and then finishes.
    #[test]
    fn stopping_anywhere_leaves_nothing_that_is_taken_for_whole() {
        let (events, cache) = (busy_log(80, 2), tempfile::tempdir().unwrap());
        let expected = in_memory(&events, &config());
        for rows in (0..events.len()).step_by(9) {
            let cut_off = batches(&events[..rows], 1)
                .map(|batch| batch.map_err(|error| error.to_string()))
                .chain(std::iter::once(Err("the power failed".to_owned())));
            let error = prepare_batches(&source(&events), cut_off, &config(), cache.path(), &mut |_| true).unwrap_err();
            assert!(error.to_string().contains("the power failed"), "got: {error}");
        }
        let dir = cache.path().join(key_of(&source(&events), &config()).to_string());
        fs::write(dir.join("index.partial"), "half an ind").unwrap();
        let finished = on_disk(&events, cache.path());
        check(&finished, &expected);
        assert_eq!(finished.damage(), None, "unfinished is not damaged");
    }

    /// Asked to stop at each thing told in turn, it stops there, reads no further batch, and the next call finishes.
    #[test]
    fn asked_to_stop_it_stops_at_once_and_begins_anew() {
        let (events, cache) = (busy_log(80, 2), tempfile::tempdir().unwrap());
        let stop_after = |times: usize| {
            let (mut told, mut read) = (0, 0);
            let counted = batches(&events, 1).inspect(|_| read += 1);
            let stopped = prepare_batches(&source(&events), counted, &config(), cache.path(), &mut |_| {
                told += 1;
                told < times
            });
            assert_eq!(told, times);
            assert!(read <= times, "{read} batches were read, told {times} times");
            assert!(matches!(stopped, Err(StreamError::Stopped)), "got: {stopped:?}");
        };
        for times in [1, 2, 40, 80] {
            stop_after(times);
        }
        let prepared = on_disk(&events, cache.path());
        check(&prepared, &in_memory(&events, &config()));
        assert_eq!(prepared.damage(), None, "unfinished is not damaged");
        // Checking periods that are there can be stopped as well; that touches nothing.
        stop_after(1);
        let again = prepare_batches(&source(&events), untouched(), &config(), cache.path(), &mut |_| true).unwrap();
        check(&again, &in_memory(&events, &config()));
    }

    #[test]
    fn damage_is_named_and_repaired() {
        let (events, cache) = (busy_log(60, 3), tempfile::tempdir().unwrap());
        let expected = in_memory(&events, &config());
        let dir = on_disk(&events, cache.path()).dir;
        let repaired = |damage: &dyn Fn(&Path), file: &str| {
            damage(&dir.join(file));
            let repaired = on_disk(&events, cache.path());
            assert!(repaired.damage().unwrap().contains(file), "got: {:?}", repaired.damage());
            check(&repaired, &expected);
        };
        let flip = |path: &Path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        repaired(&flip, "period-00001.bin");
        repaired(&flip, "index.json");
        repaired(&|path| File::options().write(true).open(path).unwrap().set_len(100).unwrap(), "period-00000.bin");
        repaired(&|path| fs::remove_file(path).unwrap(), "period-00001.bin");
        let swap = |path: &Path| assert!(fs::copy(dir.join("period-00000.bin"), path).unwrap() > 0);
        repaired(&swap, "period-00001.bin");
    }

    #[test]
    fn damage_after_opening_is_named_and_not_loaded() {
        let (events, cache) = (busy_log(60, 3), tempfile::tempdir().unwrap());
        let prepared = on_disk(&events, cache.path());
        fs::write(prepared.dir.join("period-00001.bin"), b"PRNLPERI").unwrap();
        assert!(prepared.load(1).unwrap_err().to_string().contains("period-00001.bin"));
        assert!(prepared.load(0).is_ok());
        assert!(prepared.load(99).is_err());
    }

    /// A period is the same whether or not the log goes on after it; so is the state at its close.
    #[test]
    fn a_log_that_grew_keeps_its_first_periods() {
        let (events, cache) = (busy_log(200, 4), tempfile::tempdir().unwrap());
        let long = on_disk(&events, cache.path());
        let short = on_disk(&events[..120], cache.path());
        assert!(short.periods() >= 3);
        for period in 0..short.periods() - 1 {
            assert!(short.state(period).unwrap() == long.state(period).unwrap(), "period {period}");
            let (short, long) = (short.slice(period).unwrap(), long.slice(period).unwrap());
            assert!(bits(&short) == bits(&long), "period {period}");
        }
    }

    /// What preparing gives to the first rows of the next period, a state gives to the same rows without their labels.
    #[test]
    fn a_state_gives_new_rows_the_columns_that_preparing_gives_them() {
        let (events, cache) = (busy_log(200, 5), tempfile::tempdir().unwrap());
        let prepared = on_disk(&events, cache.path());
        let mut compared = 0;
        for period in (0..prepared.periods() - 1).rev() {
            let bytes = prepared.state(period).unwrap();
            let state = HistoryState::from_bytes(&bytes).unwrap();
            assert_eq!(state.to_bytes(), bytes);
            let end = prepared.facts(period).end.0;
            // Only rows at the very moment of closing see exactly what the state holds.
            let Some(first) = events.iter().position(|event| event.time == end) else { continue };
            let row = Event { label: None, observable: None, ..events[first].clone() };
            let scored = state.examples(&schema(), None, &batch(first as u64, &[row])).unwrap();
            let next = prepared.slice(period + 1).unwrap();
            let resolved = |examples| resolve(&schema(), examples, 0);
            assert_eq!(resolved(&scored), resolved(&next.examples), "after period {period}");
            compared += 1;
        }
        assert!(compared >= 2, "the log has rows on the borders of periods");
    }

    #[test]
    fn states_in_any_order_are_the_same_and_damaged_ones_are_made_anew() {
        let (events, first, second) = (busy_log(100, 6), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let prepared = on_disk(&events, first.path());
        let forward: Vec<_> = (0..prepared.periods()).map(|period| prepared.state(period).unwrap()).collect();
        let other = on_disk(&events, second.path());
        let backward: Vec<_> = (0..other.periods()).rev().map(|period| other.state(period).unwrap()).collect();
        assert!(forward.iter().eq(backward.iter().rev()));
        let file = prepared.dir.join("state-00001.bin");
        assert_eq!(fs::read(&file).unwrap(), forward[1]);
        fs::write(&file, &forward[1][1..]).unwrap();
        assert_eq!(prepared.state(1).unwrap(), forward[1]);
        assert_eq!(fs::read(&file).unwrap(), forward[1]);
    }

    #[test]
    fn a_state_of_another_log_is_refused() {
        let (events, cache) = (busy_log(30, 1), tempfile::tempdir().unwrap());
        let state = on_disk(&events, cache.path()).state(0).unwrap();
        let state = HistoryState::from_bytes(&state).unwrap();
        let other = Schema::parse(&schema().to_toml().replace("\"price\"", "\"cost\"")).unwrap();
        let error = state.examples(&other, None, &batch(0, &events[..1])).unwrap_err().to_string();
        assert!(error.contains("other item features"), "got: {error}");
    }
}
