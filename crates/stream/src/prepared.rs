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
use perennial_disk::{Disk, Draft};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A log cut into periods, on disk.
#[derive(Debug)]
pub struct Prepared {
    dir: PathBuf,
    disk: Disk,
    index: Index,
    layout: Layout,
    history: usize,
    damage: Option<String>,
    /// The past at the end of the periods replayed so far, kept because states are asked for in order.
    replay: Mutex<Option<Replay>>,
}

/// Where preparations are kept.
#[derive(Debug, Clone)]
pub struct Cache {
    /// The folder; made if it is not there.
    pub folder: PathBuf,
    /// The disk; one that is made to fail, in tests.
    pub disk: Disk,
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
const FORMAT: u32 = 2;
const INDEX: &str = "index.json";

impl Cache {
    /// A folder on the disk as it is.
    pub fn at(folder: impl Into<PathBuf>) -> Cache {
        Cache { folder: folder.into(), disk: Disk::default() }
    }
}

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
    cache: &Cache,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Prepared> {
    // Nobody asks for rows where the periods are found. Where they are made, the log is read once more to check it.
    let (mut checked, mut batches) = (false, log.batches());
    let rows = std::iter::from_fn(|| match std::mem::replace(&mut checked, true) {
        true => batches.next(),
        false => log.verify().map_or_else(|damage| Some(Err(damage)), |()| batches.next()),
    });
    prepare_batches(&Source::of(log), rows, config, cache, progress)
}

/// As [`prepare`], for batches from elsewhere. They are not asked for if the periods are found.
pub fn prepare_batches<I, E>(
    source: &Source,
    batches: I,
    config: &PrepareConfig,
    cache: &Cache,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Prepared>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    config.check(&source.schema)?;
    let layout = Layout::new(&source.schema, config.label.as_deref(), config.history > 0)?;
    let key = key_of(source, config);
    let dir = cache.folder.join(key.to_string());
    cache.disk.create_folder(&dir).map_err(StreamError::io("creating", &dir))?;
    let _lock = lock(&dir)?;
    let files = Files { dir: &dir, disk: &cache.disk };
    let (index, damage) = match find(&dir, key, source.rows, progress)? {
        Found::Whole(index) => (index, None),
        Found::Nothing => (files.build(key, source, batches, config, progress)?, None),
        Found::Damaged(problem) => (files.build(key, source, batches, config, progress)?, Some(problem)),
    };
    let (disk, history, replay) = (cache.disk.clone(), config.history as usize, Mutex::new(None));
    Ok(Prepared { dir, disk, index, layout, history, damage, replay })
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

    /// Bytes of a period's file; its examples take about as many in memory. Panics if there is no such period.
    pub fn bytes(&self, period: usize) -> u64 {
        self.index.files[period].bytes
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
        Files { dir: &self.dir, disk: &self.disk }.write_whole(&path, |file| file.write_all(&state))?;
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

/// Two events of one name cannot be told apart by the scores and negatives that are keyed by it.
fn refuse_twins(slice: &Slice) -> Result<()> {
    let of_log = slice.examples.event.iter().zip(&slice.sampled).filter(|(_, sampled)| !**sampled);
    let mut events: Vec<u64> = of_log.map(|(&event, _)| event).collect();
    events.sort_unstable();
    match events.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(StreamError::Config(format!(
            "period {} has two events of the id {}: an event_id column must name each event once; leave it out of the \
             schema, and import gives every row a name of its own",
            slice.facts.index, pair[0]
        ))),
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

/// The folder of a preparation, to be written to by whoever holds its lock.
struct Files<'a> {
    dir: &'a Path,
    disk: &'a Disk,
}

impl Files<'_> {
    fn build<I, E>(
        &self,
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
        self.forget()?;
        let mut slices = Slices::new(&source.schema, config, source.rows, batches)?;
        let mut files = Vec::new();
        while let Some(turn) = slices.turn() {
            if let Some(slice) = turn? {
                files.push(self.write_slice(slice)?);
            }
            tell(progress, Progress { rows: slices.rows_read(), of: source.rows, periods: files.len() })?;
        }
        self.sync()?;
        let index = Index { format: FORMAT, key, dropped_rows: slices.dropped_rows(), files };
        self.write_index(&index)?;
        Ok(index)
    }

    /// Removes the index first, so that what is about to be written is not taken for what it says.
    fn forget(&self) -> Result<()> {
        let path = self.dir.join(INDEX);
        self.disk.remove_all(&path).map_err(StreamError::io("removing", &path))?;
        self.sync()
    }

    fn write_slice(&self, slice: Slice) -> Result<FileEntry> {
        refuse_twins(&slice)?;
        let name = format!("period-{:05}.bin", slice.facts.index);
        let (bytes, blake3) =
            self.write_whole(&self.dir.join(&name), |file| period_file::write(file, &slice.examples, &slice.sampled))?;
        Ok(FileEntry { name, bytes, blake3, facts: slice.facts })
    }

    fn write_index(&self, index: &Index) -> Result<()> {
        let sealed = Sealed { digest: digest_of(index), index: index.clone() };
        let text = serde_json::to_vec(&sealed).expect("an index is plain data");
        self.write_whole(&self.dir.join(INDEX), |file| file.write_all(&text))?;
        self.sync()
    }

    /// The file is whole or absent. The folder itself is not synced.
    fn write_whole<T>(&self, path: &Path, write: impl FnOnce(&mut Draft) -> io::Result<T>) -> Result<T> {
        let attempt = || {
            let mut draft = self.disk.draft(path)?;
            let written = write(&mut draft)?;
            draft.place()?;
            Ok(written)
        };
        attempt().map_err(StreamError::io("writing", path))
    }

    fn sync(&self) -> Result<()> {
        self.disk.sync_folder(self.dir).map_err(StreamError::io("syncing", self.dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Candidates, Negatives, Reject, Slicing, Weighing};
    use crate::testing::{Event, batch, batches, bits, busy_log, resolve, schema};
    use perennial_core::Span;
    use perennial_data::{ImportNotes, LogWriter, PartitionOptions, arrow_schema};
    use perennial_disk::fault::{Fault, Faults, Survives};

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
        prepare_batches(&source(events), batches(events, 5), &config(), &Cache::at(cache), &mut |_| true).unwrap()
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
        let prepared = prepare(&log, &config(), &Cache::at(cache.path()), &mut |progress| {
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
        let again =
            prepare_batches(&source(&events), untouched(), &config(), &Cache::at(cache.path()), &mut |_| true).unwrap();
        check(&again, &expected);
        assert_eq!(again.damage(), None);
    }

    #[test]
    fn another_log_or_other_settings_are_another_preparation() {
        let (events, cache) = (busy_log(50, 1), tempfile::tempdir().unwrap());
        let first = on_disk(&events, cache.path()).key();
        assert_ne!(first, on_disk(&events[..49], cache.path()).key());
        let other = PrepareConfig { data_seed: 1, ..config() };
        let other =
            prepare_batches(&source(&events), batches(&events, 5), &other, &Cache::at(cache.path()), &mut |_| true)
                .unwrap();
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
            let error = prepare_batches(&source(&events), cut_off, &config(), &Cache::at(cache.path()), &mut |_| true)
                .unwrap_err();
            assert!(error.to_string().contains("the power failed"), "got: {error}");
        }
        let dir = cache.path().join(key_of(&source(&events), &config()).to_string());
        fs::write(dir.join("index.json.partial"), "half an ind").unwrap();
        let finished = on_disk(&events, cache.path());
        check(&finished, &expected);
        assert_eq!(finished.damage(), None, "unfinished is not damaged");
    }

    /// Whatever is cut while periods and a state are written, the next call gives what an undisturbed one gives.
    #[test]
    fn cut_at_any_write_point_it_begins_anew() {
        let events = busy_log(60, 2);
        let attempt = |folder: &Path, disk: Disk| {
            let cache = Cache { folder: folder.to_owned(), disk };
            let prepared = prepare_batches(&source(&events), batches(&events, 5), &config(), &cache, &mut |_| true)?;
            prepared.state(1).map(|state| (prepared, state))
        };
        let (undisturbed, counter) = (tempfile::tempdir().unwrap(), Faults::none());
        let (expected, state) = attempt(undisturbed.path(), Disk::watched(counter.clone())).unwrap();
        let expected: Vec<Slice> = (0..expected.periods()).map(|period| expected.slice(period).unwrap()).collect();
        let names = |folder: &Path| {
            let dir = folder.join(key_of(&source(&events), &config()).to_string());
            let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let faults = [
            Fault::PowerCut(Survives::Everything),
            Fault::PowerCut(Survives::Names),
            Fault::PowerCut(Survives::Nothing),
            Fault::Error(io::ErrorKind::StorageFull),
        ];
        // One fault at each step, in turn; with `PERENNIAL_FAULTS=all` every fault at every step.
        let all = std::env::var("PERENNIAL_FAULTS").is_ok_and(|value| value == "all");
        for (nth, fault) in faults.into_iter().enumerate() {
            for step in (0..counter.steps()).filter(|step| all || step % faults.len() == nth) {
                let folder = tempfile::tempdir().unwrap();
                attempt(folder.path(), Disk::watched(Faults::at(step, fault))).expect_err("the fault strikes");
                let (prepared, again) = attempt(folder.path(), Disk::default()).unwrap();
                check(&prepared, &expected);
                assert!(again == state, "{fault:?} at {step}");
                assert_eq!(prepared.damage(), None, "{fault:?} at {step}: unfinished is not damaged");
                assert_eq!(names(folder.path()), names(undisturbed.path()), "{fault:?} at {step}");
            }
        }
    }

    /// Asked to stop at each thing told in turn, it stops there, reads no further batch, and the next call finishes.
    #[test]
    fn asked_to_stop_it_stops_at_once_and_begins_anew() {
        let (events, cache) = (busy_log(80, 2), tempfile::tempdir().unwrap());
        let stop_after = |times: usize| {
            let (mut told, mut read) = (0, 0);
            let counted = batches(&events, 1).inspect(|_| read += 1);
            let stopped = prepare_batches(&source(&events), counted, &config(), &Cache::at(cache.path()), &mut |_| {
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
        let again =
            prepare_batches(&source(&events), untouched(), &config(), &Cache::at(cache.path()), &mut |_| true).unwrap();
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
