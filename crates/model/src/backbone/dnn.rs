//! A plain network: embeddings side by side through fully connected layers, `z = MLP([e_1; ...; e_F])`.
//!
//! It differs from Embedding&MLP in what surrounds the same idea: numbers have vectors of their own, and
//! initialisation, sizes and regularisation are those of the public benchmark.

use super::part::{Fields, FieldsConfig, Mlp, MlpConfig, Recipe};
use crate::encoder::Encoder;
use crate::view::Lookup;
use crate::{ModelError, ModelSpec, ParamView};
use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of a plain network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnnConfig {
    /// What goes in.
    pub fields: FieldsConfig,
    /// The layers.
    pub mlp: MlpConfig,
}

/// A plain network, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Dnn {
    recipe: Recipe,
    fields: Fields,
    mlp: Mlp,
}

impl Dnn {
    /// Builds the model; an unknown input, no input at all or an impossible width is an error.
    pub fn build(config: &DnnConfig, encoder: &Encoder) -> Result<Dnn, ModelError> {
        let mut recipe = Recipe::default();
        let fields = Fields::build("embedding", &config.fields, encoder, &mut recipe)?;
        let mlp = Mlp::build("mlp", fields.width(), &config.mlp, &mut recipe)?;
        Ok(Dnn { recipe, fields, mlp })
    }

    /// The parameters.
    pub fn spec(&self) -> &ModelSpec {
        &self.recipe.spec
    }

    /// All lookups that a forward pass makes.
    pub fn lookups(&self) -> &[Lookup] {
        &self.recipe.lookups
    }
    /// Logits `[batch, 1]`.
    pub fn forward<T: Real>(&self, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        let x = self.fields.embed(view, tape);
        self.mlp.forward(x, view, tape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::conformance::{fixture, small_fields, small_mlp};
    use crate::view::{PlainView, Tap, ViewBuffers};
    use crate::{Backbone, BackboneConfig};

    fn config(mlp: MlpConfig) -> BackboneConfig {
        BackboneConfig::Dnn(DnnConfig { fields: small_fields(), mlp })
    }

    /// 18 inputs, layers of 5 and 4: weights and biases; with normalisation a scale, a shift and two statistics for
    /// each unit; with Dice a slope and two statistics; and 3 for the vector of the number.
    #[test]
    fn it_has_as_many_parameters_as_published() {
        let normalised = MlpConfig { batch_norm: true, ..small_mlp() };
        let dice = MlpConfig { activation: super::super::Activation::Dice, ..small_mlp() };
        for (mlp, more, statistics) in [(small_mlp(), 0, 0), (normalised, 18, 18), (dice, 9, 18)] {
            let fixture = fixture(&config(mlp), 3);
            assert_eq!(fixture.dense_parameters(), 3 + 95 + 24 + 5 + more);
            let spec = &fixture.backbone.spec().statistics;
            assert_eq!(spec.iter().map(|statistic| statistic.cols).sum::<usize>(), statistics);
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let encoder = fixture(&BackboneConfig::default(), 1).encoder;
        let refused = |mlp: MlpConfig| Backbone::build(&config(mlp), &encoder).unwrap_err().to_string();
        assert!(refused(MlpConfig { dropout: 1.0, ..small_mlp() }).contains("mlp.dropout"));
        assert!(refused(MlpConfig { dropout: f32::NAN, ..small_mlp() }).contains("mlp.dropout"));
        assert!(refused(MlpConfig { hidden: vec![3, 0], ..small_mlp() }).contains("mlp.hidden"));
        let unknown: Result<MlpConfig, _> = serde_json::from_str(r#"{ "droput": 0.1 }"#);
        assert!(unknown.is_err());
    }

    /// One row has no variance: in training, too, it goes by running statistics, and reports nothing.
    #[test]
    fn a_single_row_is_normalised_by_running_statistics() {
        let fixture = fixture(&config(MlpConfig { batch_norm: true, ..small_mlp() }), 4);
        let (mut tape, mut buffers) = (Tape::new(), ViewBuffers::default());
        let mut view = PlainView::training(&fixture.params, &fixture.columns, &[2], Some(7), &mut buffers);
        let out = fixture.backbone.forward(&mut view, &mut tape);
        assert_eq!(tape.value(out), [fixture.logits()[2]]);
        assert!(buffers.seen.is_empty());
    }

    #[test]
    fn its_layers_can_be_watched() {
        let fixture = fixture(&config(small_mlp()), 4);
        let (mut tape, mut buffers) = (Tape::new(), ViewBuffers::default());
        let mut view = PlainView::scoring(&fixture.params, &fixture.columns, &[0, 1], &mut buffers, &[]);
        fixture.backbone.forward(&mut view, &mut tape);
        let taps: Vec<_> = buffers.taps.iter().map(|&(tap, var)| (tap, tape.shape(var))).collect();
        assert_eq!(taps, [(Tap::Hidden(0), (2, 5)), (Tap::Hidden(1), (2, 4)), (Tap::LastHidden, (2, 4))]);
    }
}
