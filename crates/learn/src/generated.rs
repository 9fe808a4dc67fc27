//! Generated parameters in the pieces in which a version stores them.

use crate::memory::damaged;
use crate::{LearnError, Piece, Pieces};
use perennial_model::generator::{Generator, GeneratorConfig, Newborn, Recurrent};
use perennial_model::{Generated, ModelSpec, Params};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How newborn ids get their values.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Header {
    AsIs,
    Recurrent { generator: GeneratorConfig, steps: usize },
}

/// In pieces.
pub fn generated_pieces(generated: &Generated) -> Pieces {
    let mut pieces = Pieces::default();
    pieces.put_params("params", generated.params.clone());
    match &generated.newborn {
        Newborn::AsIs => pieces.put_json("newborn", &Header::AsIs),
        Newborn::Recurrent(Recurrent { generator, past, steps }) => {
            for (nth, past) in past.iter().enumerate() {
                pieces
                    .put_params(format!("past/{nth:04}"), Params { dense: past.table_weights(), ..Params::default() });
            }
            pieces.put_json("newborn", &Header::Recurrent { generator: generator.config().clone(), steps: *steps });
            pieces.put_params("generator", Params { dense: generator.weights.clone(), ..Params::default() });
        }
    }
    pieces
}

/// What [`generated_pieces`] stored, for a backbone of this spec; `None` if there is no piece.
pub fn restore_generated(mut pieces: Pieces, spec: &ModelSpec) -> Result<Option<Generated>, LearnError> {
    if pieces.is_empty() {
        return Ok(None);
    }
    let newborn = match pieces.take_json("newborn")? {
        Header::AsIs => Newborn::AsIs,
        Header::Recurrent { generator, steps } => {
            let generator = Generator::with_weights(&generator, spec, pieces.take_params("generator")?.dense)?;
            let past = past_of(&mut pieces, &generator)?;
            Newborn::Recurrent(Recurrent { generator: Arc::new(generator), past, steps })
        }
    };
    let mut params = pieces.take_params("params")?;
    params.share();
    Ok(Some(Generated { params, newborn }))
}

/// Generators of past periods, as far as tables are concerned.
pub(crate) fn past_of(pieces: &mut Pieces, generator: &Generator) -> Result<Vec<Arc<Generator>>, LearnError> {
    let past = pieces.take_all("past").by_name.into_values();
    past.map(|piece| match piece {
        Piece::Params(weights) => Ok(Arc::new(generator.with_table_weights(weights.dense))),
        Piece::Bytes(_) => Err(damaged("past", "it holds no weights")),
    })
    .collect()
}
