//! Optimisers by group of parameters: the wide part may learn otherwise than the deep one, and tables alone may decay.

use crate::{DenseSpec, ModelSpec, TableSpec};
use perennial_nn::optim::{Optimiser, OptimiserError, Override, Step};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What parameters are for. Every parameter is in one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Vectors: of ids, and those that numbers scale.
    Embeddings,
    /// The linear part: weights of ids and numbers, and their bias.
    Linear,
    /// All else: kernels, biases, norms.
    Deep,
}

/// One optimiser for all, and what a group does otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimisers {
    by_group: [Optimiser; 3],
}

/// One step of every group.
#[derive(Debug, Clone, Copy)]
pub struct Steps([Step; 3]);

impl Group {
    /// All of them.
    pub const ALL: [Group; 3] = [Group::Embeddings, Group::Linear, Group::Deep];

    /// The group of a table.
    pub fn of_table(spec: &TableSpec) -> Group {
        if is_linear(&spec.name) { Group::Linear } else { Group::Embeddings }
    }

    /// The group of a dense tensor.
    pub fn of_dense(spec: &DenseSpec) -> Group {
        match spec.name.as_str() {
            name if is_linear(name) => Group::Linear,
            name if name.ends_with(".numbers") => Group::Embeddings,
            _ => Group::Deep,
        }
    }

    /// Those that a model has parameters of, in order.
    pub fn of_model(spec: &ModelSpec) -> Vec<Group> {
        let tables = spec.tables.iter().map(Group::of_table);
        let all: Vec<Group> = tables.chain(spec.dense.iter().map(Group::of_dense)).collect();
        Group::ALL.into_iter().filter(|group| all.contains(group)).collect()
    }

    /// As it is written in an experiment.
    pub fn name(self) -> &'static str {
        match self {
            Group::Embeddings => "embeddings",
            Group::Linear => "linear",
            Group::Deep => "deep",
        }
    }
}

/// Names are part of the format of versions; those of linear parts begin alike.
fn is_linear(name: &str) -> bool {
    name.starts_with("linear.")
}

impl Optimisers {
    /// `shared` for all groups, but for what `groups` say. Fails where that is no optimiser.
    pub fn new(shared: Optimiser, groups: &BTreeMap<Group, Override>) -> Result<Optimisers, (Group, OptimiserError)> {
        let mut by_group = [shared; 3];
        for (&group, changes) in groups {
            by_group[group as usize] = changes.on(&shared).map_err(|error| (group, error))?;
        }
        Ok(Optimisers { by_group })
    }

    /// The optimiser of a group.
    pub fn of(&self, group: Group) -> &Optimiser {
        &self.by_group[group as usize]
    }

    /// Step `number` (from 1) of all groups.
    pub fn steps(&self, number: u64) -> Steps {
        Steps(self.by_group.map(|optimiser| optimiser.step(number, optimiser.learning_rate)))
    }
}

impl From<Optimiser> for Optimisers {
    fn from(shared: Optimiser) -> Optimisers {
        Optimisers { by_group: [shared; 3] }
    }
}

impl Steps {
    /// The step of a group.
    pub fn of(&self, group: Group) -> &Step {
        &self.0[group as usize]
    }
}
