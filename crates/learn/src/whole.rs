//! A whole model in pieces: one that goes along with another and is stored in its version.

use crate::memory::damaged;
use crate::{LearnError, Learned, Memory, Piece, Pieces, TrainingConfig};
use perennial_model::{Backbone, Encoder, ModelSpec, Params, Servable};

/// A model whose strategy remembers and generates nothing, with all that its next update needs.
pub(crate) fn whole_pieces(learned: &Learned) -> Pieces {
    let Servable { encoder, params, .. } = &learned.servable;
    let mut pieces = Pieces::default();
    pieces.put_json("step", &learned.step);
    pieces.put_bytes("encoder", encoder.header());
    for (nth, vocabulary) in encoder.vocabularies().iter().enumerate() {
        pieces.put_bytes(format!("vocabulary/{nth:03}"), vocabulary.to_bytes());
    }
    pieces.put_params("params", params.clone());
    pieces
}

/// What [`whole_pieces`] stored, for this backbone.
pub(crate) fn restore_whole(
    mut pieces: Pieces,
    backbone: &Backbone,
    training: &TrainingConfig,
) -> Result<Learned, LearnError> {
    let bytes = |piece| match piece {
        Piece::Bytes(bytes) => Ok(bytes),
        Piece::Params(_) => Err(damaged("vocabulary", "it holds parameters")),
    };
    let vocabularies = pieces.take_all("vocabulary").by_name.into_values();
    let vocabularies = vocabularies.map(bytes).collect::<Result<Vec<_>, _>>()?;
    let encoder = Encoder::from_parts(&pieces.take_bytes("encoder")?, &vocabularies)?;
    let mut params = pieces.take_params("params")?;
    params.train_with(backbone.spec(), &training.optimisers()?, training.rows)?;
    if !fits(&params, backbone.spec(), &encoder) {
        return Err(damaged("params", "they are not those of this model"));
    }
    params.share();
    let servable = Servable { encoder, backbone: backbone.clone(), params };
    let step = pieces.take_json("step")?;
    Ok(Learned { servable, step, generated: None, mixed: None, memory: Memory::Nothing, gate: None })
}

/// Whether parameters have the shapes of the backbone, and a row for every id of the encoder.
fn fits(params: &Params, spec: &ModelSpec, encoder: &Encoder) -> bool {
    let tensors = spec.dense.iter().map(|dense| (dense.name.as_str(), dense.rows, dense.cols));
    let tables = spec.tables.iter().map(|table| (table.dim, encoder.vocabularies()[table.vocab.0 as usize].rows()));
    let statistics = spec.statistics.iter().map(|one| (one.name.as_str(), one.cols));
    params.dense.iter().map(|dense| (dense.name.as_str(), dense.rows, dense.cols)).eq(tensors)
        && params.statistics.iter().map(|one| (one.name.as_str(), one.values.len())).eq(statistics)
        && params.tables.iter().map(|table| (table.dim(), table.rows() as usize)).eq(tables)
}
