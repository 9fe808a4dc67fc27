//! Generated parameters in the pieces in which a version stores them.

use crate::{LearnError, Pieces};
use perennial_model::generator::{Generator, GeneratorConfig, Newborn};
use perennial_model::{Generated, ModelSpec, Params};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    generator: GeneratorConfig,
    steps: usize,
    copied: bool,
}

/// In pieces.
pub fn generated_pieces(generated: &Generated) -> Pieces {
    let Newborn { generator, steps, copied } = &generated.newborn;
    let mut pieces = Pieces::default();
    pieces.put_json("newborn", &Header { generator: generator.config().clone(), steps: *steps, copied: *copied });
    pieces.put_params("generator", Params { dense: generator.weights.clone(), tables: Vec::new() });
    pieces.put_params("params", generated.params.clone());
    pieces
}

/// What [`generated_pieces`] stored, for a backbone of this spec; `None` if there is no piece.
pub fn restore_generated(mut pieces: Pieces, spec: &ModelSpec) -> Result<Option<Generated>, LearnError> {
    if pieces.is_empty() {
        return Ok(None);
    }
    let Header { generator, steps, copied } = pieces.take_json("newborn")?;
    let generator = Generator::with_weights(&generator, spec, pieces.take_params("generator")?.dense)?;
    let mut params = pieces.take_params("params")?;
    params.share();
    Ok(Some(Generated { params, newborn: Newborn { generator: Arc::new(generator), steps, copied } }))
}
