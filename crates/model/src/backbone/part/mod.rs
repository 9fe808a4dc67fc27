//! What backbones are made of: inputs as vectors, a linear part, a tower of layers.

mod activation;
mod fields;
mod interest;
mod linear;
mod mlp;
mod norm;
mod recipe;

pub(super) use activation::Activated;
pub use activation::Activation;
pub use fields::FieldsConfig;
pub(super) use fields::{Fields, Tables, chosen_features};
pub use interest::{AttentionConfig, AttentionNorm, SearchConfig};
pub(super) use interest::{Behaviour, Interest, sequence_of, targets_of};
pub(super) use linear::LinearPart;
pub(super) use mlp::Mlp;
pub use mlp::{LayerInit, MlpConfig};
pub(super) use norm::BatchNorm;
pub(super) use recipe::{Recipe, check_width};
