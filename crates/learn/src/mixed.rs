//! Models that answer together, in the pieces in which a version stores them.

use crate::{LearnError, Pieces, generated_pieces, restore_generated};
use perennial_model::{Member, Mixed, ModelSpec};

/// In pieces.
pub fn mixed_pieces(mixed: &Mixed) -> Pieces {
    let mut pieces = Pieces::default();
    let weights: Vec<f64> = mixed.members.iter().map(|member| member.weight).collect();
    pieces.put_json("weights", &weights);
    for (nth, member) in mixed.members.iter().enumerate() {
        if let Some(generated) = &member.generated {
            pieces.put_all(&member_name(nth), generated_pieces(generated));
        }
    }
    pieces
}

/// What [`mixed_pieces`] stored, for a backbone of this spec; `None` if there is no piece.
pub fn restore_mixed(mut pieces: Pieces, spec: &ModelSpec) -> Result<Option<Mixed>, LearnError> {
    if pieces.is_empty() {
        return Ok(None);
    }
    let weights: Vec<f64> = pieces.take_json("weights")?;
    let member = |(nth, weight)| {
        let generated = restore_generated(pieces.take_all(&member_name(nth)), spec)?;
        Ok(Member { weight, generated })
    };
    Ok(Some(Mixed { members: weights.into_iter().enumerate().map(member).collect::<Result<_, LearnError>>()? }))
}

fn member_name(nth: usize) -> String {
    format!("member/{nth:03}")
}
