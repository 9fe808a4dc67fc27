//! Deep interest network (Zhou et al., KDD 2018): the history is weighed by what it says about the item at hand.
//!
//! ```text
//! z = MLP([x; t; r])      r = sum_j a_j s_j      a_j = MLP_a([t; s_j; t - s_j; t * s_j])
//! ```
//!
//! `t` holds the vectors of the item's ids whose histories are inputs too, `s_j` those of the j-th past item, and `x` all
//! other inputs. Without a history `r` is zero. Two public readings differ in what they do to scores:
//! `attention.norm = "none"` with Dice (FuxiCTR), and `"softmax_scaled"` with sigmoids (the authors' code).
//!
//! For long histories a search by category or another id of the item (SIM; Pi et al., CIKM 2020) adds a second interest,
//! in the most recent entries that match: see [`SearchConfig`].
//!
//! Departure: the authors' code has a bias per item and normalises twice on the way up; here it is `mlp.batch_norm`.

use super::part::{
    AttentionConfig, Behaviour, Fields, FieldsConfig, Interest, Mlp, MlpConfig, Recipe, SearchConfig, Tables,
    chosen_features, targets_of,
};
use crate::encoder::Encoder;
use crate::view::Lookup;
use crate::{ModelError, ModelSpec, ParamView};
use perennial_nn::{Real, Tape, Var};
use serde::{Deserialize, Serialize};

/// Options of DIN.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DinConfig {
    /// What goes in: among others an id of the item and its history.
    pub fields: FieldsConfig,
    /// How the history is attended to.
    pub attention: AttentionConfig,
    /// Search in long histories, beside; none if absent.
    pub search: Option<SearchConfig>,
    /// The layers on top.
    pub mlp: MlpConfig,
}

/// DIN, built for a set of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Din {
    recipe: Recipe,
    others: Fields,
    targets: Vec<Lookup>,
    interest: Interest,
    search: Option<Interest>,
    mlp: Mlp,
}

impl Din {
    /// Builds the model; an unknown input, no history of an id or an impossible width is an error.
    pub fn build(config: &DinConfig, encoder: &Encoder) -> Result<Din, ModelError> {
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
        let blocks = if search.is_some() { 3 } else { 2 };
        let width = others.width() + blocks * behaviours.len() * tables.dim();
        tables.finish()?;
        let mlp = Mlp::build("mlp", width, &config.mlp, &mut recipe)?;
        Ok(Din { recipe, others, targets, interest, search, mlp })
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
        let interest = self.interest.forward(target, view, tape).interest;
        let all = match &self.search {
            None => tape.concat(&[x, target, interest]),
            Some(search) => {
                let found = search.forward(target, view, tape).interest;
                tape.concat(&[x, target, interest, found])
            }
        };
        self.mlp.forward(all, view, tape)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::backbone::conformance::{Fixture, fixture, small_fields, small_mlp};
    use crate::backbone::{Activation, AttentionNorm};
    use crate::{Backbone, BackboneConfig};
    use perennial_core::Column;
    use std::sync::Arc;

    /// Items and categories with their histories, beside a user and a number; one layer of 3 scores entries.
    pub(in crate::backbone) fn small(norm: AttentionNorm, activation: Activation) -> DinConfig {
        let inputs = ["user", "item", "category", "price", "history.item", "history.category"];
        let attention = AttentionConfig { hidden: vec![3], activation, norm, ..AttentionConfig::default() };
        let fields = FieldsConfig { inputs: Some(inputs.map(String::from).to_vec()), ..small_fields() };
        DinConfig { fields, attention, search: None, mlp: small_mlp() }
    }

    pub(in crate::backbone) fn searching() -> DinConfig {
        let small = small(AttentionNorm::None, Activation::Tanh);
        let attention = AttentionConfig { norm: AttentionNorm::SoftmaxScaled, ..small.attention.clone() };
        DinConfig { search: Some(SearchConfig { by: "category".into(), most_recent: 2, attention }), ..small }
    }

    fn din(config: DinConfig) -> Fixture {
        fixture(&BackboneConfig::Din(config), 24)
    }

    /// Turns every history round, in all features alike.
    pub(in crate::backbone) fn reverse_histories(fixture: &mut Fixture) {
        for feature in [5, 7] {
            let Column::Bag { spans, ids, .. } = &mut fixture.columns[feature] else { panic!("a history") };
            let ids = Arc::make_mut(ids);
            (0..spans.start.len()).for_each(|example| ids[spans.range(example)].reverse());
        }
    }

    #[test]
    fn the_order_of_a_history_is_nothing_to_it() {
        for norm in [AttentionNorm::None, AttentionNorm::SoftmaxScaled] {
            for activation in [Activation::Dice, Activation::Sigmoid] {
                let mut fixture = din(small(norm, activation));
                let before = fixture.logits();
                reverse_histories(&mut fixture);
                for (before, after) in before.into_iter().zip(fixture.logits()) {
                    assert!((before - after).abs() < 1e-6, "{norm:?}: {before} and {after}");
                }
            }
        }
    }

    /// Scores that are all the same: their softmax is 1 / n, and the interest the mean of the history.
    #[test]
    fn with_attention_off_it_pools_the_mean() {
        let mut fixture = din(small(AttentionNorm::SoftmaxScaled, Activation::Sigmoid));
        fixture.fill("attention.1.weight", 0.0);
        let Backbone::Din(din) = &fixture.backbone else { panic!("a DIN") };
        let pooled = din.targets.iter().zip([5, 7]).map(|(target, feature)| match *target {
            Lookup::Rows { table, .. } => Lookup::Rows { table, feature, pool: perennial_table::Pool::Mean },
            Lookup::Number { .. } => panic!("an id"),
        });
        let pooled: Vec<Lookup> = pooled.collect();
        let [interest, mean] = fixture.watch(|view, tape| {
            let target = view.embed(tape, &din.targets);
            [din.interest.forward(target, view, tape).interest, view.embed(tape, &pooled)]
        });
        for (interest, mean) in interest.into_iter().zip(mean) {
            assert!((interest - mean).abs() < 1e-6, "{interest} and {mean}");
        }
    }

    /// Every fourth example of the fixture has no history.
    #[test]
    fn without_a_history_there_is_no_interest() {
        for norm in [AttentionNorm::None, AttentionNorm::SoftmaxScaled] {
            let fixture = din(small(norm, Activation::Dice));
            let Backbone::Din(din) = &fixture.backbone else { panic!("a DIN") };
            let [interest] = fixture.watch(|view, tape| {
                let target = view.embed(tape, &din.targets);
                [din.interest.forward(target, view, tape).interest]
            });
            for (example, interest) in interest.chunks(6).enumerate() {
                assert!(interest.iter().all(|x| x.is_finite()));
                assert_eq!(interest.iter().all(|x| *x == 0.0), example % 4 == 0, "{norm:?}, example {example}");
            }
        }
    }

    /// Attention to the entries of the target's category only, written out: those entries, left alone in the history.
    #[test]
    fn search_attends_to_what_matches() {
        let fixture = din(searching());
        let Backbone::Din(din) = &fixture.backbone else { panic!("a DIN") };
        let [found] = fixture.watch(|view, tape| {
            let target = view.embed(tape, &din.targets);
            [din.search.as_ref().unwrap().forward(target, view, tape).interest]
        });
        let Column::Id(wanted) = &fixture.columns[3] else { panic!("categories") };
        let mut searched = 0;
        for (example, found) in found.chunks(6).enumerate() {
            let matches = crate::backbone::conformance::matches(&fixture, example, wanted[example]);
            assert_eq!(found.iter().all(|x| *x == 0.0), matches.is_empty(), "example {example}");
            if let [only] = matches[..] {
                // A softmax over one entry is 1: the interest is that entry.
                assert_eq!(found, fixture.entry(only), "example {example}");
                searched += 1;
            }
        }
        assert!(searched > 3, "the fixture has histories with one match");
    }

    /// 4 others and targets of 3 and an interest of 6: 18 inputs; scores 24 x 3 + 3 + 3 + 1; a slope for each of 3.
    #[test]
    fn it_has_as_many_parameters_as_published() {
        let fixture = din(small(AttentionNorm::None, Activation::Dice));
        assert_eq!(fixture.dense_parameters(), 3 + (72 + 3 + 3 + 1) + 3 + 95 + 24 + 5);
    }

    #[test]
    fn a_model_without_history_is_refused() {
        let encoder = fixture(&BackboneConfig::default(), 1).encoder;
        let mut config = small(AttentionNorm::None, Activation::Dice);
        config.fields.inputs = Some(vec!["user".into(), "item".into(), "history.tags".into()]);
        assert!(Din::build(&config, &encoder).unwrap_err().to_string().contains("history.item"));
        let mut config = searching();
        config.search.as_mut().unwrap().by = "tags".into();
        let error = Din::build(&config, &encoder).unwrap_err().to_string();
        assert!(error.contains("item, category"), "{error}");
    }
}
