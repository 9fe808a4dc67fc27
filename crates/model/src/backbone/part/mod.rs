//! What backbones are made of: inputs as vectors, a linear part, a tower of layers.

mod fields;
mod linear;
mod mlp;
mod recipe;

pub use fields::FieldsConfig;
pub(super) use fields::{Fields, chosen_features};
pub(super) use linear::LinearPart;
pub(super) use mlp::Mlp;
pub use mlp::{Activation, LayerInit, MlpConfig};
pub(super) use recipe::{Recipe, check_width};
