//! The interest of a history in the item at hand.

use super::{Activation, LayerInit, Mlp, MlpConfig, Recipe, Tables};
use crate::encoder::{Encoder, Input};
use crate::sequence::{Matching, Sequence};
use crate::view::Lookup;
use crate::{ModelError, ParamView};
use perennial_core::FeatureKind;
use perennial_nn::{Groups, Real, Tape, Var};
use perennial_table::Pool;
use serde::{Deserialize, Serialize};

/// How a history is attended to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttentionConfig {
    /// Widths of the layers that score an entry. 64 in FuxiCTR, 80 and 40 in the authors' code.
    pub hidden: Vec<usize>,
    /// What follows each of them. Dice in FuxiCTR, a sigmoid in the authors' code.
    pub activation: Activation,
    /// What becomes of scores. The paper argues against a softmax: it would hide how strong an interest is.
    pub norm: AttentionNorm,
    /// Most recent entries that are attended to; all if absent.
    pub most_recent: Option<usize>,
    /// Initial values of layers.
    pub init: LayerInit,
}

/// What becomes of scores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionNorm {
    /// They are weights.
    #[default]
    None,
    /// Weights are the softmax of scores over the root of an entry's width.
    SoftmaxScaled,
}

/// Hard search in a long history (SIM; Pi et al., CIKM 2020): what it finds is attended to by a unit of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchConfig {
    /// Name of the item's feature by which is searched, such as its category: entries that have the same are found.
    pub by: String,
    /// Most recent entries found that are attended to.
    #[serde(default = "most_found")]
    pub most_recent: usize,
    /// How they are attended to, but for `most_recent`, which is ignored.
    #[serde(default)]
    pub attention: AttentionConfig,
}

/// Attention to more costs more than it finds, by the paper's own choice of a few hundred at most.
fn most_found() -> usize {
    100
}

impl Default for AttentionConfig {
    fn default() -> Self {
        AttentionConfig {
            hidden: vec![64],
            activation: Activation::Dice,
            norm: AttentionNorm::None,
            most_recent: None,
            init: LayerInit::XavierNormal,
        }
    }
}

/// A feature of the item at hand and the history of the same feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backbone) struct Behaviour {
    pub(in crate::backbone) target: usize,
    pub(in crate::backbone) history: usize,
}

impl Behaviour {
    /// All among the chosen features whose entries line up: histories of single ids. Histories of bags are pooled like
    /// any other feature. None at all is an error.
    pub(in crate::backbone) fn among(chosen: &[usize], encoder: &Encoder) -> Result<Vec<Behaviour>, ModelError> {
        let features = &encoder.features().features;
        let pair = |&history: &usize| {
            let target = features[history].history_of? as usize;
            let single = matches!(features[target].kind, FeatureKind::Id(_));
            (single && chosen.contains(&target)).then_some(Behaviour { target, history })
        };
        let found: Vec<Behaviour> = chosen.iter().filter_map(pair).collect();
        if found.is_empty() {
            return Err(ModelError::Config {
                key: "fields.inputs".into(),
                problem:
                    "an item's id and its history are needed, such as \"item\" and \"history.item\": does the log \
                          know users and items, and is data.history positive?"
                        .into(),
            });
        }
        Ok(found)
    }
}

impl Behaviour {
    /// The chosen features that no behaviour has.
    pub(in crate::backbone) fn others(behaviours: &[Behaviour], chosen: &[usize]) -> Vec<usize> {
        let taken = |feature: usize| behaviours.iter().any(|one| [one.target, one.history].contains(&feature));
        chosen.iter().copied().filter(|&feature| !taken(feature)).collect()
    }
}

/// What attention makes of a history, and the history itself.
#[derive(Debug, Clone, Copy)]
pub(in crate::backbone) struct Attended {
    /// The interest, `[batch, width]`.
    pub(in crate::backbone) interest: Var,
    /// Entries, `[entries, width]`.
    pub(in crate::backbone) rows: Var,
    /// Whose entries they are.
    pub(in crate::backbone) groups: Groups,
}

/// Target attention (DIN; Zhou et al., KDD 2018): `r = sum_j a_j s_j` with `a_j = MLP([t; s_j; t - s_j; t * s_j])`.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::backbone) struct Interest {
    sequence: Sequence,
    scores: Mlp,
    softmax: Option<f64>,
}

impl Interest {
    /// Declares the layers `<prefix>.<layer>.weight` and so on, on the vectors of `behaviours`.
    pub(in crate::backbone) fn build(
        prefix: &str,
        behaviours: &[Behaviour],
        config: &AttentionConfig,
        tables: &mut Tables<'_>,
        recipe: &mut Recipe,
    ) -> Result<Interest, ModelError> {
        let width = behaviours.len() * tables.dim();
        let sequence = sequence_of(behaviours, config.most_recent, tables, recipe);
        let mlp = MlpConfig {
            hidden: config.hidden.clone(),
            activation: config.activation,
            init: config.init,
            batch_norm: false,
            dropout: 0.0,
        };
        let scores = Mlp::build(prefix, 4 * width, &mlp, recipe)?.unwatched();
        let softmax = match config.norm {
            AttentionNorm::None => None,
            AttentionNorm::SoftmaxScaled => Some(1.0 / (width as f64).sqrt()),
        };
        Ok(Interest { sequence, scores, softmax })
    }

    /// The same on what a hard search finds.
    pub(in crate::backbone) fn search(
        behaviours: &[Behaviour],
        config: &SearchConfig,
        tables: &mut Tables<'_>,
        recipe: &mut Recipe,
    ) -> Result<Interest, ModelError> {
        let features = tables.encoder().features();
        let searched: Vec<usize> = (0..features.features.len()).collect();
        let all = Behaviour::among(&searched, tables.encoder())?;
        let by = all.iter().find(|by| features.features[by.target].name == config.by).ok_or_else(|| {
            let names = all.iter().map(|by| features.features[by.target].name.as_str());
            ModelError::Config {
                key: "search.by".into(),
                problem: format!(
                    "\"{}\" has no history of single ids; those that have: {}",
                    config.by,
                    names.collect::<Vec<_>>().join(", ")
                ),
            }
        })?;
        let mut interest = Interest::build("search", behaviours, &config.attention, tables, recipe)?;
        interest.sequence.most_recent = Some(config.most_recent);
        interest.sequence.matching = Some(Matching { entry: by.history, example: by.target });
        Ok(interest)
    }

    /// The interest in `target`, `[batch, width]`; zeros where there is no entry.
    pub(in crate::backbone) fn forward<T: Real>(
        &self,
        target: Var,
        view: &mut impl ParamView<T>,
        tape: &mut Tape<T>,
    ) -> Attended {
        let (rows, groups) = view.sequence(tape, &self.sequence);
        let compared = tape.attention_input(target, rows, groups);
        let scores = self.scores.forward(compared, view, tape);
        Attended { interest: tape.attend(scores, rows, groups, self.softmax), rows, groups }
    }
}

/// The sequence of these behaviours in the tables of their vocabularies.
pub(in crate::backbone) fn sequence_of(
    behaviours: &[Behaviour],
    most_recent: Option<usize>,
    tables: &mut Tables<'_>,
    recipe: &mut Recipe,
) -> Sequence {
    let inputs = tables.encoder().inputs();
    let part = |behaviour: &Behaviour| {
        let Input::Bag(vocab) = inputs[behaviour.history] else { unreachable!("a history is a bag") };
        let table = tables.of(vocab, recipe);
        recipe.look_up(Lookup::Rows { table, feature: behaviour.history, pool: Pool::Sum });
        (table, behaviour.history)
    };
    Sequence { parts: behaviours.iter().map(part).collect(), matching: None, most_recent }
}

/// Lookups of the item at hand.
pub(in crate::backbone) fn targets_of(
    behaviours: &[Behaviour],
    tables: &mut Tables<'_>,
    recipe: &mut Recipe,
) -> Vec<Lookup> {
    let inputs = tables.encoder().inputs();
    let lookup = |behaviour: &Behaviour| {
        let Input::Row(vocab) = inputs[behaviour.target] else { unreachable!("a single id is a row") };
        let lookup = Lookup::Rows { table: tables.of(vocab, recipe), feature: behaviour.target, pool: Pool::Sum };
        recipe.look_up(lookup);
        lookup
    };
    behaviours.iter().map(lookup).collect()
}
