//! What an update maps to a new one.

use crate::{LearnError, TrainingConfig};
use perennial_core::{Digest, DigestBuilder};
use perennial_model::{BackboneConfig, Encoder, Servable};

/// A model with all that its next update needs: a value. The optimiser's slots lie beside the parameters they belong
/// to, and travel with the version.
#[derive(Debug, Clone)]
pub struct Learned {
    /// What can be served.
    pub servable: Servable,
    /// Steps that the optimiser has taken.
    pub step: u64,
}

impl Learned {
    /// A model that has learned nothing.
    pub fn new(
        backbone: &BackboneConfig,
        encoder: Encoder,
        training: &TrainingConfig,
        seed: u64,
    ) -> Result<Learned, LearnError> {
        let servable = Servable::new(backbone, encoder, &training.optimiser, training.rows, seed)?;
        Ok(Learned { servable, step: 0 })
    }

    /// Digest over everything that scores or future updates depend on.
    pub fn digest(&self) -> Digest {
        DigestBuilder::new("learned").digest(&self.servable.digest()).u64(self.step).finish()
    }
}
