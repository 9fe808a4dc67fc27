//! Matrix factorisation (Koren, Bell and Volinsky, IEEE Computer 42(8), 2009), on logits.
//!
//! ```text
//! z = <u, v> + b_u + b_i + mu
//! ```
//!
//! A row holds a vector and its bias side by side, so that whatever maps rows to rows, such as SML's transfer, meets both
//! at once. All inputs but the two ids are left aside.

use super::part::{Recipe, check_width};
use crate::encoder::Encoder;
use crate::view::Lookup;
use crate::{DenseId, DenseInit, EmbeddingInit, ModelError, ModelSpec, ParamView, TableId};
use perennial_core::{FeatureKind, Role, VocabId};
use perennial_nn::{Act, Real, Tape, Var};
use perennial_table::Pool;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Options of matrix factorisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MfConfig {
    /// Floats per vector. 8 in ASMG's comparison, 64 in SML's.
    pub dim: usize,
    /// Which biases there are.
    pub bias: MfBias,
    /// Name of the user's id; the first one of role `user` if absent.
    pub user: Option<String>,
    /// Name of the item's id; the first one of role `item` if absent.
    pub item: Option<String>,
    /// Initial values of vectors. Biases start at zero.
    pub init: EmbeddingInit,
    /// Initial values of the vectors of one domain, where they differ from `init`.
    pub init_of: BTreeMap<String, EmbeddingInit>,
}

/// Which biases a matrix factorisation has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MfBias {
    /// `b_u + b_i + mu`.
    #[default]
    All,
    /// `b_u + b_i`, as in ASMG's comparison.
    Ids,
    /// None, as in SML's.
    None,
}

impl Default for MfConfig {
    fn default() -> Self {
        MfConfig {
            dim: 8,
            bias: MfBias::All,
            user: None,
            item: None,
            init: EmbeddingInit::default(),
            init_of: BTreeMap::new(),
        }
    }
}

/// Matrix factorisation, built for a pair of ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Mf {
    recipe: Recipe,
    dim: usize,
    bias: MfBias,
    mean: Option<DenseId>,
}

impl Mf {
    /// Builds the model: tables `factors.<domain>` of `dim + 1` columns, the last one the bias (of `dim` without
    /// biases), and `factors.mean [1, 1]`. An unknown id, a missing one or an impossible width is an error.
    pub fn build(config: &MfConfig, encoder: &Encoder) -> Result<Mf, ModelError> {
        check_width("dim", config.dim, 4096)?;
        let mut recipe = Recipe::default();
        for (key, role, name) in [("user", Role::User, &config.user), ("item", Role::Item, &config.item)] {
            let (feature, vocab) = id_of(key, role, name.as_deref(), encoder)?;
            let table = table_of(config, encoder, vocab, &mut recipe);
            recipe.lookups.push(Lookup::Rows { table, feature, pool: Pool::Sum });
        }
        let known: Vec<&str> = recipe.spec.tables.iter().filter_map(|t| t.name.strip_prefix("factors.")).collect();
        if let Some(domain) = config.init_of.keys().find(|domain| !known.contains(&domain.as_str())) {
            let problem = format!("there is no such table; there are: {}", known.join(", "));
            return Err(ModelError::Config { key: format!("init_of.{domain}"), problem });
        }
        let mean = (config.bias == MfBias::All).then(|| recipe.dense("factors.mean", [1, 1], DenseInit::Zero));
        Ok(Mf { recipe, dim: config.dim, bias: config.bias, mean })
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
        let x = view.embed(tape, &self.recipe.lookups);
        let product = match self.bias {
            MfBias::None => tape.inner_products(x, self.dim),
            MfBias::Ids | MfBias::All => tape.biased_product(x, self.dim),
        };
        let Some(mean) = self.mean else { return product };
        let mean = view.dense(tape, mean);
        let one = tape.constant(1, 1, |one| one[0] = T::ONE);
        tape.linear(product, one, Some(mean), Act::Identity)
    }
}

/// The table of a vocabulary; one for both ids if they share it.
fn table_of(config: &MfConfig, encoder: &Encoder, vocab: VocabId, recipe: &mut Recipe) -> TableId {
    if let Some(made) = recipe.spec.tables.iter().position(|table| table.vocab == vocab) {
        return TableId(made);
    }
    let domain = encoder.vocabulary_name(vocab);
    let init = config.init_of.get(&domain).copied().unwrap_or(config.init);
    let biases = usize::from(config.bias != MfBias::None);
    let table = recipe.table(format!("factors.{domain}"), vocab, config.dim + biases, init);
    recipe.spec.tables[table.0].zeros = biases;
    table
}

/// Position and vocabulary of the id of this name, or of the first one of this role.
fn id_of(key: &str, role: Role, name: Option<&str>, encoder: &Encoder) -> Result<(usize, VocabId), ModelError> {
    let ids = || {
        encoder.features().features.iter().enumerate().filter_map(|(at, feature)| match feature.kind {
            FeatureKind::Id(vocab) => Some((at, vocab, feature)),
            FeatureKind::Bag(_) | FeatureKind::Numeric => None,
        })
    };
    let wanted = ids().find(|(.., feature)| name.map_or(feature.role == role, |name| feature.name == name));
    wanted.map(|(at, vocab, _)| (at, vocab)).ok_or_else(|| {
        let known = ids().map(|(.., feature)| feature.name.as_str()).collect::<Vec<_>>().join(", ");
        let problem = match name {
            Some(name) => format!("\"{name}\" is no id; there are: {known}"),
            None => format!("no id has the role {key}; name one of: {known}"),
        };
        ModelError::Config { key: key.into(), problem }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackboneConfig;
    use crate::backbone::conformance::{Fixture, fixture};
    use perennial_core::Column;

    fn mf(config: MfConfig) -> Fixture {
        fixture(&BackboneConfig::Mf(config), 12)
    }

    fn id(fixture: &Fixture, feature: usize, example: usize) -> u32 {
        let Column::Id(ids) = &fixture.columns[feature] else { panic!("an id") };
        ids[example]
    }

    #[test]
    fn equals_its_formula() {
        for bias in [MfBias::All, MfBias::Ids, MfBias::None] {
            let mut fixture = mf(MfConfig { dim: 3, bias, ..MfConfig::default() });
            fixture.scatter(0.5);
            let mean = fixture.params.dense.first().map_or(0.0, |dense| f64::from(dense.values[0]));
            assert_eq!(mean != 0.0, bias == MfBias::All);
            for (example, logit) in fixture.logits().into_iter().enumerate() {
                let [u, v] = [0, 1].map(|at| fixture.params.tables[at].row(id(&fixture, at, example)));
                let product: f64 = (0..3).map(|d| f64::from(u[d]) * f64::from(v[d])).sum();
                let biases = if bias == MfBias::None { 0.0 } else { f64::from(u[3]) + f64::from(v[3]) };
                let expected = product + biases + mean;
                assert!((f64::from(logit) - expected).abs() < 1e-6, "{bias:?}: {logit}, expected {expected}");
            }
        }
    }

    #[test]
    fn biases_start_at_zero_and_vectors_do_not() {
        let fixture = mf(MfConfig { dim: 3, ..MfConfig::default() });
        for table in &fixture.params.tables {
            for row in 1..table.rows() {
                let (vector, bias) = table.row(row).split_at(3);
                assert!(vector.iter().all(|x| *x != 0.0) && bias == [0.0]);
            }
        }
    }

    /// A wider row does not change what its vector begins as: with and without biases a seed gives one model.
    #[test]
    fn biases_change_nothing_at_first() {
        let logits = |bias| mf(MfConfig { dim: 3, bias, ..MfConfig::default() }).logits();
        for (with, without) in logits(MfBias::All).iter().zip(logits(MfBias::None)) {
            assert!((with - without).abs() < 1e-7, "{with} and {without}");
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let fixture = mf(MfConfig::default());
        let refused = |config: MfConfig, expected: &str| {
            let error = Mf::build(&config, &fixture.encoder).unwrap_err().to_string();
            assert!(error.contains(expected), "got: {error}");
        };
        refused(MfConfig { user: Some("price".into()), ..MfConfig::default() }, "\"price\" is no id; there are: user");
        refused(MfConfig { dim: 0, ..MfConfig::default() }, "dim");
        let init_of = BTreeMap::from([("tags".to_owned(), EmbeddingInit::Zero)]);
        refused(MfConfig { init_of, ..MfConfig::default() }, "there are: user, item");
    }

    /// Items that follow items: both ids are of one table.
    #[test]
    fn ids_of_one_vocabulary_share_a_table() {
        let config = MfConfig { user: Some("item".into()), ..MfConfig::default() };
        assert_eq!(mf(config).params.tables.len(), 1);
    }
}
