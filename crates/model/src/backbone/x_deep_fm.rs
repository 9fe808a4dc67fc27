//! xDeepFM (Lian et al., KDD 2018): a compressed interaction network beside layers and a linear part.
//!
//! ```text
//! X^0 = [e_1; ...; e_F]      X^k_hd = sum_ij W^kh_ij X^{k-1}_id X^0_jd + b_kh      p^k_h = sum_d X^k_hd
//! z = b + sum_f w_f + [p^1; ...; p^K] . w + MLP(X^0)
//! ```
//!
//! As in the public benchmark all maps are pooled and all are passed on, without an activation between layers; the
//! paper's own form of halves, one passed on and one pooled, is not here.

use super::part::{Fields, FieldsConfig, LinearPart, Mlp, MlpConfig, Recipe, check_width};
use crate::encoder::Encoder;
use crate::view::Lookup;
use crate::{DenseId, DenseInit, ModelError, ModelSpec, ParamView};
use perennial_nn::{Act, Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of xDeepFM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct XDeepFmConfig {
    /// What goes in.
    pub fields: FieldsConfig,
    /// Feature maps of each interaction layer, of which there is at least one. 32, 32 and 32 in the public benchmark.
    pub maps: Vec<usize>,
    /// Whether a relu follows each interaction layer. Not in the public benchmark.
    pub relu: bool,
    /// The deep part's layers.
    pub mlp: MlpConfig,
}

impl Default for XDeepFmConfig {
    fn default() -> Self {
        XDeepFmConfig {
            fields: FieldsConfig::default(),
            maps: vec![32, 32, 32],
            relu: false,
            mlp: MlpConfig::default(),
        }
    }
}

/// xDeepFM, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct XDeepFm {
    recipe: Recipe,
    linear: LinearPart,
    fields: Fields,
    /// Weight and bias of each interaction layer.
    layers: Vec<(DenseId, DenseId)>,
    act: Act,
    output: (DenseId, DenseId),
    mlp: Mlp,
}

/// More interaction layers than anybody has found use for.
const MOST_LAYERS: usize = 16;

impl XDeepFm {
    /// Builds the model; an unknown input, no input at all, no interaction layer or an impossible width is an error.
    pub fn build(config: &XDeepFmConfig, encoder: &Encoder) -> Result<XDeepFm, ModelError> {
        check_width("maps", config.maps.len(), MOST_LAYERS)?;
        let mut recipe = Recipe::default();
        let linear = LinearPart::of(&config.fields, encoder, &mut recipe)?;
        let fields = Fields::build("embedding", &config.fields, encoder, &mut recipe)?;
        let (mut layers, mut before, init) = (Vec::new(), fields.count(), config.mlp.init);
        for (at, &maps) in config.maps.iter().enumerate() {
            check_width("maps", maps, 4096)?;
            let products = before * fields.count();
            let weight = recipe.dense(format!("cin.{at}.weight"), [products, maps], init.weights(products, maps));
            layers.push((weight, recipe.dense(format!("cin.{at}.bias"), [1, maps], DenseInit::Zero)));
            before = maps;
        }
        let pooled = config.maps.iter().sum();
        let output = (
            recipe.dense("cin.output.weight", [pooled, 1], init.weights(pooled, 1)),
            recipe.dense("cin.output.bias", [1, 1], init.bias(1)),
        );
        let mlp = Mlp::build("mlp", fields.width(), &config.mlp, &mut recipe)?;
        let act = if config.relu { Act::Relu } else { Act::Identity };
        Ok(XDeepFm { recipe, linear, fields, layers, act, output, mlp })
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
        let [ids, numbers] = self.linear.forward(view, tape);
        let x = self.fields.embed(view, tape);
        let interactions = self.interactions(x, view, tape);
        let deep = self.mlp.forward(x, view, tape);
        tape.row_sum(&[ids, numbers, interactions, deep])
    }

    /// `[p^1; ...; p^K] . w`, `[batch, 1]`.
    fn interactions<T: Real>(&self, x: Var, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        let dim = self.fields.dim();
        let x = tape.transpose_vectors(x, dim);
        let (mut maps, mut pooled) = (x, [x; MOST_LAYERS]);
        for (&(weight, bias), pooled) in self.layers.iter().zip(&mut pooled) {
            let (weight, bias) = (view.dense(tape, weight), view.dense(tape, bias));
            maps = tape.cin(maps, x, weight, bias);
            if self.act != Act::Identity {
                maps = tape.activate(maps, self.act);
            }
            *pooled = tape.sum_groups(maps, dim);
        }
        let pooled = tape.concat(&pooled[..self.layers.len()]);
        let (weight, bias) = (view.dense(tape, self.output.0), view.dense(tape, self.output.1));
        tape.linear(pooled, weight, Some(bias), Act::Identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackboneConfig;
    use crate::backbone::FmConfig;
    use crate::backbone::conformance::{fixture, small_fields, small_mlp};

    /// One map that weighs each pair once is the second-order part of a factorisation machine.
    #[test]
    fn with_one_map_of_ones_and_no_layers_it_is_fm() {
        let (fields, mlp) = (small_fields(), MlpConfig { hidden: vec![], ..small_mlp() });
        let config = XDeepFmConfig { fields: fields.clone(), maps: vec![1], relu: false, mlp };
        let mut xdeep = fixture(&BackboneConfig::XDeepFm(config), 9);
        let fm = fixture(&BackboneConfig::Fm(FmConfig { fields }), 9);
        xdeep.set("cin.0.weight", |at| if at / 6 < at % 6 { 1.0 } else { 0.0 });
        xdeep.fill("cin.output.weight", 1.0);
        xdeep.fill("mlp.0.weight", 0.0);
        for (xdeep, fm) in xdeep.logits().into_iter().zip(fm.logits()) {
            assert!((xdeep - fm).abs() < 1e-6, "{xdeep} and {fm}");
        }
    }

    /// 6 fields: 36 x 4 + 4, then 24 x 2 + 2 in the layers, 6 + 1 in their output; the tower 18 x 5 + 5, 5 x 4 + 4,
    /// 4 + 1; for numbers a weight and a vector of 3; a bias.
    #[test]
    fn it_has_as_many_parameters_as_published() {
        let config = XDeepFmConfig { fields: small_fields(), maps: vec![4, 2], relu: false, mlp: small_mlp() };
        let fixture = fixture(&BackboneConfig::XDeepFm(config), 2);
        assert_eq!(fixture.dense_parameters(), 148 + 50 + 7 + 95 + 24 + 5 + 1 + 3 + 1);
    }

    #[test]
    fn it_needs_an_interaction_layer() {
        let encoder = fixture(&BackboneConfig::default(), 1).encoder;
        let none = XDeepFmConfig { maps: vec![], ..XDeepFmConfig::default() };
        assert!(XDeepFm::build(&none, &encoder).unwrap_err().to_string().contains("maps"));
    }
}
