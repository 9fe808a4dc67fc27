//! What another system showed its users, in the place of what a method's own versions served: scores that are a column of the
//! log, or a file that is joined to it by event id.

use crate::experiment::Experiment;
use anyhow::{Context, Result, bail};
use perennial_core::{Digest, Examples};
use perennial_data::Log;
use perennial_data::log::version_name;
use perennial_data::scores::{Scores, note_versions};
use perennial_stream::{Prepared, SeenPeriod};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;

/// Where the scores are.
pub(super) enum Outside {
    /// In the log, and so in its examples. Its digest is that of the log.
    Column(Named),
    /// In a file.
    File {
        /// By event id.
        scores: Scores,
        digest: Digest,
        named: Named,
    },
}

/// Whose scores they are, as far as is known.
pub(super) struct Named {
    source: String,
    events: usize,
    versions: BTreeSet<String>,
}

impl Outside {
    /// The scores of the log, or those that the experiment names, if any.
    pub(super) fn read(experiment: &Experiment, log: &Log, prepared: &Prepared) -> Result<Option<Outside>> {
        match (log.schema().score(), &experiment.served_scores) {
            (None, None) => Ok(None),
            (None, Some(path)) => Outside::read_file(path, prepared).map(Some),
            (Some(_), None) if !compared(experiment) => Ok(None),
            (Some(field), None) => Outside::of_column(log, &field.name).map(Some),
            (Some(field), Some(_)) => bail!(
                "served_scores: the log has scores of its own in \"{}\"; leave one of them out (a log is imported without the \
                 column by a schema without the field)",
                field.name
            ),
        }
    }

    /// A column without a score is a mistake. Costs a reading of the log.
    fn of_column(log: &Log, score: &str) -> Result<Outside> {
        let (mut events, mut versions) = (0, BTreeSet::new());
        for batch in log.batches() {
            let batch = batch?;
            events += batch.column_by_name(score).map_or(0, |scores| scores.len() - scores.null_count());
            if let Some(names) = batch.column_by_name(&version_name(score)) {
                note_versions(&mut versions, names);
            }
        }
        if events == 0 {
            bail!(
                "previous = \"logged\": the log says in \"{score}\" what was served, but no event has a value; import it by a schema \
                 without the field to learn from what each method's own versions serve"
            );
        }
        Ok(Outside::Column(Named { source: format!("column {score}"), events, versions }))
    }

    /// A file that knows no event of the log is a mistake.
    fn read_file(path: &Path, prepared: &Prepared) -> Result<Outside> {
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
        let named = Named { source: name, events: scores.len(), versions: scores.versions().clone() };
        Ok(Outside::File { digest: scores.digest(), scores, named })
    }

    /// The same examples with the scores; those that nobody scored have none.
    pub(super) fn join(&self, seen: SeenPeriod) -> SeenPeriod {
        let Outside::File { scores, .. } = self else { return seen };
        let of = |part: &Examples| {
            Ok::<_, Infallible>(part.event.iter().map(|&event| scores.get(event).unwrap_or(f32::NAN)).collect())
        };
        let Ok(joined) = seen.rescored(of);
        joined
    }

    /// Over all scores of a file: what is learned from them is learned from data.
    pub(super) fn digest(&self) -> Option<Digest> {
        match self {
            Outside::Column(_) => None,
            Outside::File { digest, .. } => Some(*digest),
        }
    }

    /// For the lineage.
    pub(super) fn describe(&self) -> String {
        let (Outside::Column(named) | Outside::File { named, .. }) = self;
        named.describe()
    }
}

/// Whether any loss compares with what was served.
fn compared(experiment: &Experiment) -> bool {
    let training = &experiment.training;
    training.objective.needs_previous() || experiment.method.iter().any(|method| method.compares_with_served(training))
}

impl Named {
    fn describe(&self) -> String {
        let Named { source, events, versions } = self;
        let shown: Vec<&str> = versions.iter().map(String::as_str).take(SHOWN).collect();
        let shown = shown.join(", ");
        match versions.len() {
            0 => format!("{source} of {events} events"),
            count if count > SHOWN => format!("{source} of {events} events by {count} versions, {shown} and others"),
            _ => format!("{source} of {events} events by {shown}"),
        }
    }
}

/// Versions that a lineage names.
const SHOWN: usize = 10;
