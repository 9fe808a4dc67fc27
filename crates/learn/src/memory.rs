//! What a strategy remembers from one update to the next, and the pieces in which a version stores it.

use crate::LearnError;
use crate::strategy::{asmg_gru, asmg_linear, mixture, sml, spmf};
use perennial_core::{Digest, DigestBuilder};
use perennial_model::Params;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// What a strategy remembers beside the model.
#[derive(Debug, Clone, Default)]
pub enum Memory {
    /// Nothing, or nothing yet.
    #[default]
    Nothing,
    /// Past models, states and generator of a recurrent ASMG.
    AsmgGru(Box<asmg_gru::Memory>),
    /// Past models and weights of an ASMG-Linear.
    AsmgLinear(Box<asmg_linear::Memory>),
    /// Weights of a mixture, and what its experts remember.
    Mixture(Box<mixture::Memory>),
    /// Reservoirs of an SPMF.
    Spmf(Box<spmf::Memory>),
    /// The previous version and the networks of an SML.
    Sml(Box<sml::Memory>),
}

impl Memory {
    /// In pieces, to be stored; none where there is nothing to remember.
    pub fn pieces(&self) -> Pieces {
        match self {
            Memory::Nothing => Pieces::default(),
            Memory::AsmgGru(memory) => memory.pieces(),
            Memory::AsmgLinear(memory) => memory.pieces(),
            Memory::Mixture(memory) => memory.pieces(),
            Memory::Spmf(memory) => memory.pieces(),
            Memory::Sml(memory) => memory.pieces(),
        }
    }
}

/// One thing to be stored.
#[derive(Debug, Clone)]
pub enum Piece {
    /// As it is.
    Bytes(Vec<u8>),
    /// Parameters, with or without slots: a store keeps what several versions share once.
    Params(Params),
}

/// Things to be stored, by name. Names are words joined by `/`.
#[derive(Debug, Clone, Default)]
pub struct Pieces {
    /// In order of name.
    pub by_name: BTreeMap<String, Piece>,
}

impl Pieces {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Adds bytes.
    pub fn put_bytes(&mut self, name: impl Into<String>, bytes: Vec<u8>) {
        self.by_name.insert(name.into(), Piece::Bytes(bytes));
    }

    /// Adds a plain value as JSON.
    pub fn put_json(&mut self, name: impl Into<String>, value: &impl Serialize) {
        self.put_bytes(name, serde_json::to_vec_pretty(value).expect("plain data"));
    }

    /// Adds parameters.
    pub fn put_params(&mut self, name: impl Into<String>, params: Params) {
        self.by_name.insert(name.into(), Piece::Params(params));
    }

    /// Adds all of `others`, under a common first word.
    pub fn put_all(&mut self, prefix: &str, others: Pieces) {
        self.by_name.extend(others.by_name.into_iter().map(|(name, piece)| (format!("{prefix}/{name}"), piece)));
    }

    /// Takes bytes out.
    pub fn take_bytes(&mut self, name: &str) -> Result<Vec<u8>, LearnError> {
        match self.by_name.remove(name) {
            Some(Piece::Bytes(bytes)) => Ok(bytes),
            _ => Err(damaged(name, "it is missing")),
        }
    }

    /// Takes a plain value out.
    pub fn take_json<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, LearnError> {
        let bytes = self.take_bytes(name)?;
        serde_json::from_slice(&bytes).map_err(|error| damaged(name, &error.to_string()))
    }

    /// Takes parameters out.
    pub fn take_params(&mut self, name: &str) -> Result<Params, LearnError> {
        match self.by_name.remove(name) {
            Some(Piece::Params(params)) => Ok(params),
            _ => Err(damaged(name, "it is missing")),
        }
    }

    /// Takes out all that begin with this word, without it.
    pub fn take_all(&mut self, prefix: &str) -> Pieces {
        let mut taken = Pieces::default();
        for (name, piece) in std::mem::take(&mut self.by_name) {
            match name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')) {
                Some(rest) => taken.by_name.insert(rest.to_owned(), piece),
                None => self.by_name.insert(name, piece),
            };
        }
        taken
    }

    /// Digest over names and content.
    pub fn digest(&self) -> Digest {
        let mut builder = DigestBuilder::new("memory");
        for (name, piece) in &self.by_name {
            builder.str(name);
            match piece {
                Piece::Bytes(bytes) => builder.bytes(bytes),
                Piece::Params(params) => builder.digest(&params.digest()),
            };
        }
        builder.finish()
    }
}

/// A piece that is not what it should be.
pub(crate) fn damaged(piece: &str, problem: &str) -> LearnError {
    LearnError::Memory { piece: piece.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_put_and_taken() {
        let mut pieces = Pieces::default();
        let mut inner = Pieces::default();
        inner.put_json("step", &7u64);
        pieces.put_all("inner", inner);
        pieces.put_bytes("raw", vec![1, 2]);
        let before = pieces.digest();
        let mut copy = pieces.clone();
        assert_eq!(copy.take_all("inner").take_json::<u64>("step").unwrap(), 7);
        assert_eq!(copy.take_bytes("raw").unwrap(), [1, 2]);
        assert!(copy.is_empty());
        assert_ne!(copy.digest(), before);
        assert!(copy.take_bytes("raw").unwrap_err().to_string().contains("raw"));
    }
}
