//! Deep & cross network, both versions.
//!
//! ```text
//! v1 (Wang et al., ADKDD 2017)   x_{l+1} = x_0 (x_l . w_l) + b_l + x_l
//! v2 (Wang et al., WWW 2021)     x_{l+1} = x_0 * (x_l W_l + b_l) + x_l
//! z = [x_L; h] . w + b           h the last hidden layer of MLP(x_0)
//! ```
//!
//! Version 1 costs `2 F D` parameters a layer, version 2 `(F D)^2 + F D`. The stacked form of version 2, in which the
//! tower reads `x_L`, is not here.

use super::part::{Fields, FieldsConfig, Mlp, MlpConfig, Recipe};
use crate::encoder::Encoder;
use crate::view::{Lookup, Tap};
use crate::{DenseId, DenseInit, ModelError, ModelSpec, ParamView};
use perennial_nn::{Act, Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of a deep & cross network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DcnConfig {
    /// What goes in.
    pub fields: FieldsConfig,
    /// Cross layers. 3 in the public benchmark on Criteo, 4 on MovieLens.
    pub cross_layers: usize,
    /// Form of a cross layer.
    pub version: CrossVersion,
    /// The tower beside the cross layers; none if it has no layers.
    pub mlp: MlpConfig,
}

/// Form of a cross layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrossVersion {
    /// One weight per column: every output is the input times a number, plus biases. The published baseline.
    #[default]
    V1,
    /// A full matrix.
    V2,
}

impl Default for DcnConfig {
    fn default() -> Self {
        DcnConfig {
            fields: FieldsConfig::default(),
            cross_layers: 3,
            version: CrossVersion::V1,
            mlp: MlpConfig::default(),
        }
    }
}

/// A deep & cross network, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Dcn {
    recipe: Recipe,
    fields: Fields,
    version: CrossVersion,
    /// Weight and bias of each cross layer.
    cross: Vec<(DenseId, DenseId)>,
    /// `None` without layers.
    mlp: Option<Mlp>,
    output: (DenseId, DenseId),
}

/// More cross layers than anybody has found use for.
const MOST_LAYERS: usize = 64;

impl Dcn {
    /// Builds the model; an unknown input, no input at all or an impossible width is an error.
    pub fn build(config: &DcnConfig, encoder: &Encoder) -> Result<Dcn, ModelError> {
        let problem = format!("at most {MOST_LAYERS} are possible, got {}", config.cross_layers);
        if config.cross_layers > MOST_LAYERS {
            return Err(ModelError::Config { key: "cross_layers".into(), problem });
        }
        let mut recipe = Recipe::default();
        let fields = Fields::build("embedding", &config.fields, encoder, &mut recipe)?;
        let (width, init) = (fields.width(), config.mlp.init);
        let columns = if config.version == CrossVersion::V1 { 1 } else { width };
        let layer = |at| {
            let weight = recipe.dense(format!("cross.{at}.weight"), [width, columns], init.weights(width, columns));
            (weight, recipe.dense(format!("cross.{at}.bias"), [1, width], DenseInit::Zero))
        };
        let cross = (0..config.cross_layers).map(layer).collect();
        let (mut mlp, mut both) = (None, width);
        if !config.mlp.hidden.is_empty() {
            let tower = Mlp::hidden_layers("mlp", width, &config.mlp, &mut recipe)?;
            both += tower.width();
            mlp = Some(tower);
        }
        let output = (
            recipe.dense("output.weight", [both, 1], init.weights(both, 1)),
            recipe.dense("output.bias", [1, 1], init.bias(1)),
        );
        Ok(Dcn { recipe, fields, version: config.version, cross, mlp, output })
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
        let x0 = self.fields.embed(view, tape);
        let mut last = self.crossed(x0, view, tape);
        if let Some(mlp) = &self.mlp {
            let deep = mlp.forward(x0, view, tape);
            last = tape.concat(&[last, deep]);
        }
        let last = view.tap(tape, Tap::LastHidden, last);
        let (weight, bias) = (view.dense(tape, self.output.0), view.dense(tape, self.output.1));
        tape.linear(last, weight, Some(bias), Act::Identity)
    }

    fn crossed<T: Real>(&self, x0: Var, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        let mut x = x0;
        for &(weight, bias) in &self.cross {
            let (weight, bias) = (view.dense(tape, weight), view.dense(tape, bias));
            x = match self.version {
                CrossVersion::V1 => tape.cross(x0, x, weight, bias),
                CrossVersion::V2 => {
                    let gate = tape.linear(x, weight, Some(bias), Act::Identity);
                    tape.multiply_add(x0, gate, Some(x))
                }
            };
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackboneConfig;
    use crate::backbone::Backbone;
    use crate::backbone::conformance::{fixture, small_fields, small_mlp};

    fn config(version: CrossVersion, hidden: Vec<usize>) -> DcnConfig {
        DcnConfig { fields: small_fields(), cross_layers: 3, version, mlp: MlpConfig { hidden, ..small_mlp() } }
    }

    /// x_L is a number times x_0: |cosine| = 1. Version 2 is not.
    #[test]
    fn without_biases_the_first_version_stretches_its_input() {
        for (version, parallel) in [(CrossVersion::V1, true), (CrossVersion::V2, false)] {
            let fixture = fixture(&BackboneConfig::Dcn(config(version, vec![])), 9);
            let Backbone::Dcn(dcn) = &fixture.backbone else { panic!("a DCN") };
            let [x0, last] = fixture.watch(|view, tape| {
                let x0 = dcn.fields.embed(view, tape);
                [x0, dcn.crossed(x0, view, tape)]
            });
            for (a, b) in x0.chunks(18).zip(last.chunks(18)) {
                let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
                let cosine = dot(a, b).abs() / (dot(a, a) * dot(b, b)).sqrt();
                assert_eq!((cosine - 1.0).abs() < 1e-6, parallel, "{version:?}: {cosine}");
            }
        }
    }

    /// F = 6, D = 3: L (FD + FD) and L (FD FD + FD) in the cross layers; the tower 18 x 5 + 5 + 5 x 4 + 4; 18 + 4 + 1
    /// in the output; numbers 1 x 3.
    #[test]
    fn it_has_as_many_parameters_as_published() {
        for (version, cross) in [(CrossVersion::V1, 3 * 36), (CrossVersion::V2, 3 * (324 + 18))] {
            let fixture = fixture(&BackboneConfig::Dcn(config(version, vec![5, 4])), 2);
            assert_eq!(fixture.dense_parameters(), cross + 95 + 24 + 23 + 3, "{version:?}");
        }
    }

    #[test]
    fn it_may_have_no_cross_layer_and_not_any_number() {
        let none = DcnConfig { cross_layers: 0, ..config(CrossVersion::V1, vec![]) };
        assert_eq!(fixture(&BackboneConfig::Dcn(none.clone()), 3).logits().len(), 3);
        let many = DcnConfig { cross_layers: 65, ..none };
        let encoder = fixture(&BackboneConfig::default(), 1).encoder;
        assert!(Dcn::build(&many, &encoder).unwrap_err().to_string().contains("at most 64"));
    }
}
