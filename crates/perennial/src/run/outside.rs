//! What another system showed its users: scores joined to the log by event id, in the place of what a method's own versions
//! served.

use crate::experiment::Experiment;
use anyhow::{Context, Result, bail};
use perennial_core::{Digest, Examples};
use perennial_data::scores::Scores;
use perennial_stream::{Prepared, SeenPeriod};
use std::convert::Infallible;

/// The scores of a file.
pub(super) struct Outside {
    scores: Scores,
    digest: Digest,
    name: String,
}

impl Outside {
    /// Those that the experiment names, if any. A file that knows no event of the log is a mistake.
    pub(super) fn read(experiment: &Experiment, prepared: &Prepared) -> Result<Option<Outside>> {
        let Some(path) = &experiment.served_scores else { return Ok(None) };
        let scores = Scores::read(path).context("served_scores")?;
        let mut joined = false;
        for period in 0..prepared.periods() {
            joined = prepared.load(period)?.event.iter().any(|&event| scores.get(event).is_some());
            if joined {
                break;
            }
        }
        if !joined {
            bail!(
                "served_scores: none of the {} events in {} is in the log; an event is named by the log's event_id column, \
                 which `perennial inspect` shows",
                scores.len(),
                path.display()
            );
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Some(Outside { digest: scores.digest(), scores, name }))
    }

    /// The same examples with the scores of the file; those that it does not know have none.
    pub(super) fn join(&self, seen: &SeenPeriod) -> SeenPeriod {
        let of = |part: &Examples| {
            Ok::<_, Infallible>(part.event.iter().map(|&event| self.scores.get(event).unwrap_or(f32::NAN)).collect())
        };
        let Ok(joined) = seen.rescored(of);
        joined
    }

    /// Over all scores: what is learned from them is learned from data.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// For the lineage: the file, and whose scores they are as far as it says.
    pub(super) fn describe(&self) -> String {
        let versions = self.scores.versions();
        let named: Vec<&str> = versions.iter().map(String::as_str).take(SHOWN).collect();
        match versions.len() {
            0 => format!("{} of {} events", self.name, self.scores.len()),
            count if count > SHOWN => {
                format!(
                    "{} of {} events by {count} versions, {} and others",
                    self.name,
                    self.scores.len(),
                    named.join(", ")
                )
            }
            _ => format!("{} of {} events by {}", self.name, self.scores.len(), named.join(", ")),
        }
    }
}

/// Versions that a lineage names.
const SHOWN: usize = 10;
