//! The backbones: recipes that turn inputs and parameters into logits.
//!
//! Adding one = one file here, and one line in each list below; the conformance tests walk what is registered in
//! `conformance.rs`. What several share lies in `part`.

mod afn;
mod can;
mod dcn;
mod deep_fm;
mod din;
mod dnn;
mod embedding_mlp;
mod fm;
mod fm_fm;
mod ipnn;
mod lr;
mod mf;
mod nfm;
mod part;
mod wide_deep;
mod x_deep_fm;

pub use afn::{Afn, AfnConfig, AfnForm};
pub use can::{Can, CanConfig, CoActionConfig};
pub use dcn::{CrossVersion, Dcn, DcnConfig};
pub use deep_fm::{DeepFm, DeepFmConfig};
pub use din::{Din, DinConfig};
pub use dnn::{Dnn, DnnConfig};
pub use embedding_mlp::{EmbeddingMlp, EmbeddingMlpConfig, History};
pub use fm::{Fm, FmConfig};
pub use fm_fm::{FmFm, FmFmConfig, PairMatrixForm};
pub use ipnn::{Ipnn, IpnnConfig};
pub use lr::{Lr, LrConfig};
pub use mf::{Mf, MfBias, MfConfig};
pub use nfm::{Nfm, NfmConfig};
pub use part::{Activation, AttentionConfig, AttentionNorm, FieldsConfig, LayerInit, MlpConfig, SearchConfig};
pub use wide_deep::{WideDeep, WideDeepConfig};
pub use x_deep_fm::{XDeepFm, XDeepFmConfig};

use crate::encoder::Encoder;
use crate::{Lookup, ModelError, ModelSpec, ParamView};
use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Which backbone, and its options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BackboneConfig {
    /// Embedding&MLP, the base model of ASMG.
    EmbeddingMlp(EmbeddingMlpConfig),
    /// Logistic regression.
    Lr(LrConfig),
    /// Matrix factorisation.
    Mf(MfConfig),
    /// Factorisation machine.
    Fm(FmConfig),
    /// Plain network.
    Dnn(DnnConfig),
    /// Wide & Deep.
    WideDeep(WideDeepConfig),
    /// DeepFM.
    #[serde(rename = "deepfm")]
    DeepFm(DeepFmConfig),
    /// Neural factorisation machine.
    Nfm(NfmConfig),
    /// Inner-product network.
    Ipnn(IpnnConfig),
    /// Deep & cross network, both versions.
    Dcn(DcnConfig),
    /// Field-matrixed factorisation machine.
    #[serde(rename = "fmfm")]
    FmFm(FmFmConfig),
    /// xDeepFM.
    #[serde(rename = "xdeepfm")]
    XDeepFm(XDeepFmConfig),
    /// Adaptive factorisation network, also with a network beside it.
    Afn(AfnConfig),
    /// Deep interest network.
    Din(DinConfig),
    /// Co-action network.
    Can(CanConfig),
}

impl Default for BackboneConfig {
    fn default() -> Self {
        BackboneConfig::EmbeddingMlp(EmbeddingMlpConfig::default())
    }
}

/// A backbone built for an encoder's inputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Backbone {
    /// Embedding&MLP, the base model of ASMG.
    EmbeddingMlp(EmbeddingMlp),
    /// Logistic regression.
    Lr(Lr),
    /// Matrix factorisation.
    Mf(Mf),
    /// Factorisation machine.
    Fm(Fm),
    /// Plain network.
    Dnn(Dnn),
    /// Wide & Deep.
    WideDeep(WideDeep),
    /// DeepFM.
    DeepFm(DeepFm),
    /// Neural factorisation machine.
    Nfm(Nfm),
    /// Inner-product network.
    Ipnn(Ipnn),
    /// Deep & cross network, both versions.
    Dcn(Dcn),
    /// Field-matrixed factorisation machine.
    FmFm(FmFm),
    /// xDeepFM.
    XDeepFm(XDeepFm),
    /// Adaptive factorisation network, also with a network beside it.
    Afn(Afn),
    /// Deep interest network.
    Din(Din),
    /// Co-action network.
    Can(Can),
}

/// Evaluates `$body` with `$model` bound to the model of whatever variant.
macro_rules! of_any {
    ($backbone:expr, $model:ident => $body:expr) => {
        match $backbone {
            Backbone::EmbeddingMlp($model) => $body,
            Backbone::Lr($model) => $body,
            Backbone::Mf($model) => $body,
            Backbone::Fm($model) => $body,
            Backbone::Dnn($model) => $body,
            Backbone::WideDeep($model) => $body,
            Backbone::DeepFm($model) => $body,
            Backbone::Nfm($model) => $body,
            Backbone::Ipnn($model) => $body,
            Backbone::Dcn($model) => $body,
            Backbone::FmFm($model) => $body,
            Backbone::XDeepFm($model) => $body,
            Backbone::Afn($model) => $body,
            Backbone::Din($model) => $body,
            Backbone::Can($model) => $body,
        }
    };
}

impl Backbone {
    /// Builds the backbone for the encoder's inputs, or says why it cannot be.
    pub fn build(config: &BackboneConfig, encoder: &Encoder) -> Result<Backbone, ModelError> {
        let backbone = Backbone::of(config, encoder)?;
        for table in &backbone.spec().tables {
            table.init.check().map_err(|problem| ModelError::Config {
                key: format!("initial values of {}", table.name),
                problem: problem.into(),
            })?;
        }
        Ok(backbone)
    }

    fn of(config: &BackboneConfig, encoder: &Encoder) -> Result<Backbone, ModelError> {
        Ok(match config {
            BackboneConfig::EmbeddingMlp(config) => Backbone::EmbeddingMlp(EmbeddingMlp::build(config, encoder)?),
            BackboneConfig::Lr(config) => Backbone::Lr(Lr::build(config, encoder)?),
            BackboneConfig::Mf(config) => Backbone::Mf(Mf::build(config, encoder)?),
            BackboneConfig::Fm(config) => Backbone::Fm(Fm::build(config, encoder)?),
            BackboneConfig::Dnn(config) => Backbone::Dnn(Dnn::build(config, encoder)?),
            BackboneConfig::WideDeep(config) => Backbone::WideDeep(WideDeep::build(config, encoder)?),
            BackboneConfig::DeepFm(config) => Backbone::DeepFm(DeepFm::build(config, encoder)?),
            BackboneConfig::Nfm(config) => Backbone::Nfm(Nfm::build(config, encoder)?),
            BackboneConfig::Ipnn(config) => Backbone::Ipnn(Ipnn::build(config, encoder)?),
            BackboneConfig::Dcn(config) => Backbone::Dcn(Dcn::build(config, encoder)?),
            BackboneConfig::FmFm(config) => Backbone::FmFm(FmFm::build(config, encoder)?),
            BackboneConfig::XDeepFm(config) => Backbone::XDeepFm(XDeepFm::build(config, encoder)?),
            BackboneConfig::Afn(config) => Backbone::Afn(Afn::build(config, encoder)?),
            BackboneConfig::Din(config) => Backbone::Din(Din::build(config, encoder)?),
            BackboneConfig::Can(config) => Backbone::Can(Can::build(config, encoder)?),
        })
    }

    /// The parameters.
    pub fn spec(&self) -> &ModelSpec {
        of_any!(self, model => model.spec())
    }

    /// All lookups that a forward pass makes, in order.
    pub fn lookups(&self) -> &[Lookup] {
        of_any!(self, model => model.lookups())
    }

    /// Logits `[batch, 1]` of the view's batch.
    pub fn forward<T: Real>(&self, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        of_any!(self, model => model.forward(view, tape))
    }
}

#[cfg(test)]
pub(crate) mod conformance;
