//! The best that any method could score, where a synthetic world knows the truth.

use super::job::{Shared, users_of};
use anyhow::Result;
use perennial_data::log::Log;
use perennial_data::scores::Scores;
use perennial_eval::{PeriodScore, evaluate};

/// Metrics of the true logits per scored period, if `truth.parquet` lies beside the log and knows every example of it:
/// sampled negatives have no truth.
pub(super) fn of(shared: &Shared<'_>, log: &Log) -> Result<Option<Vec<PeriodScore>>> {
    let path = log.dir().with_file_name(perennial_world::TRUTH_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let truth = Scores::read(&path)?;
    let mut ceiling = Vec::new();
    for period in shared.periods.clone() {
        let examples = shared.prepared.load(period as usize)?;
        let mut logits = Vec::with_capacity(examples.len());
        for event in &examples.event {
            match truth.get(*event) {
                Some(logit) => logits.push(logit),
                None => return Ok(None),
            }
        }
        let metrics = evaluate(&logits, &examples.label, &examples.weight, &users_of(shared.schema, &examples.user))?;
        ceiling.push(PeriodScore { period, metrics });
    }
    Ok(Some(ceiling))
}
