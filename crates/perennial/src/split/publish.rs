//! The model that a training kept, as a version that can score rows: `<method>/<seed>/<epoch>`.

use super::data::Data;
use super::{SplitExperiment, SplitMethod};
use crate::experiment::{Experiment, Keep, Method, Protocol};
use crate::run::{version_bundle, version_id};
use anyhow::Result;
use perennial_learn::{Fitted, StrategyConfig};
use perennial_model::EncoderConfig;
use perennial_model::encoder::Unseen;
use perennial_store::{Lineage, Store};
use perennial_stream::{PrepareConfig, Slicing};
use std::collections::BTreeMap;

/// Publishes it; one that is there with the same content is left as it is.
pub(super) fn publish(
    store: &Store,
    experiment: &SplitExperiment,
    method: &SplitMethod,
    seed: u64,
    data: &Data,
    fitted: &Fitted,
) -> Result<()> {
    let epoch = if experiment.schedule.restore_best { fitted.best } else { fitted.epochs.len() as u32 };
    let alone = as_continual(experiment, method, seed);
    let lineage = lineage(experiment, method, seed, data, epoch);
    let bundle = version_bundle(&fitted.learned, &alone, &data.schema, &data.histories, lineage)?;
    store.publish(&version_id(&method.name, seed, epoch)?, &bundle)?;
    Ok(())
}

/// The one method as an experiment of `run` would have it, whose pre-training is the split: what reads versions reads this.
pub(super) fn as_continual(experiment: &SplitExperiment, method: &SplitMethod, seed: u64) -> Experiment {
    let label = experiment.label.clone();
    Experiment {
        name: experiment.name.clone(),
        log: "train".into(),
        seeds: vec![seed],
        data: PrepareConfig { history: 0, label, ..PrepareConfig::new(Slicing::Count(1)) },
        protocol: Protocol { pretrain: 1, average_last: None, periods: None, baseline: None },
        encoder: encoder(experiment),
        model: method.model.clone(),
        served_scores: None,
        training: method.training(&experiment.training),
        method: vec![Method {
            name: method.name.clone(),
            strategy: StrategyConfig::Frozen,
            objective: None,
            previous: None,
            gate: None,
        }],
        keep: Keep::default(),
    }
}

/// Ids that are not in what a model will learn from share the unknown row, as in the public benchmarks.
pub(super) fn encoder(experiment: &SplitExperiment) -> EncoderConfig {
    EncoderConfig { unseen: Unseen::Unknown, numeric: experiment.numeric }
}

fn lineage(experiment: &SplitExperiment, method: &SplitMethod, seed: u64, data: &Data, epoch: u32) -> Lineage {
    let mut extra = BTreeMap::new();
    extra.insert("epoch".to_owned(), epoch.to_string());
    extra.insert("data".to_owned(), data.digest.to_string());
    if let Some(earlier) = method.earlier(&experiment.training) {
        extra.insert("earlier scores".to_owned(), earlier.describe());
    }
    Lineage {
        parent: None,
        data: None,
        strategy: "train".to_owned(),
        objective: method.objective(&experiment.training).name(),
        seed,
        kernel_set: perennial_nn::kernel_set().to_owned(),
        created_by: format!("perennial {}", env!("CARGO_PKG_VERSION")),
        extra,
    }
}
