//! Co-action network (Bian et al., WSDM 2022), on target attention.
//!
//! ```text
//! z = MLP([x; t; S; t * S; r; H_1; H_2; ...])      S = sum_j s_j      r as in DIN
//! H = sum_j concat_{o = 1..3} [tanh(q_j^o A); tanh(q_j^o A) B]      (A, B) = the target's row, reshaped
//! ```
//!
//! A co-action unit takes a row of parameters for the target's id and a row of inputs for each past id, both of tables of
//! their own, and lets the one act on the other as a small network: interactions that products of embeddings have to
//! share dimensions for. There is one unit for each id of the item whose history is an input too.

use super::part::{
    AttentionConfig, BatchNorm, Behaviour, Fields, FieldsConfig, Interest, Mlp, MlpConfig, Recipe, SearchConfig,
    Tables, check_width, chosen_features, sequence_of, targets_of,
};
use crate::encoder::Encoder;
use crate::sequence::Sequence;
use crate::view::Lookup;
use crate::{EmbeddingInit, ModelError, ModelSpec, ParamView};
use perennial_nn::{CO_ACTION_LAYERS, CoActionShape, Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of CAN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CanConfig {
    /// What goes in: among others an id of the item and its history.
    pub fields: FieldsConfig,
    /// How the history is attended to.
    pub attention: AttentionConfig,
    /// Search in long histories, beside; none if absent.
    pub search: Option<SearchConfig>,
    /// The co-action units.
    pub co_action: CoActionConfig,
    /// Whether the tower's input is normalised, as in the authors' code.
    pub input_norm: bool,
    /// The layers on top: 200 and 80 with PReLU in the authors' code.
    pub mlp: MlpConfig,
}

/// Options of co-action units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoActionConfig {
    /// Names of the item's ids that have a unit; all whose histories are inputs if absent.
    pub of: Option<Vec<String>>,
    /// Floats of an input. 16 in the authors' code.
    pub inputs: usize,
    /// Outputs of each layer of the small network. 8 and 4 in the authors' code.
    pub layers: Vec<usize>,
    /// Inputs are raised to the powers 1 to this. 3 in the authors' code.
    pub orders: usize,
    /// Whether each power has a network of its own.
    pub independent: bool,
    /// Initial values of both tables. Glorot's for a table of 10,000 rows, as in the authors' code up to that number:
    /// small, since powers of large numbers explode.
    pub init: EmbeddingInit,
}

impl Default for CanConfig {
    fn default() -> Self {
        let mlp = MlpConfig { hidden: vec![200, 80], activation: super::Activation::Prelu, ..MlpConfig::default() };
        CanConfig {
            fields: FieldsConfig::default(),
            attention: AttentionConfig::default(),
            search: None,
            co_action: CoActionConfig::default(),
            input_norm: true,
            mlp,
        }
    }
}

impl Default for CoActionConfig {
    fn default() -> Self {
        CoActionConfig {
            of: None,
            inputs: 16,
            layers: vec![8, 4],
            orders: 3,
            independent: false,
            init: EmbeddingInit::GlorotUniform { rows: 10_000 },
        }
    }
}

/// CAN, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Can {
    recipe: Recipe,
    others: Fields,
    targets: Vec<Lookup>,
    interest: Interest,
    search: Option<Interest>,
    units: Vec<Unit>,
    norm: Option<BatchNorm>,
    mlp: Mlp,
}

/// One co-action unit.
#[derive(Debug, Clone, PartialEq)]
struct Unit {
    parameters: Vec<Lookup>,
    inputs: Sequence,
    shape: CoActionShape,
}

/// More units than items have ids.
const MOST_UNITS: usize = 16;

impl Can {
    /// Builds the model; an unknown input, no history of an id or an impossible width is an error.
    pub fn build(config: &CanConfig, encoder: &Encoder) -> Result<Can, ModelError> {
        let mut recipe = Recipe::default();
        let mut tables = Tables::new("embedding", &config.fields, encoder)?;
        let chosen = chosen_features("fields.inputs", config.fields.inputs.as_deref(), encoder)?;
        let behaviours = Behaviour::among(&chosen, encoder)?;
        let others = Fields::of(&Behaviour::others(&behaviours, &chosen), &mut tables, &mut recipe);
        let targets = targets_of(&behaviours, &mut tables, &mut recipe);
        let interest = Interest::build("attention", &behaviours, &config.attention, &mut tables, &mut recipe)?;
        let search = match &config.search {
            None => None,
            Some(search) => Some(Interest::search(&behaviours, search, &mut tables, &mut recipe)?),
        };
        let blocks = if search.is_some() { 5 } else { 4 };
        let width = others.width() + blocks * behaviours.len() * tables.dim();
        tables.finish()?;
        let units = units(config, &behaviours, encoder, &mut recipe)?;
        let width = width + units.iter().map(|unit| unit.shape.outputs()).sum::<usize>();
        let norm = config.input_norm.then(|| BatchNorm::build("input.norm", width, true, &mut recipe));
        let mlp = Mlp::build("mlp", width, &config.mlp, &mut recipe)?;
        Ok(Can { recipe, others, targets, interest, search, units, norm, mlp })
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
        let x = self.others.embed(view, tape);
        let target = view.embed(tape, &self.targets);
        let attended = self.interest.forward(target, view, tape);
        let entries = tape.shape(attended.rows).0;
        let ones = tape.constant(entries, 1, |ones| ones.fill(T::ONE));
        let sum = tape.attend(ones, attended.rows, attended.groups, None);
        let product = tape.multiply_add(target, sum, None);
        let mut blocks = [x; 6 + MOST_UNITS];
        blocks[1..5].copy_from_slice(&[target, sum, product, attended.interest]);
        let mut count = 5;
        if let Some(search) = &self.search {
            blocks[count] = search.forward(target, view, tape).interest;
            count += 1;
        }
        for unit in &self.units {
            blocks[count] = unit.forward(view, tape);
            count += 1;
        }
        let mut all = tape.concat(&blocks[..count]);
        if let Some(norm) = &self.norm {
            all = norm.forward(all, view, tape);
        }
        self.mlp.forward(all, view, tape)
    }
}

/// A unit for each behaviour that is asked for.
fn units(
    config: &CanConfig,
    behaviours: &[Behaviour],
    encoder: &Encoder,
    recipe: &mut Recipe,
) -> Result<Vec<Unit>, ModelError> {
    let shape = shape(&config.co_action)?;
    let name = |behaviour: &Behaviour| encoder.features().features[behaviour.target].name.as_str();
    let asked = config.co_action.of.as_deref();
    if let Some(unknown) = asked.unwrap_or(&[]).iter().find(|of| !behaviours.iter().any(|one| name(one) == **of)) {
        let names: Vec<&str> = behaviours.iter().map(name).collect();
        let problem = format!("the history of \"{unknown}\" is no input; those that are: {}", names.join(", "));
        return Err(ModelError::Config { key: "co_action.of".into(), problem });
    }
    let wanted = |one: &&Behaviour| asked.is_none_or(|of| of.iter().any(|of| of == name(one)));
    let wanted: Vec<&Behaviour> = behaviours.iter().filter(wanted).collect();
    if wanted.len() > MOST_UNITS {
        let problem = format!("at most {MOST_UNITS} units are possible, got {}", wanted.len());
        return Err(ModelError::Config { key: "co_action.of".into(), problem });
    }
    let table = |dim| FieldsConfig { dim, init: config.co_action.init, ..FieldsConfig::default() };
    let (parameters, inputs) = (table(shape.parameters()), table(shape.inputs));
    let mut parameters = Tables::new("co_action.parameters", &parameters, encoder)?;
    let mut inputs = Tables::new("co_action.inputs", &inputs, encoder)?;
    let unit = |behaviour: &Behaviour| Unit {
        parameters: targets_of(&[*behaviour], &mut parameters, recipe),
        inputs: sequence_of(&[*behaviour], config.attention.most_recent, &mut inputs, recipe),
        shape,
    };
    Ok(wanted.into_iter().map(unit).collect())
}

fn shape(config: &CoActionConfig) -> Result<CoActionShape, ModelError> {
    check_width("co_action.inputs", config.inputs, 256)?;
    check_width("co_action.orders", config.orders, 8)?;
    check_width("co_action.layers", config.layers.len(), CO_ACTION_LAYERS)?;
    let mut widths = [0; CO_ACTION_LAYERS];
    for (to, &width) in widths.iter_mut().zip(&config.layers) {
        check_width("co_action.layers", width, 256)?;
        *to = width;
    }
    Ok(CoActionShape { inputs: config.inputs, widths, orders: config.orders, independent: config.independent })
}

impl Unit {
    fn forward<T: Real>(&self, view: &mut impl ParamView<T>, tape: &mut Tape<T>) -> Var {
        let parameters = view.embed(tape, &self.parameters);
        let (rows, groups) = view.sequence(tape, &self.inputs);
        tape.co_action(parameters, rows, groups, self.shape)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::backbone::conformance::{Fixture, fixture, small_mlp};
    use crate::backbone::din::tests::{reverse_histories, searching};
    use crate::{Backbone, BackboneConfig};
    use perennial_core::Column;

    /// Units of 2 -> 3 -> 2 with two powers, on DIN's small inputs but for the number: normalised, a number's vector is
    /// steep where it is small.
    pub(in crate::backbone) fn small() -> CanConfig {
        let din = searching();
        let init = EmbeddingInit::Normal { std: 0.5 };
        let co_action = CoActionConfig { inputs: 2, layers: vec![3, 2], orders: 2, init, ..CoActionConfig::default() };
        let mut fields = din.fields;
        fields.inputs.as_mut().unwrap().retain(|name| name != "price");
        CanConfig {
            fields,
            attention: din.attention,
            search: din.search,
            co_action,
            input_norm: true,
            mlp: small_mlp(),
        }
    }

    fn can(config: CanConfig) -> Fixture {
        fixture(&BackboneConfig::Can(config), 12)
    }

    /// What the first unit, that of items, makes of each example.
    fn items(fixture: &Fixture) -> Vec<f32> {
        let Backbone::Can(can) = &fixture.backbone else { panic!("a CAN") };
        let [acted] = fixture.watch(|view, tape| [can.units[0].forward(view, tape)]);
        acted
    }

    /// The published formula by loops over past items, powers and layers.
    #[test]
    fn a_unit_equals_loops() {
        for independent in [false, true] {
            let mut config = small();
            config.co_action.independent = independent;
            let fixture = can(config);
            let acted = items(&fixture);
            let table = |name: &str| fixture.params.tables.iter().find(|table| table.spec().name == name).unwrap();
            let (parameters, inputs) = (table("co_action.parameters.item"), table("co_action.inputs.item"));
            let Column::Id(targets) = &fixture.columns[1] else { panic!("items") };
            let Column::Bag { spans, ids, .. } = &fixture.columns[5] else { panic!("their history") };
            for (example, acted) in acted.chunks(10).enumerate() {
                let mut expected = [0.0f64; 10];
                for at in spans.range(example) {
                    for order in 0..2 {
                        let p = &parameters.row(targets[example])[if independent { 12 * order } else { 0 }..];
                        let q = inputs.row(ids[at]);
                        let hidden: Vec<f64> = (0..3)
                            .map(|b| {
                                let raised = |a: usize| f64::from(q[a]).powi(order as i32 + 1);
                                (0..2).map(|a| raised(a) * f64::from(p[a * 3 + b])).sum::<f64>().tanh()
                            })
                            .collect();
                        for (b, h) in hidden.iter().enumerate() {
                            expected[order * 5 + b] += h;
                        }
                        for b in 0..2 {
                            expected[order * 5 + 3 + b] +=
                                (0..3).map(|a| hidden[a] * f64::from(p[6 + a * 2 + b])).sum::<f64>();
                        }
                    }
                }
                for (acted, expected) in acted.iter().zip(expected) {
                    assert!((f64::from(*acted) - expected).abs() < 1e-5, "{acted}, expected {expected}");
                }
            }
        }
    }

    #[test]
    fn targets_whose_rows_are_zero_act_on_nothing() {
        let mut fixture = can(small());
        assert!(items(&fixture).iter().any(|x| *x != 0.0));
        let tables = fixture.params.tables.iter_mut();
        for table in tables.filter(|table| table.spec().name.starts_with("co_action.parameters")) {
            (1..table.rows()).for_each(|row| table.row_mut(row).fill(0.0));
        }
        assert!(items(&fixture).iter().all(|x| *x == 0.0));
    }

    #[test]
    fn the_order_of_a_history_is_nothing_to_it() {
        let mut fixture = can(CanConfig { search: None, ..small() });
        let before = fixture.logits();
        reverse_histories(&mut fixture);
        for (before, after) in before.into_iter().zip(fixture.logits()) {
            assert!((before - after).abs() < 1e-5, "{before} and {after}");
        }
    }

    /// 16 -> 8 -> 4, three powers: rows of 160 and 16, and 36 columns for each of two units.
    #[test]
    fn it_has_as_many_parameters_as_published() {
        let fixture = can(CanConfig { co_action: CoActionConfig::default(), search: None, ..small() });
        let dims: Vec<usize> = fixture.backbone.spec().tables.iter().map(|table| table.dim).collect();
        assert_eq!(dims, [3, 3, 3, 160, 16, 160, 16], "user, item and category, then two units");
        let width = 3 + 4 * 6 + 72;
        // Scores of entries; scale and shift of the input; the tower.
        let expected = (72 + 3 + 3 + 1) + 2 * width + (width * 5 + 5) + 24 + 5;
        assert_eq!(fixture.dense_parameters(), expected);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let encoder = fixture(&BackboneConfig::default(), 1).encoder;
        let refused = |change: fn(&mut CoActionConfig)| {
            let mut config = small();
            change(&mut config.co_action);
            Can::build(&config, &encoder).unwrap_err().to_string()
        };
        assert!(refused(|units| units.of = Some(vec!["tags".into()])).contains("item, category"));
        assert!(refused(|units| units.layers = vec![]).contains("co_action.layers"));
        assert!(refused(|units| units.layers = vec![8; 5]).contains("co_action.layers"));
        assert!(refused(|units| units.orders = 0).contains("co_action.orders"));
    }
}
