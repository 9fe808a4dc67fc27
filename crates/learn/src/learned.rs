//! What an update maps to a new one.

use crate::{LearnError, Memory, TrainingConfig};
use perennial_core::{Digest, DigestBuilder};
use perennial_model::{BackboneConfig, Encoder, Generated, Servable, Serving};

/// A model with all that its next update needs: a value. The optimiser's slots lie beside the parameters they belong
/// to, and travel with the version.
#[derive(Debug, Clone)]
pub struct Learned {
    /// The base model: what the next update trains on.
    pub servable: Servable,
    /// Steps that the optimiser has taken.
    pub step: u64,
    /// What is served in its place, where the strategy generates parameters.
    pub generated: Option<Generated>,
    /// What the strategy remembers.
    pub memory: Memory,
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
        Ok(Learned { servable, step: 0, generated: None, memory: Memory::Nothing })
    }

    /// What answers requests.
    pub fn serving(&self) -> Serving<'_> {
        match &self.generated {
            None => self.servable.serving(),
            Some(generated) => self.servable.serving_generated(generated),
        }
    }

    /// Digest over everything that scores or future updates depend on.
    pub fn digest(&self) -> Digest {
        let mut builder = DigestBuilder::new("learned");
        builder.digest(&self.servable.digest()).u64(self.step);
        if let Some(generated) = &self.generated {
            builder.str("generated").digest(&generated.params.digest());
        }
        let memory = self.memory.pieces();
        if !memory.is_empty() {
            builder.digest(&memory.digest());
        }
        builder.finish()
    }
}
