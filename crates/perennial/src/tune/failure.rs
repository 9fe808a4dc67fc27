//! A trial whose training came to nothing: kept beside its folder's other files, so that it is not tried again.

use super::base::Trial;
use crate::split::held_back_digest;
use anyhow::{Context, Result};
use perennial_core::{Digest, DigestBuilder};
use perennial_data::log::Log;
use perennial_disk::Disk;
use perennial_learn::LearnError;
use perennial_stream::Source;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;

const FILE: &str = "diverged.json";

/// What happened, and all that it depends on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    key: Digest,
    problem: String,
}

/// What went wrong in training, if that is all: a step that is too long makes a trial a bad one, not the search. Every
/// other error (a disk, a log, a stop) is the search's own.
pub(super) fn diverged(error: &anyhow::Error) -> Option<String> {
    let not_finite = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(LearnError::NotFinite { .. }))
            || matches!(cause.downcast_ref(), Some(LearnError::Eval(perennial_eval::Error::Logit { .. })))
            || matches!(cause.downcast_ref(), Some(perennial_eval::Error::Logit { .. }))
    };
    error.chain().any(not_finite).then(|| format!("{error:#}"))
}

/// What was kept of this trial on these data; of others it says nothing.
pub(super) fn find(trial: &Trial, folder: &Path) -> Result<Option<String>> {
    let path = folder.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let record: Record = serde_json::from_str(&text)
        .with_context(|| format!("{} is damaged; delete it to have the trial made again", path.display()))?;
    Ok((record.key == key(trial)?).then_some(record.problem))
}

/// Keeps what went wrong.
pub(super) fn keep(trial: &Trial, folder: &Path, problem: &str, disk: &Disk) -> Result<()> {
    let path = folder.join(FILE);
    let record = Record { key: key(trial)?, problem: problem.to_owned() };
    let text = serde_json::to_vec_pretty(&record).context("a record is plain data")?;
    disk.replace(&path, &text).with_context(|| format!("cannot write {}", path.display()))
}

/// Digest of the experiment and of the data that it sees.
fn key(trial: &Trial) -> Result<Digest> {
    let data = match trial {
        Trial::Split(experiment) => held_back_digest(experiment)?,
        Trial::Continual(experiment) => Source::of(&Log::open(&experiment.log)?).digest,
    };
    Ok(DigestBuilder::new("diverged trial").str(&trial.to_toml()).digest(&data).finish())
}
