//! What the versions in service scored, as side files of the log: one per method, seed and period, joined by event id.

use super::files;
use super::job::Shared;
use super::ledger::Place;
use anyhow::{Context, Result, bail};
use perennial_core::Examples;
use perennial_data::scores::{ScoreWriter, Scores};
use perennial_stream::AwaitingPeriod;
use std::path::PathBuf;

/// Keeps the scores of a period.
pub(super) fn keep(shared: &Shared<'_>, place: Place<'_>, events: &[u64], logits: &[f32]) -> Result<()> {
    let path = path(shared, place);
    shared.options.disk.create_folder(path.parent().expect("a score file lies in a folder"))?;
    let mut writer = ScoreWriter::create_on(&shared.options.disk, &path)?;
    writer.write(events, logits)?;
    Ok(writer.finish()?)
}

/// The period with the scores that were kept of it, bit for bit those of the version that served it.
pub(super) fn recall(shared: &Shared<'_>, place: Place<'_>, awaiting: AwaitingPeriod) -> Result<AwaitingPeriod> {
    let path = path(shared, place);
    let scores = Scores::read(&path).with_context(|| {
        let method = place.method;
        format!("\"{method}\" learns from what it served; delete its ledger to have it served and learned again")
    })?;
    let logits = joined(&scores, awaiting.outcome()).with_context(|| format!("in {}", path.display()))?;
    Ok(awaiting.with_scores(logits)?)
}

fn joined(scores: &Scores, examples: &Examples) -> Result<Vec<f32>> {
    let logit = |&event: &u64| match scores.get(event) {
        Some(logit) => Ok(logit),
        None => bail!("event {event} has no score"),
    };
    examples.event.iter().map(logit).collect()
}

fn path(shared: &Shared<'_>, Place { method, seed, period }: Place<'_>) -> PathBuf {
    let folder = shared.options.out.join(files::SCORES).join(method).join(seed.to_string());
    folder.join(format!("{period:04}.parquet"))
}
