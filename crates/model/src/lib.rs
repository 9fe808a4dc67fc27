//! Models: what goes in ([`encoder`]), how a logit comes out ([`backbone`]), what it should have been ([`objective`]),
//! and the two joined with their parameters ([`Servable`]).
//!
//! A backbone holds no weights. It declares parameters ([`ModelSpec`]) and computes logits from a [`ParamView`]; a
//! view may be plain, generated, masked or adapted, and the backbone cannot tell. No loops over data, no files and no
//! update strategies live here.

pub mod backbone;
pub mod distillation;
pub mod encoder;
mod error;
pub mod generator;
mod mixed;
pub mod objective;
mod optimisers;
mod params;
mod sequence;
mod servable;
mod serving;
mod spec;
pub mod transfer;
mod values;
mod view;

pub use backbone::{Backbone, BackboneConfig};
pub use encoder::{Encoder, EncoderConfig};
pub use error::ModelError;
pub use mixed::{Member, Mixed};
pub use objective::{Objective, Targets};
pub use optimisers::{Group, Optimisers, Steps};
pub use params::{Dense, Params, Statistic};
pub use sequence::{Matching, Sequence};
pub use servable::{Generated, Servable};
pub use serving::{Scorer, Serving};
pub use spec::{
    DenseId, DenseInit, DenseSpec, EmbeddingInit, ModelSpec, StatisticId, StatisticSpec, TableId, TableSpec,
};
pub use values::{BatchValues, Values};
pub use view::{Lookup, Noise, ParamView, PlainView, Tap, Use, ViewBuffers};
