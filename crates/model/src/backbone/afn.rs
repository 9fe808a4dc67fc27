//! Adaptive factorisation network (Cheng, Shen and Huang, AAAI 2020), and with a network beside it (AFN+).
//!
//! ```text
//! l = BN(ln max(|e|, floor))      c_h = BN(exp(sum_f a_hf l_f + b_h)) per dimension      z_afn = MLP([c_1; ...; c_H])
//! ```
//!
//! Each neuron is a product of powers of fields, whose orders `a` are learned. Normalisation is by field and by neuron,
//! over the batch and the dimensions of vectors, as in the authors' code. Exponents are clamped at 20.
//!
//! AFN+ adds a network on vectors of its own, `z_d = MLP([e'_1; ...; e'_F])`, in one of two published forms:
//!
//! ```text
//! afn_plus_joint (FuxiCTR)        z = [z_afn, z_d] . w + b                      loss(z)
//! afn_plus_sg    (the authors)    z = [stop(z_afn), stop(z_d)] . w + b          loss(z) + loss(z_afn) + loss(z_d)
//! ```
//!
//! The loss that training reports is then the sum of the three.

use super::part::{BatchNorm, Fields, FieldsConfig, Mlp, MlpConfig, Recipe, check_width};
use crate::encoder::Encoder;
use crate::view::{Lookup, Tap};
use crate::{DenseId, DenseInit, EmbeddingInit, ModelError, ModelSpec, ParamView};
use perennial_nn::{Act, Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of AFN and AFN+.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AfnConfig {
    /// What goes in. Vectors start normal as Glorot's for a table of 10,000 rows: logarithms tell small numbers apart.
    pub fields: FieldsConfig,
    /// With or without a network beside it, and how the two are joined.
    pub form: AfnForm,
    /// Logarithmic neurons. 600 to 1,500 in the paper, by data set.
    pub neurons: usize,
    /// Whether a neuron has a bias. In the authors' code it has, in FuxiCTR not.
    pub neuron_bias: bool,
    /// Least magnitude of which the logarithm is taken. 1e-4 in the authors' code, 1e-5 in FuxiCTR.
    pub floor: f64,
    /// The layers on neurons.
    pub mlp: MlpConfig,
    /// AFN+: initial values of the vectors of the network beside it.
    pub deep_init: EmbeddingInit,
    /// AFN+: the layers of the network beside it.
    pub deep_mlp: MlpConfig,
}

/// With or without a network beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfnForm {
    /// Without.
    #[default]
    Afn,
    /// Both trained together through one logit.
    AfnPlusJoint,
    /// Each trained through its own logit; their weights in the sum, one half at first, through the joined one.
    AfnPlusSg,
}

impl Default for AfnConfig {
    fn default() -> Self {
        let init = EmbeddingInit::GlorotNormal { rows: 10_000 };
        AfnConfig {
            fields: FieldsConfig { init, ..FieldsConfig::default() },
            form: AfnForm::Afn,
            neurons: 600,
            neuron_bias: true,
            floor: 1e-4,
            mlp: MlpConfig::default(),
            deep_init: EmbeddingInit::Normal { std: 0.1 },
            deep_mlp: MlpConfig::default(),
        }
    }
}

/// AFN or AFN+, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Afn {
    recipe: Recipe,
    fields: Fields,
    floor: f64,
    logs: BatchNorm,
    /// Orders of fields in each neuron, `[fields, neurons]`.
    orders: DenseId,
    bias: Option<DenseId>,
    products: BatchNorm,
    mlp: Mlp,
    beside: Option<Beside>,
}

/// The network beside it, and how the two become one logit.
#[derive(Debug, Clone, PartialEq)]
struct Beside {
    fields: Fields,
    mlp: Mlp,
    weight: DenseId,
    bias: DenseId,
    stop: bool,
}

impl Afn {
    /// Builds the model; an unknown input, no input at all, an impossible width or a floor that is not positive is an
    /// error.
    pub fn build(config: &AfnConfig, encoder: &Encoder) -> Result<Afn, ModelError> {
        check_width("neurons", config.neurons, 65_536)?;
        // Single precision has no smaller normal number.
        if !(config.floor >= f64::from(f32::MIN_POSITIVE) && config.floor.is_finite()) {
            let problem = format!("a positive number is needed, got {}", config.floor);
            return Err(ModelError::Config { key: "floor".into(), problem });
        }
        let mut recipe = Recipe::default();
        let fields = Fields::build("embedding", &config.fields, encoder, &mut recipe)?;
        let shape = [fields.count(), config.neurons];
        let logs = BatchNorm::build("log.norm", fields.count(), true, &mut recipe);
        let orders = recipe.dense("log.orders", shape, DenseInit::Normal { std: 0.1 });
        let bias = config.neuron_bias.then(|| recipe.dense("log.bias", [1, config.neurons], DenseInit::Zero));
        let products = BatchNorm::build("exp.norm", config.neurons, true, &mut recipe);
        let mlp = Mlp::build("mlp", config.neurons * fields.dim(), &config.mlp, &mut recipe)?;
        let beside = match config.form {
            AfnForm::Afn => None,
            _ => Some(Beside::build(config, encoder, &mut recipe)?),
        };
        Ok(Afn { recipe, fields, floor: config.floor, logs, orders, bias, products, mlp, beside })
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
        let adaptive = self.adaptive(view, tape);
        match &self.beside {
            None => adaptive,
            Some(beside) => beside.join(adaptive, view, tape),
        }
    }

    fn adaptive<T: Real>(&self, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        let x = self.fields.embed(view, tape);
        let (batch, dim) = (tape.shape(x).0, self.fields.dim());
        let x = tape.transpose_vectors(x, dim);
        let logs = tape.log_magnitude(x, self.floor);
        let logs = self.logs.forward(logs, view, tape);
        let orders = view.dense(tape, self.orders);
        let bias = self.bias.map(|bias| view.dense(tape, bias));
        let products = tape.linear(logs, orders, bias, Act::Exp);
        let products = self.products.forward(products, view, tape);
        let neurons = tape.shape(products).1;
        let products = tape.reshape(products, batch, dim * neurons);
        self.mlp.forward(products, view, tape)
    }
}

impl Beside {
    fn build(config: &AfnConfig, encoder: &Encoder, recipe: &mut Recipe) -> Result<Beside, ModelError> {
        let fields = FieldsConfig { init: config.deep_init, init_of: Default::default(), ..config.fields.clone() };
        let fields = Fields::build("deep.embedding", &fields, encoder, recipe)?;
        let mlp = Mlp::build("deep_mlp", fields.width(), &config.deep_mlp, recipe)?.unwatched();
        let stop = config.form == AfnForm::AfnPlusSg;
        let init = if stop { DenseInit::Constant(0.5) } else { config.mlp.init.weights(2, 1) };
        let weight = recipe.dense("join.weight", [2, 1], init);
        Ok(Beside { fields, mlp, weight, bias: recipe.dense("join.bias", [1, 1], DenseInit::Zero), stop })
    }

    fn join<T: Real>(&self, adaptive: Var, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        let x = self.fields.embed(view, tape);
        let deep = self.mlp.forward(x, view, tape);
        let mut branches = [adaptive, deep];
        if self.stop {
            branches = branches.map(|branch| {
                let branch = view.tap(tape, Tap::BranchLogits, branch);
                tape.detach(branch)
            });
        }
        let both = tape.concat(&branches);
        let (weight, bias) = (view.dense(tape, self.weight), view.dense(tape, self.bias));
        tape.linear(both, weight, Some(bias), Act::Identity)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::backbone::conformance::{bce, differentiate, fixture, shaken, small_fields, small_mlp, values};
    use crate::{Backbone, BackboneConfig};
    use perennial_nn::check_gradient;

    /// Two neurons. The floor keeps logarithms away from where they are steep.
    pub(in crate::backbone) fn small(form: AfnForm) -> AfnConfig {
        AfnConfig {
            fields: small_fields(),
            form,
            neurons: 2,
            floor: 0.2,
            mlp: small_mlp(),
            deep_mlp: MlpConfig { hidden: vec![3], ..small_mlp() },
            ..AfnConfig::default()
        }
    }

    /// The logits against the formula, by loops, with running statistics.
    #[test]
    fn it_is_a_product_of_powers_of_fields() {
        let mlp = MlpConfig { hidden: vec![], ..small_mlp() };
        let mut fixture = fixture(&BackboneConfig::Afn(AfnConfig { mlp, ..small(AfnForm::Afn) }), 7);
        fixture.scatter(0.5);
        let dense = |name: &str| fixture.params.dense.iter().find(|d| d.name == name).unwrap().values.clone();
        let statistic = |name: &str| fixture.params.statistics.iter().find(|s| s.name == name).unwrap().values.clone();
        let norm = |prefix: &str, at: usize, x: f64| {
            let [scale, shift] = ["scale", "shift"].map(|name| f64::from(dense(&format!("{prefix}.{name}"))[at]));
            let [mean, variance] =
                ["mean", "variance"].map(|name| f64::from(statistic(&format!("{prefix}.{name}"))[at]));
            (x - mean) / (variance + 1e-5).sqrt() * scale + shift
        };
        let Backbone::Afn(afn) = &fixture.backbone else { panic!("an AFN") };
        let [x] = fixture.watch(|view, tape| [afn.fields.embed(view, tape)]);
        let (orders, bias) = (dense("log.orders"), dense("log.bias"));
        let (weight, output) = (dense("mlp.0.weight"), dense("mlp.0.bias"));
        for (x, logit) in x.chunks(18).zip(fixture.logits()) {
            let mut expected = f64::from(output[0]);
            for d in 0..3 {
                for h in 0..2 {
                    let mut product = f64::from(bias[h]).exp();
                    for f in 0..6 {
                        let log = norm("log.norm", f, f64::from(x[f * 3 + d].abs().max(0.2)).ln());
                        product *= log.exp().powf(f64::from(orders[f * 2 + h]));
                    }
                    expected += f64::from(weight[d * 2 + h]) * norm("exp.norm", h, product);
                }
            }
            assert!((f64::from(logit) - expected).abs() < 1e-4, "{logit}, expected {expected}");
        }
    }

    /// Parts are trained through their own logits and the weights of the sum through the sum.
    #[test]
    fn with_stopped_gradients_each_loss_has_its_own_parameters() {
        let fixture = fixture(&BackboneConfig::Afn(small(AfnForm::AfnPlusSg)), 9);
        let start = shaken(&fixture);
        let total = |values: &[Vec<f64>]| {
            differentiate(&fixture, values, true, |tape, z, taps| {
                let branches: Vec<Var> =
                    taps.iter().filter(|(tap, _)| *tap == Tap::BranchLogits).map(|t| t.1).collect();
                let losses = [z, branches[0], branches[1]].map(|z| bce(&fixture, tape, z));
                tape.row_sum(&losses)
            })
        };
        let of_sum =
            |values: &[Vec<f64>]| differentiate(&fixture, values, true, |tape, z, _| bce(&fixture, tape, z)).loss;
        let is_join = |at: usize| fixture.params.dense.get(at).is_some_and(|dense| dense.name.starts_with("join"));
        for join in [true, false] {
            let chosen: Vec<usize> = (0..start.len()).filter(|&at| is_join(at) == join).collect();
            let parameters: Vec<_> = chosen.iter().map(|&at| start[at].clone()).collect();
            let worst = check_gradient(&parameters, |parameters| {
                let mut values = start.clone();
                chosen.iter().zip(parameters).for_each(|(&at, x)| values[at].clone_from(x));
                let total = total(&values);
                let loss = if join { of_sum(&values) } else { total.loss - of_sum(&values) };
                (loss, chosen.iter().map(|&at| total.grads[at].clone()).collect())
            });
            assert!(worst.error < 1e-7, "weights of the sum {join}: {worst}");
        }
    }

    /// At first the sum is the mean of the two.
    #[test]
    fn the_stopped_sum_starts_as_the_mean_of_its_branches() {
        let fixture = fixture(&BackboneConfig::Afn(small(AfnForm::AfnPlusSg)), 5);
        let twin = differentiate(&fixture, &values(&fixture), false, |tape, z, taps| {
            let parts = [taps[taps.len() - 2].1, taps[taps.len() - 1].1];
            for i in 0..5 {
                let mean = (tape.value(parts[0])[i] + tape.value(parts[1])[i]) / 2.0;
                assert!((tape.value(z)[i] - mean).abs() < 1e-12);
            }
            bce(&fixture, tape, z)
        });
        assert!(twin.loss.is_finite());
    }

    /// 6 fields of 3, 2 neurons: normalisation 12 + 4, orders 12, biases 2; the tower 6 x 5 + 5, 24, 5; a vector of 3 for
    /// the number. Beside it 3, 18 x 3 + 3 + 4, and 3 in the sum.
    #[test]
    fn it_has_as_many_parameters_as_published() {
        let own = 16 + 12 + 2 + 35 + 24 + 5 + 3;
        for (form, parameters) in [(AfnForm::Afn, own), (AfnForm::AfnPlusJoint, own + 3 + 61 + 3)] {
            assert_eq!(fixture(&BackboneConfig::Afn(small(form)), 2).dense_parameters(), parameters, "{form:?}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let encoder = fixture(&BackboneConfig::default(), 1).encoder;
        for floor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let config = AfnConfig { floor, ..AfnConfig::default() };
            assert!(Afn::build(&config, &encoder).unwrap_err().to_string().contains("floor"), "{floor}");
        }
    }
}
