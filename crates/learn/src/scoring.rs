//! Scores of examples that a strategy looks at.

use crate::LearnError;
use perennial_core::Examples;
use perennial_model::Serving;
use perennial_nn::Workers;

/// Logits of all examples, in order of parts.
pub(crate) fn score<'a>(
    serving: Serving<'_>,
    parts: impl IntoIterator<Item = &'a Examples>,
    workers: &Workers,
) -> Result<Vec<f32>, LearnError> {
    let mut logits = Vec::new();
    for part in parts {
        logits.extend(serving.score(&part.keys, &part.columns, part.len(), workers)?);
    }
    Ok(logits)
}
