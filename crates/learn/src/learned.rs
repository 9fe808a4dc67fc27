//! What an update maps to a new one.

use crate::{Gate, LearnError, Memory, TrainingConfig, mixed_pieces};
use perennial_core::{Digest, DigestBuilder};
use perennial_eval::Served;
use perennial_model::{BackboneConfig, Encoder, Generated, Mixed, Servable, Serving};

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
    /// The models that are served together in its place, where the strategy mixes some.
    pub mixed: Option<Mixed>,
    /// What the strategy remembers.
    pub memory: Memory,
    /// Decides whether the candidate or the base model is served; without one the candidate always is.
    pub gate: Option<Box<Gate>>,
}

impl Learned {
    /// A model that has learned nothing.
    pub fn new(
        backbone: &BackboneConfig,
        encoder: Encoder,
        training: &TrainingConfig,
        seed: u64,
    ) -> Result<Learned, LearnError> {
        let servable = Servable::new(backbone, encoder, &training.optimisers()?, training.rows, seed)?;
        training.check_groups(servable.backbone.spec())?;
        Ok(Learned { servable, step: 0, generated: None, mixed: None, memory: Memory::Nothing, gate: None })
    }

    /// What answers requests.
    pub fn serving(&self) -> Serving<'_> {
        match self.gate.as_ref().map(|gate| gate.served) {
            Some(Served::Base) => self.base(),
            Some(Served::Candidate) | None => self.made(),
        }
    }

    /// What the strategy made, served or not.
    fn made(&self) -> Serving<'_> {
        match (&self.mixed, &self.generated) {
            (Some(mixed), _) => self.servable.serving_mixed(mixed),
            (None, Some(generated)) => self.servable.serving_generated(generated),
            (None, None) => self.servable.serving(),
        }
    }

    /// What the strategy made, where a gate has something else to compare it with.
    pub(crate) fn candidate(&self) -> Option<Serving<'_>> {
        let gate = self.gate.as_ref()?;
        (gate.beside.is_some() || self.generated.is_some() || self.mixed.is_some()).then(|| self.made())
    }

    /// The plain incremental update: of a version with a gate.
    pub(crate) fn base(&self) -> Serving<'_> {
        match self.gate.as_ref().and_then(|gate| gate.beside.as_ref()) {
            Some(beside) => beside.servable.serving(),
            None => self.servable.serving(),
        }
    }

    /// The same without what only updates need: a model without a gate that serves what this one does.
    pub fn served_only(self) -> Learned {
        let served = match self.gate {
            Some(gate) if gate.served == Served::Base => match gate.beside {
                Some(beside) => *beside,
                None => Learned { generated: None, mixed: None, gate: None, ..self },
            },
            _ => Learned { gate: None, ..self },
        };
        Learned { memory: Memory::Nothing, ..served }
    }

    /// Digest over everything that scores or future updates depend on.
    pub fn digest(&self) -> Digest {
        let mut builder = DigestBuilder::new("learned");
        builder.digest(&self.servable.digest()).u64(self.step);
        if let Some(generated) = &self.generated {
            builder.str("generated").digest(&generated.params.digest());
        }
        if let Some(mixed) = &self.mixed {
            builder.str("mixed").digest(&mixed_pieces(mixed).digest());
        }
        let memory = self.memory.pieces();
        if !memory.is_empty() {
            builder.digest(&memory.digest());
        }
        if let Some(gate) = &self.gate {
            builder.str("gate").digest(&gate.pieces().digest());
        }
        builder.finish()
    }
}
