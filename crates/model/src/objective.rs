//! What a logit should have been: a weighted sum of terms.
//!
//! With the label y, the probability p of the model in training and that p~ of an earlier version:
//!
//! | term | per example | from |
//! |---|---|---|
//! | `bce` | `l(y, p)`, cross-entropy | |
//! | `distillation` | `l(p~, p)` | Hinton et al. 2015; IncCTR, arXiv 2009.02147 |
//! | `self_correction` | `y max(p~ - p, 0) + (1 - y) max(p - p~, 0)` | ReLoop, SIGIR 2022 |
//! | `regret` | `max(l(y, p) - l(y, p~), 0)` | beyond the paper: symmetric and free of scale |
//! | `pairwise` | `ln(1 + exp(z_j - z_i))` for a click i and the others j of its request | RankNet; BPR, UAI 2009 |
//! | `pair_regret` | `max((z~_i - z~_j) - (z_i - z_j), 0)` for the same pairs | beyond the paper |
//!
//! ReLoop with its weight a is `{ bce = 1 - a, self_correction = a }`; RankNet joined to a point-wise loss is
//! `{ bce = 1, pairwise = 1 }`.
//!
//! An example without an earlier score pays what the terms that need one would have counted to cross-entropy: its weight
//! stays the same, and it learns from its label alone. (ReLoop leaves that open.) Of pairs such an example is left out.

use crate::distillation::soften;
use perennial_nn::{Hinge, PairLoss, Real, Tape, Var};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::ops::Range;

/// The weights of all terms. Written as `"bce"`, or as a table of the terms that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Objective {
    /// Cross-entropy with the label.
    #[serde(skip_serializing_if = "is_zero")]
    pub bce: f32,
    /// Cross-entropy with the earlier version's probability.
    #[serde(skip_serializing_if = "is_zero")]
    pub distillation: f32,
    /// ReLoop's hinge on the probability.
    #[serde(skip_serializing_if = "is_zero")]
    pub self_correction: f32,
    /// Hinge on cross-entropy.
    #[serde(skip_serializing_if = "is_zero")]
    pub regret: f32,
    /// Logistic loss of pairs within a request.
    #[serde(skip_serializing_if = "is_zero")]
    pub pairwise: f32,
    /// Hinge on the differences within a request.
    #[serde(skip_serializing_if = "is_zero")]
    pub pair_regret: f32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(weight: &f32) -> bool {
    *weight == 0.0
}

/// What the examples of a shard should have been.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// `[n]` labels from 0 to 1.
    pub label: Vec<f32>,
    /// `[n]` weights.
    pub weight: Vec<f32>,
    /// `[n]` logits of the earlier version, NaN where there is none.
    pub previous: Vec<f32>,
    /// Runs of examples of one request, in order, covering all. Made only for terms that need them.
    pub requests: Vec<Range<usize>>,
    mixed: Mixed,
}

/// Labels and weights of the cross-entropies of all point-wise terms in one.
#[derive(Debug, Clone, Default)]
struct Mixed {
    label: Vec<f32>,
    weight: Vec<f32>,
}

impl Default for Objective {
    fn default() -> Self {
        Objective::BCE
    }
}

impl Objective {
    /// No term at all: for all but some of them.
    const NOTHING: Objective =
        Objective { bce: 0.0, distillation: 0.0, self_correction: 0.0, regret: 0.0, pairwise: 0.0, pair_regret: 0.0 };

    /// Binary cross-entropy alone.
    pub const BCE: Objective = Objective { bce: 1.0, ..Objective::NOTHING };

    /// ReLoop's mixture, `(1 - weight) bce + weight self_correction`.
    pub fn reloop(weight: f32) -> Objective {
        Objective { bce: 1.0 - weight, self_correction: weight, ..Objective::NOTHING }
    }

    /// Each term by its name.
    fn terms(&self) -> [(&'static str, f32); 6] {
        let Objective { bce, distillation, self_correction, regret, pairwise, pair_regret } = *self;
        [
            ("bce", bce),
            ("distillation", distillation),
            ("self_correction", self_correction),
            ("regret", regret),
            ("pairwise", pairwise),
            ("pair_regret", pair_regret),
        ]
    }

    /// What it is, for lineage and messages: `bce`, or `0.8 bce + 0.2 self_correction`.
    pub fn name(&self) -> String {
        if *self == Objective::BCE {
            return "bce".into();
        }
        let terms = self.terms().into_iter().filter(|(_, weight)| *weight != 0.0);
        terms.map(|(name, weight)| format!("{weight} {name}")).collect::<Vec<_>>().join(" + ")
    }

    /// Refuses weights that mean nothing.
    pub fn check(&self) -> Result<(), String> {
        match self.terms().iter().find(|(_, weight)| !(weight.is_finite() && *weight >= 0.0)) {
            Some((name, weight)) => Err(format!("the weight of \"{name}\" is {weight}; it must be 0 or more")),
            None if self.terms().iter().all(|(_, weight)| *weight == 0.0) => {
                Err("all terms have weight 0; give one, as in { bce = 1 }".into())
            }
            None => Ok(()),
        }
    }

    /// Whether a term compares with an earlier score.
    pub fn needs_previous(&self) -> bool {
        self.distillation + self.self_correction + self.regret + self.pair_regret > 0.0
    }

    /// Whether a term looks at pairs within a request, whose examples must then lie in one shard.
    pub fn needs_requests(&self) -> bool {
        self.pairwise + self.pair_regret > 0.0
    }

    /// The part of the batch's mean loss that a shard contributes, a scalar. `normaliser` is the weight of the whole
    /// batch, so that the losses and gradients of its shards add up.
    pub fn loss<T: Real>(&self, tape: &mut Tape<T>, logits: Var, targets: &Targets, normaliser: f64) -> Var {
        let Targets { label, weight, previous, requests, .. } = targets;
        if *self == Objective::BCE {
            return tape.bce_with_logits(logits, label, weight, normaliser);
        }
        let mut sum = None;
        let mut add = |tape: &mut Tape<T>, term: Var| sum = Some(sum.map_or(term, |sum| tape.row_sum(&[sum, term])));
        if self.bce + self.distillation + self.self_correction + self.regret > 0.0 {
            let Mixed { label, weight } = &targets.mixed;
            let term = tape.bce_with_logits(logits, label, weight, normaliser);
            add(tape, term);
        }
        for (share, hinge) in [(self.self_correction, Hinge::Probability), (self.regret, Hinge::LogLoss)] {
            if share > 0.0 {
                let scale = normaliser / f64::from(share);
                let term = tape.regression_hinge(hinge, logits, previous, label, weight, scale);
                add(tape, term);
            }
        }
        for (share, pairs) in [(self.pairwise, PairLoss::Logistic), (self.pair_regret, PairLoss::Regression)] {
            if share > 0.0 {
                let scale = normaliser / f64::from(share);
                let term = tape.pair_loss(pairs, logits, previous, label, weight, requests, scale);
                add(tape, term);
            }
        }
        sum.expect("checked: some term has a weight")
    }
}

impl Targets {
    /// Forgets the examples and keeps the memory.
    pub fn clear(&mut self) {
        self.label.clear();
        self.weight.clear();
        self.previous.clear();
        self.requests.clear();
    }

    /// To be called once labels, weights and earlier scores are there: prepares them for [`Objective::loss`].
    pub fn prepare(&mut self, objective: &Objective) {
        if *objective == Objective::BCE {
            return;
        }
        let Objective { bce, distillation, self_correction, regret, .. } = *objective;
        let known = bce + distillation;
        let (all, teacher) = (known + self_correction + regret, if known > 0.0 { distillation / known } else { 0.0 });
        self.previous.resize(self.label.len(), f32::NAN);
        let Mixed { label, weight } = &mut self.mixed;
        label.clear();
        label.extend_from_slice(&self.label);
        soften(label, &self.previous, teacher);
        weight.clear();
        let share = |previous: &f32| if previous.is_nan() { all } else { known };
        weight.extend(self.weight.iter().zip(&self.previous).map(|(weight, previous)| weight * share(previous)));
    }
}

impl<'de> Deserialize<'de> for Objective {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTerms)
    }
}

/// [`Objective`] as a table.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Terms {
    bce: f32,
    distillation: f32,
    self_correction: f32,
    regret: f32,
    pairwise: f32,
    pair_regret: f32,
}

struct NameOrTerms;

impl<'de> Visitor<'de> for NameOrTerms {
    type Value = Objective;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an objective: \"bce\" or weights of terms, as in { bce = 0.8, self_correction = 0.2 }")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Objective, E> {
        match name {
            "bce" => Ok(Objective::BCE),
            other => Err(E::custom(format!(
                "\"{other}\" is no objective; write \"bce\" or weights of terms, as in {{ bce = 0.8, self_correction = 0.2 }}"
            ))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Objective, A::Error> {
        let Terms { bce, distillation, self_correction, regret, pairwise, pair_regret } =
            Terms::deserialize(MapAccessDeserializer::new(map))?;
        let objective = Objective { bce, distillation, self_correction, regret, pairwise, pair_regret };
        objective.check().map_err(A::Error::custom)?;
        Ok(objective)
    }
}

#[cfg(test)]
mod tests;
