//! Laws that every backbone obeys. A new backbone adds itself to `registered` and is covered.

use super::afn::tests::small as small_afn;
use super::can::tests::small as small_can;
use super::din::tests::{searching, small as small_din};
use super::*;
use crate::encoder::{EncoderConfig, RESERVED_ROWS};
use crate::view::{PlainView, ViewBuffers};
use crate::{DenseId, EmbeddingInit, Matching, Noise, Params, Sequence, StatisticId, Tap};
use perennial_core::rng::hash_text;
use perennial_core::{Column, Examples, FeatureSet, Schema, Spans, Stream};
use perennial_nn::optim::{Optimiser, Rule};
use perennial_nn::{Groups, check_gradient};
use perennial_table::{Pool, RowMode, Selection};

fn registered() -> Vec<(&'static str, BackboneConfig)> {
    let base = EmbeddingMlpConfig { dim: 3, hidden: vec![5, 4], ..EmbeddingMlpConfig::default() };
    let (fields, mlp) = (small_fields(), small_mlp());
    let smooth = MlpConfig { activation: Activation::Tanh, init: LayerInit::GlorotUniformAll, ..mlp.clone() };
    let noisy = MlpConfig { activation: Activation::Prelu, batch_norm: true, dropout: 0.3, ..mlp.clone() };
    let dice = MlpConfig { activation: Activation::Dice, ..mlp.clone() };
    let gelu = MlpConfig { activation: Activation::Gelu, ..mlp.clone() };
    let dcn = DcnConfig { fields: fields.clone(), mlp: mlp.clone(), ..DcnConfig::default() };
    let fm_fm = FmFmConfig { fields: fields.clone(), matrix: PairMatrixForm::Full };
    let xdeep = XDeepFmConfig { fields: fields.clone(), maps: vec![4, 2], relu: false, mlp: mlp.clone() };
    vec![
        ("embedding_mlp", BackboneConfig::EmbeddingMlp(base.clone())),
        (
            "embedding_mlp, sum",
            BackboneConfig::EmbeddingMlp(EmbeddingMlpConfig { history: History::Sum, ..base.clone() }),
        ),
        ("embedding_mlp, no hidden layer", BackboneConfig::EmbeddingMlp(EmbeddingMlpConfig { hidden: vec![], ..base })),
        ("lr", BackboneConfig::Lr(LrConfig::default())),
        ("mf", BackboneConfig::Mf(MfConfig { dim: 3, ..MfConfig::default() })),
        ("mf, no mean", BackboneConfig::Mf(MfConfig { dim: 3, bias: MfBias::Ids, ..MfConfig::default() })),
        ("mf, no biases", BackboneConfig::Mf(MfConfig { dim: 3, bias: MfBias::None, ..MfConfig::default() })),
        ("fm", BackboneConfig::Fm(FmConfig { fields: fields.clone() })),
        ("dnn", BackboneConfig::Dnn(DnnConfig { fields: fields.clone(), mlp: smooth })),
        ("wide_deep", BackboneConfig::WideDeep(WideDeepConfig { fields: fields.clone(), mlp: mlp.clone() })),
        ("dnn, normalised and dropped", BackboneConfig::Dnn(DnnConfig { fields: fields.clone(), mlp: noisy.clone() })),
        ("dnn, dice", BackboneConfig::Dnn(DnnConfig { fields: fields.clone(), mlp: dice })),
        ("dnn, gelu", BackboneConfig::Dnn(DnnConfig { fields: fields.clone(), mlp: gelu })),
        ("deepfm", BackboneConfig::DeepFm(DeepFmConfig { fields: fields.clone(), mlp: mlp.clone() })),
        ("nfm", BackboneConfig::Nfm(NfmConfig { fields: fields.clone(), mlp: mlp.clone() })),
        ("ipnn", BackboneConfig::Ipnn(IpnnConfig { fields, mlp: mlp.clone() })),
        ("dcn", BackboneConfig::Dcn(dcn.clone())),
        ("dcn, v2", BackboneConfig::Dcn(DcnConfig { version: CrossVersion::V2, ..dcn })),
        ("fmfm", BackboneConfig::FmFm(fm_fm.clone())),
        ("xdeepfm", BackboneConfig::XDeepFm(xdeep.clone())),
        ("xdeepfm, relu", BackboneConfig::XDeepFm(XDeepFmConfig { relu: true, ..xdeep })),
        ("afn", BackboneConfig::Afn(small_afn(AfnForm::Afn))),
        ("afn_plus_joint", BackboneConfig::Afn(small_afn(AfnForm::AfnPlusJoint))),
        ("din", BackboneConfig::Din(small_din(AttentionNorm::None, Activation::Dice))),
        ("din, softmax", BackboneConfig::Din(small_din(AttentionNorm::SoftmaxScaled, Activation::Sigmoid))),
        ("din, searching", BackboneConfig::Din(searching())),
        ("can", BackboneConfig::Can(small_can())),
        (
            "can, numbers",
            BackboneConfig::Can(CanConfig { input_norm: false, fields: searching().fields, ..small_can() }),
        ),
        ("fmfm, diagonal", BackboneConfig::FmFm(FmFmConfig { matrix: PairMatrixForm::Diagonal, ..fm_fm })),
    ]
}

/// Six features of all kinds, as vectors of 3, large enough to tell models apart.
pub(super) fn small_fields() -> FieldsConfig {
    FieldsConfig { dim: 3, inputs: six(), init: EmbeddingInit::Normal { std: 0.4 }, ..FieldsConfig::default() }
}

pub(super) fn six() -> Option<Vec<String>> {
    Some(["user", "item", "tags", "price", "history.item", "history.tags"].map(String::from).to_vec())
}

/// Layers of 5 and 4.
pub(super) fn small_mlp() -> MlpConfig {
    MlpConfig { hidden: vec![5, 4], ..MlpConfig::default() }
}

fn schema() -> Schema {
    Schema::parse(
        r#"
        name = "conformance"
        field = [
          { name = "user", kind = "id", role = "user", id = "int" },
          { name = "item", kind = "id", role = "item", id = "int", key = true },
          { name = "tags", kind = "ids", role = "item", id = "int" },
          { name = "category", kind = "id", role = "item", id = "int" },
          { name = "price", kind = "numeric", role = "item" },
          { name = "when", kind = "timestamp", unit = "s" },
          { name = "y", kind = "label" },
        ]"#,
    )
    .unwrap()
}

/// Random examples with numeric, multi-valued and (some empty) history fields.
fn examples(rows: usize, seed: u64) -> Examples {
    let mut stream = Stream::new(&[seed]);
    let mut ids = |n: usize, below: u64| (0..n).map(|_| stream.below(below) as u32).collect::<Vec<_>>();
    let bag = |ids: Vec<u32>, longest: u32, weighted: bool| {
        let len: Vec<u32> = (0..rows as u32).map(|i| i % (longest + 1)).collect();
        let start = len
            .iter()
            .scan(0, |at, n| {
                let start = *at;
                *at += n;
                Some(start)
            })
            .collect();
        let weights = weighted.then(|| (0..ids.len()).map(|i| 0.5 + (i % 3) as f32).collect());
        Column::bag(Spans { start, len }, ids, weights)
    };
    let (users, items) = (ids(rows, 4), ids(rows, 6));
    let (tags, past, past_tags) = (ids(rows * 2, 3), ids(rows * 3, 6), ids(rows * 3, 3));
    let categories_of = |items: &[u32]| items.iter().map(|item| item % 3).collect::<Vec<u32>>();
    let (categories, past_categories) = (categories_of(&items), categories_of(&past));
    Examples {
        keys: vec![vec![10, 11, 12, 13], (20..26).collect(), vec![30, 31, 32], vec![40, 41, 42]],
        columns: vec![
            Column::Id(users),
            Column::Id(items),
            bag(tags, 2, false),
            Column::Id(categories),
            Column::Numeric((0..rows).map(|i| (i as f32 * 0.7).sin()).collect()),
            bag(past, 3, false),
            bag(past_tags, 3, true),
            bag(past_categories, 3, false),
        ],
        label: (0..rows).map(|i| ((i * 7) % 3 == 0) as u8 as f32).collect(),
        weight: (0..rows).map(|i| 1.0 + (i % 2) as f32).collect(),
        ..Examples::default()
    }
}

/// A model with first parameters, and examples that it has observed.
pub(crate) struct Fixture {
    pub(crate) encoder: Encoder,
    pub(crate) backbone: Backbone,
    pub(crate) params: Params,
    pub(crate) columns: Vec<Column>,
    pub(crate) data: Examples,
}

pub(crate) fn fixture(config: &BackboneConfig, rows: usize) -> Fixture {
    let data = examples(rows, 5);
    let mut encoder = Encoder::new(FeatureSet::of(&schema(), true), EncoderConfig::default());
    let backbone = Backbone::build(config, &encoder).unwrap();
    let mut params =
        Params::new(backbone.spec(), &encoder, &Optimiser::new(Rule::ADAM, 1e-3).into(), RowMode::Lazy, 3).unwrap();
    params.grow(backbone.spec(), &encoder.observe(&[&data]));
    // As if something had been seen: by their first values, normalising would change nothing.
    for (nth, statistic) in params.statistics.iter_mut().enumerate() {
        statistic.values.iter_mut().zip(nth..).for_each(|(value, at)| *value += 0.1 * (at % 4) as f32);
    }
    let columns = encoder.encode(&data).unwrap();
    Fixture { encoder, backbone, params, columns, data }
}

/// Places of the past items of an example's category among all past items.
pub(super) fn matches(fixture: &Fixture, example: usize, category: u32) -> Vec<usize> {
    let Column::Bag { spans, ids, .. } = &fixture.columns[7] else { panic!("categories of past items") };
    spans.range(example).filter(|&at| ids[at] == category).collect()
}

/// What tests of single models do with a fixture.
impl Fixture {
    /// Logits of all examples.
    pub(super) fn logits(&self) -> Vec<f32> {
        logits(self, &(0..self.data.len() as u32).collect::<Vec<_>>())
    }

    /// Values of what `build` makes of the plain view over all examples.
    pub(super) fn watch<const N: usize>(
        &self,
        build: impl FnOnce(&mut PlainView<'_, Params>, &mut Tape<f32>) -> [Var; N],
    ) -> [Vec<f32>; N] {
        let (mut tape, mut buffers) = (Tape::new(), ViewBuffers::default());
        let index: Vec<u32> = (0..self.data.len() as u32).collect();
        let mut view = PlainView::scoring(&self.params, &self.columns, &index, &mut buffers, &[]);
        build(&mut view, &mut tape).map(|var| tape.value(var).to_vec())
    }

    /// Sets the elements of a dense tensor.
    pub(super) fn set(&mut self, name: &str, value: impl Fn(usize) -> f32) {
        let dense = self.params.dense.iter_mut().find(|dense| dense.name == name).expect("a tensor of this name");
        dense.values.iter_mut().enumerate().for_each(|(at, x)| *x = value(at));
    }

    /// Sets all elements of a dense tensor.
    pub(super) fn fill(&mut self, name: &str, value: f32) {
        self.set(name, |_| value);
    }

    /// Draws all parameters anew.
    pub(crate) fn scatter(&mut self, std: f64) {
        self.scatter_like("", std);
    }

    /// Draws the parameters whose names begin with `prefix` anew, by name: alike in all models.
    pub(super) fn scatter_like(&mut self, prefix: &str, std: f64) {
        for dense in self.params.dense.iter_mut().filter(|dense| dense.name.starts_with(prefix)) {
            let mut stream = Stream::new(&[hash_text(&dense.name)]);
            dense.values.iter_mut().for_each(|x| *x = (std * stream.normal()) as f32);
        }
        for table in self.params.tables.iter_mut().filter(|table| table.spec().name.starts_with(prefix)) {
            let name = hash_text(&table.spec().name);
            for row in 1..table.rows() {
                let mut stream = Stream::new(&[name, u64::from(row)]);
                table.row_mut(row).iter_mut().for_each(|x| *x = (std * stream.normal()) as f32);
            }
        }
    }

    /// The gradient of a tensor or table, by the slow twin.
    pub(super) fn gradient_of(&self, name: &str) -> Vec<f64> {
        let Twin { grads, .. } = twin(self, &values(self), false);
        let dense = self.params.dense.iter().map(|dense| &dense.name);
        let mut names = dense.chain(self.params.tables.iter().map(|table| &table.spec().name));
        let at = names.position(|known| known == name).expect("a parameter of this name");
        grads[at].clone()
    }

    /// The vectors of a past item and of its category, side by side.
    pub(super) fn entry(&self, place: usize) -> Vec<f32> {
        let row = |name: &str, feature: usize| {
            let Column::Bag { ids, .. } = &self.columns[feature] else { panic!("a history") };
            let table = self.params.tables.iter().find(|table| table.spec().name == name).expect("a table");
            table.row(ids[place]).to_vec()
        };
        [row("embedding.item", 5), row("embedding.category", 7)].concat()
    }

    /// Number of values of all dense tensors.
    pub(super) fn dense_parameters(&self) -> usize {
        self.params.dense.iter().map(|dense| dense.values.len()).sum()
    }

    /// For models that read a linear part, then vectors: that part and the vectors of each example, by loops.
    pub(super) fn linear_and_vectors(&self, dim: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
        let dense = |name: &str| self.params.dense.iter().find(|d| d.name == name).map(|d| d.values.as_slice());
        let all = |prefix: &str, dim: usize, example: usize| {
            let numbers = format!("{prefix}.numbers");
            let belongs = |lookup: &&Lookup| match lookup {
                Lookup::Number { .. } => true,
                Lookup::Rows { table, .. } => self.params.tables[table.0].spec().name.starts_with(prefix),
            };
            let mut next_number = 0;
            let vector = |lookup: &Lookup| match *lookup {
                Lookup::Number { feature } => {
                    let Column::Numeric(values) = &self.columns[feature] else { panic!("a number") };
                    let own = &dense(&numbers).expect("numbers have weights")[next_number * dim..][..dim];
                    next_number += 1;
                    own.iter().map(|&w| f64::from(w) * f64::from(values[example])).collect::<Vec<_>>()
                }
                Lookup::Rows { table, feature, pool } => {
                    let mut sum = vec![0.0; dim];
                    for (row, weight) in contributions(&self.columns[feature], example, pool) {
                        let values = self.params.tables[table.0].row(row as u32);
                        sum.iter_mut().zip(values).for_each(|(sum, &x)| *sum += weight * f64::from(x));
                    }
                    sum
                }
            };
            self.backbone.lookups().iter().filter(belongs).flat_map(vector).collect::<Vec<f64>>()
        };
        let bias = f64::from(dense("linear.bias").expect("a bias")[0]);
        let examples = 0..self.data.len();
        let sums = examples.clone().map(|i| bias + all("linear", 1, i).iter().sum::<f64>());
        (sums.collect(), examples.map(|i| all("embedding", dim, i)).collect())
    }
}

fn logits(fixture: &Fixture, index: &[u32]) -> Vec<f32> {
    let (mut tape, mut buffers) = (Tape::new(), ViewBuffers::default());
    let mut view = PlainView::scoring(&fixture.params, &fixture.columns, index, &mut buffers, &[]);
    let out = fixture.backbone.forward(&mut view, &mut tape);
    tape.value(out).to_vec()
}

fn noisy_logits(fixture: &Fixture, index: &[u32]) -> Vec<f32> {
    let (mut tape, mut buffers) = (Tape::new(), ViewBuffers::default());
    let mut view = PlainView::training(&fixture.params, &fixture.columns, index, Some(1), &mut buffers);
    let out = fixture.backbone.forward(&mut view, &mut tape);
    tape.value(out).to_vec()
}

/// The slow twin of the plain view, in f64: whole tables are leaves, pooling is written out. Doubles as the means to
/// differentiate a whole model.
struct TwinView<'a> {
    values: &'a [Vec<f64>],
    fixture: &'a Fixture,
    /// `(parameter, its gradient)` is read off these after the backward pass.
    dense: Vec<(DenseId, Var)>,
    embedded: Vec<(Vec<Lookup>, Var)>,
    sequences: Vec<(Sequence, Var)>,
    /// Names of the examples, in a pass with noise.
    noise: Option<Vec<u32>>,
    taps: Vec<(Tap, Var)>,
}

/// Rows and weights that one example looks up, weights divided out for a mean.
fn contributions(column: &Column, example: usize, pool: Pool) -> Vec<(usize, f64)> {
    match column {
        Column::Id(ids) => vec![(ids[example] as usize, 1.0)],
        Column::Bag { spans, ids, weights } => {
            let weight = |at: usize| weights.as_ref().map_or(1.0, |w| f64::from(w[at]));
            let total: f64 = spans.range(example).map(weight).sum();
            let divisor = if pool == Pool::Mean { total } else { 1.0 };
            spans.range(example).map(|at| (ids[at] as usize, weight(at) / divisor)).collect()
        }
        Column::Numeric(_) => panic!("a number is not looked up"),
    }
}

impl TwinView<'_> {
    fn table(&self, table: usize) -> &[f64] {
        &self.values[self.fixture.params.dense.len() + table]
    }

    /// Gradients of all parameters, dense ones first, in the order of `values`.
    fn gradients(&self, tape: &Tape<f64>) -> Vec<Vec<f64>> {
        let mut grads: Vec<Vec<f64>> = self.values.iter().map(|v| vec![0.0; v.len()]).collect();
        for &(id, var) in &self.dense {
            grads[id.0].iter_mut().zip(tape.grad(var)).for_each(|(sum, g)| *sum += g);
        }
        for (lookups, var) in &self.embedded {
            let (rows, stride) = tape.shape(*var);
            let mut offset = 0;
            for lookup in lookups {
                let Lookup::Rows { table, feature, pool } = *lookup else {
                    offset += 1;
                    continue;
                };
                let dim = self.fixture.params.tables[table.0].dim();
                for example in 0..rows {
                    for (row, weight) in contributions(&self.fixture.columns[feature], example, pool) {
                        for d in 0..dim {
                            let g = tape.grad(*var)[example * stride + offset + d];
                            grads[self.fixture.params.dense.len() + table.0][row * dim + d] += weight * g;
                        }
                    }
                }
                offset += dim;
            }
        }
        for (sequence, var) in &self.sequences {
            let stride = tape.shape(*var).1;
            for (at, entry) in self.entries(sequence).concat().into_iter().enumerate() {
                let mut offset = 0;
                for (&(table, _), row) in sequence.parts.iter().zip(entry) {
                    let dim = self.fixture.params.tables[table.0].dim();
                    for d in 0..dim {
                        grads[self.fixture.params.dense.len() + table.0][row * dim + d] +=
                            tape.grad(*var)[at * stride + offset + d];
                    }
                    offset += dim;
                }
            }
        }
        grads
    }

    /// For each example its entries, each with a row per part: filtered, then cut, by the definition.
    fn entries(&self, sequence: &Sequence) -> Vec<Vec<Vec<usize>>> {
        let ids = |feature: usize, example: usize| match &self.fixture.columns[feature] {
            Column::Bag { spans, ids, .. } => ids[spans.range(example)].to_vec(),
            Column::Id(ids) => vec![ids[example]],
            Column::Numeric(_) => panic!("a number is not looked up"),
        };
        let of = |example: usize| {
            let len = ids(sequence.parts[0].1, example).len();
            let mut places: Vec<usize> = (0..len).collect();
            if let Some(Matching { entry, example: feature }) = sequence.matching {
                let wanted = ids(feature, example)[0];
                places.retain(|&place| wanted > 1 && ids(entry, example)[place] == wanted);
            }
            let from = places.len() - sequence.most_recent.unwrap_or(len).min(places.len());
            let row =
                |place: usize| sequence.parts.iter().map(move |part| ids(part.1, example)[place] as usize).collect();
            places[from..].iter().map(|&place| row(place)).collect::<Vec<Vec<usize>>>()
        };
        (0..self.fixture.data.len()).map(of).collect()
    }
}

impl ParamView<f64> for TwinView<'_> {
    fn sequence(&mut self, tape: &mut Tape<f64>, sequence: &Sequence) -> (Var, Groups) {
        let entries = self.entries(sequence);
        let groups = tape.groups(entries.iter().map(Vec::len));
        let values = entries.concat().into_iter().flat_map(|entry| {
            let parts = sequence.parts.iter().zip(entry).flat_map(|(&(table, _), row)| {
                let dim = self.fixture.params.tables[table.0].dim();
                self.table(table.0)[row * dim..][..dim].to_vec()
            });
            parts.collect::<Vec<f64>>()
        });
        let values: Vec<f64> = values.collect();
        let stride = sequence.parts.iter().map(|(table, _)| self.fixture.params.tables[table.0].dim()).sum();
        let var = tape.leaf(entries.concat().len(), stride, |out| out.copy_from_slice(&values));
        self.sequences.push((sequence.clone(), var));
        (var, groups)
    }

    fn statistic(&mut self, tape: &mut Tape<f64>, id: StatisticId) -> Var {
        let values = &self.fixture.params.statistics[id.0].values;
        tape.constant(1, values.len(), |out| out.iter_mut().zip(values).for_each(|(out, &x)| *out = f64::from(x)))
    }

    fn noise(&self) -> Option<Noise<'_>> {
        self.noise.as_ref().map(|rows| Noise { key: 1, rows })
    }

    fn observe(&mut self, _id: StatisticId, _seen: Var, _rows: usize) {}

    fn tap(&mut self, _tape: &mut Tape<f64>, tap: Tap, var: Var) -> Var {
        self.taps.push((tap, var));
        var
    }

    fn dense(&mut self, tape: &mut Tape<f64>, id: DenseId) -> Var {
        let dense = &self.fixture.params.dense[id.0];
        let var = tape.leaf(dense.rows, dense.cols, |out| out.copy_from_slice(&self.values[id.0]));
        self.dense.push((id, var));
        var
    }

    fn embed(&mut self, tape: &mut Tape<f64>, lookups: &[Lookup]) -> Var {
        let rows = self.fixture.data.len();
        let width = |lookup: &Lookup| match lookup {
            Lookup::Rows { table, .. } => self.fixture.params.tables[table.0].dim(),
            Lookup::Number { .. } => 1,
        };
        let stride: usize = lookups.iter().map(width).sum();
        let var = tape.leaf(rows, stride, |out| {
            out.fill(0.0);
            for example in 0..rows {
                let mut offset = example * stride;
                for lookup in lookups {
                    match *lookup {
                        Lookup::Number { feature } => {
                            let Column::Numeric(values) = &self.fixture.columns[feature] else { panic!("a number") };
                            out[offset] = f64::from(values[example]);
                        }
                        Lookup::Rows { table, feature, pool } => {
                            let dim = width(lookup);
                            for (row, weight) in contributions(&self.fixture.columns[feature], example, pool) {
                                for d in 0..dim {
                                    out[offset + d] += weight * self.table(table.0)[row * dim + d];
                                }
                            }
                        }
                    }
                    offset += width(lookup);
                }
            }
        });
        self.embedded.push((lookups.to_vec(), var));
        var
    }
}

/// All parameters of a fixture as f64, dense ones first.
pub(crate) fn values(fixture: &Fixture) -> Vec<Vec<f64>> {
    let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let dense = fixture.params.dense.iter().map(|dense| wide(&dense.values));
    let tables = fixture
        .params
        .tables
        .iter()
        .map(|table| (0..table.rows()).flat_map(|row| wide(table.row(row))).collect::<Vec<_>>());
    dense.chain(tables).collect()
}

/// The same, moved a little at random: at first many biases are zero, which is where a relu has no slope.
pub(crate) fn shaken(fixture: &Fixture) -> Vec<Vec<f64>> {
    let mut stream = Stream::new(&[17]);
    let mut all = values(fixture);
    all.iter_mut().flatten().for_each(|x| *x += 0.1 * stream.normal());
    all
}

/// What the slow twin computed.
pub(crate) struct Twin {
    pub(crate) logits: Vec<f64>,
    pub(crate) loss: f64,
    /// By all parameters, dense ones first.
    pub(crate) grads: Vec<Vec<f64>>,
}

/// Differentiates some loss of logits and taps, as in training or as in scoring.
pub(crate) fn differentiate(
    fixture: &Fixture,
    values: &[Vec<f64>],
    noisy: bool,
    loss: impl Fn(&mut Tape<f64>, Var, &[(Tap, Var)]) -> Var,
) -> Twin {
    let mut tape = Tape::new();
    let noise = noisy.then(|| (0..fixture.data.len() as u32).collect());
    let (dense, embedded, sequences, taps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut view = TwinView { values, fixture, dense, embedded, sequences, noise, taps };
    let out = fixture.backbone.forward(&mut view, &mut tape);
    let loss = loss(&mut tape, out, &view.taps);
    tape.backward(loss);
    Twin { logits: tape.value(out).to_vec(), loss: tape.value(loss)[0], grads: view.gradients(&tape) }
}

/// The weighted mean of the fixture's cross entropies.
pub(crate) fn bce(fixture: &Fixture, tape: &mut Tape<f64>, logits: Var) -> Var {
    let weights: f64 = fixture.data.weight.iter().map(|&w| f64::from(w)).sum();
    tape.bce_with_logits(logits, &fixture.data.label, &fixture.data.weight, weights)
}

fn twin(fixture: &Fixture, values: &[Vec<f64>], noisy: bool) -> Twin {
    differentiate(fixture, values, noisy, |tape, logits, _| bce(fixture, tape, logits))
}

#[test]
fn every_gradient_meets_a_finite_difference() {
    for (name, config) in registered() {
        let fixture = fixture(&config, 9);
        let start = shaken(&fixture);
        for noisy in [false, true] {
            let worst = check_gradient(&start, |values| {
                let Twin { loss, grads, .. } = twin(&fixture, values, noisy);
                (loss, grads)
            });
            assert!(worst.error < 1e-7, "{name}, with noise {noisy}: {worst}");
        }
    }
}

/// What training adds to rows and tensors is what the slow twin says.
#[test]
fn gradients_end_where_they_belong() {
    for (name, config) in registered() {
        let fixture = fixture(&config, 23);
        let expected = twin(&fixture, &values(&fixture), true).grads;
        let (mut tape, mut buffers) = (Tape::new(), ViewBuffers::default());
        let index: Vec<u32> = (0..23).collect();
        let mut view = PlainView::training(&fixture.params, &fixture.columns, &index, Some(1), &mut buffers);
        let out = fixture.backbone.forward(&mut view, &mut tape);
        let weights: f64 = fixture.data.weight.iter().map(|&w| f64::from(w)).sum();
        let loss = tape.bce_with_logits(out, &fixture.data.label, &fixture.data.weight, weights);
        tape.backward(loss);
        let mut got: Vec<Vec<f64>> = expected.iter().map(|grads| vec![0.0; grads.len()]).collect();
        for &(id, var) in &buffers.dense {
            got[id.0].iter_mut().zip(tape.grad(var)).for_each(|(sum, &g)| *sum += f64::from(g));
        }
        for (used, touches) in buffers.uses.iter().zip(&buffers.touches) {
            let table = &fixture.params.tables[used.table.0];
            let (dim, mut selection) = (table.dim(), Selection::default());
            selection.clear(table.rows());
            for lookup in fixture.backbone.lookups() {
                match *lookup {
                    Lookup::Rows { table, feature, .. } if table == used.table => {
                        selection.add(&fixture.columns[feature], &index);
                    }
                    _ => {}
                }
            }
            let mut sums = vec![0.0; selection.rows().len() * dim];
            selection.sum(touches, tape.grad(used.var), used.place, dim, &mut sums);
            let got = &mut got[fixture.params.dense.len() + used.table.0];
            for (&row, sums) in selection.rows().iter().zip(sums.chunks(dim)) {
                got[row as usize * dim..][..dim].iter_mut().zip(sums).for_each(|(got, &g)| *got += f64::from(g));
            }
        }
        for (parameter, (got, expected)) in got.iter().flatten().zip(expected.iter().flatten()).enumerate() {
            let error = (got - expected).abs() / expected.abs().max(1.0);
            assert!(error < 1e-4, "{name}, {parameter}: {got}, expected {expected}");
        }
    }
}

#[test]
fn the_plain_view_computes_what_its_slow_twin_does() {
    for (name, config) in registered() {
        let fixture = fixture(&config, 40);
        let index: Vec<u32> = (0..40).collect();
        let expected = twin(&fixture, &values(&fixture), false).logits;
        for (fast, slow) in logits(&fixture, &index).iter().zip(expected) {
            assert!((f64::from(*fast) - slow).abs() < 1e-5, "{name}: {fast} and {slow}");
        }
        let expected = twin(&fixture, &values(&fixture), true).logits;
        for (fast, slow) in noisy_logits(&fixture, &index).iter().zip(expected) {
            assert!((f64::from(*fast) - slow).abs() < 1e-5, "{name}, in training: {fast} and {slow}");
        }
    }
}

#[test]
fn a_batch_is_its_examples_one_by_one() {
    for (name, config) in registered() {
        let fixture = fixture(&config, 17);
        let index: Vec<u32> = (0..17).rev().collect();
        let whole = logits(&fixture, &index);
        for (at, &example) in index.iter().enumerate() {
            let alone = logits(&fixture, &[example])[0];
            assert!((whole[at] - alone).abs() < 1e-6, "{name}: {} in a batch, {alone} alone", whole[at]);
        }
        assert_eq!(logits(&fixture, &[]), Vec::<f32>::new(), "{name}: an empty batch");
    }
}

#[test]
fn unseen_ids_are_scored_without_changing_anything() {
    for (name, config) in registered() {
        let mut fixture = fixture(&config, 9);
        // Parts that start at zero must have learned something to tell known ids from unseen ones.
        fixture.scatter(0.3);
        let servable = crate::Servable {
            encoder: fixture.encoder.clone(),
            backbone: fixture.backbone.clone(),
            params: fixture.params.clone(),
        };
        let mut data = fixture.data.clone();
        data.keys[1] = (920..926).collect();
        let before = servable.digest();
        let workers = perennial_nn::Workers::new(1);
        let scored = servable.score(&data.keys, &data.columns, data.len(), &workers).unwrap();
        assert!(scored.iter().all(|logit| logit.is_finite()), "{name}");
        assert_eq!(servable.digest(), before, "{name}: scoring changed the version");
        assert_ne!(scored, logits(&fixture, &(0..9).collect::<Vec<_>>()), "{name}: unseen ids have rows of their own");

        // The row that an unseen id is scored with is the row it gets when it is admitted.
        let mut updated = servable.clone();
        let admitted = updated.encoder.observe(&[&data]);
        updated.params.grow(updated.backbone.spec(), &admitted);
        assert_eq!(updated.score(&data.keys, &data.columns, data.len(), &workers).unwrap(), scored, "{name}");
    }
}

/// Request after request over one tape, known ids and unseen ones in turn.
#[test]
fn a_scorer_keeps_nothing_of_earlier_requests() {
    for (name, config) in registered() {
        let fixture = fixture(&config, 9);
        let servable = crate::Servable { encoder: fixture.encoder, backbone: fixture.backbone, params: fixture.params };
        let mut unseen = fixture.data.clone();
        unseen.keys[1] = (920..926).collect();
        let workers = perennial_nn::Workers::new(1);
        let mut scorer = servable.serving().scorer();
        for request in [&fixture.data, &unseen, &fixture.data] {
            let scored = scorer.score(&request.keys, &request.columns, request.len()).unwrap();
            let expected = servable.score(&request.keys, &request.columns, request.len(), &workers).unwrap();
            assert_eq!(scored, expected, "{name}");
        }
        assert!(scorer.score(&unseen.keys, &unseen.columns, 0).unwrap().is_empty(), "{name}: no examples");
    }
}

#[test]
fn parameters_have_unique_names() {
    for (name, config) in registered() {
        let fixture = fixture(&config, 9);
        let spec = fixture.backbone.spec();
        let mut names: Vec<_> = spec.dense.iter().map(|d| &d.name).chain(spec.tables.iter().map(|t| &t.name)).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{name}");
        assert!(fixture.params.tables.iter().all(|table| table.rows() as usize > RESERVED_ROWS), "{name}");
    }
}

/// The defaults of every kind make a model.
#[test]
fn defaults_work() {
    let kinds = [
        "embedding_mlp",
        "lr",
        "fm",
        "fmfm",
        "nfm",
        "ipnn",
        "dnn",
        "wide_deep",
        "deepfm",
        "xdeepfm",
        "afn",
        "dcn",
        "din",
        "can",
    ];
    for kind in kinds {
        let config: BackboneConfig = serde_json::from_value(serde_json::json!({ "kind": kind })).unwrap();
        assert!(fixture(&config, 5).logits().into_iter().all(f32::is_finite), "{kind}");
    }
}
