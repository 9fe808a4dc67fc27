//! Models as bundles of objects, and back.
//!
//! Objects of a version: `schema.toml`, `experiment.toml`, `model.json` (names, sizes and the step count),
//! `dense.safetensors`, `optimiser/<slot>.safetensors`, `statistics.safetensors`, `table/<n>/<plane>/<chunk>`,
//! `encoder.json`, `vocabulary/<n>`, `histories`. What a strategy remembers and what it generated lie under `memory/`
//! and `generated/`, models that answer together under `mixed/`, a gate with its base model under `gate/` ([`pieces`]). A version is closed under serving: nothing
//! else is needed to score rows.

mod parameters;
mod pieces;

use crate::experiment::{Experiment, Method};
use anyhow::{Context, Result, bail};
use perennial_core::{Digest, DigestBuilder, Examples, Schema};
use perennial_learn::{
    Gate, Learned, Memory, Thinning, generated_pieces, mixed_pieces, restore_generated, restore_mixed,
};
use perennial_model::{Backbone, Encoder, Group, ModelSpec, Optimisers, Params, Servable, Serving, StatisticSpec};
use perennial_nn::Workers;
use perennial_store::{Bundle, Lineage, Loaded, Store, VersionId};
use perennial_stream::HistoryState;
use perennial_table::{Header, Table};
use serde::{Deserialize, Serialize};

/// What `model.json` holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelHeader {
    format: u32,
    step: u64,
    slots: usize,
    tables: Vec<Header>,
}

const FORMAT: u32 = 1;

/// Everything that is needed to score rows with a version.
#[derive(Debug)]
pub struct Scorer {
    /// The schema of the rows.
    pub schema: Schema,
    /// The experiment that made the version.
    pub experiment: Experiment,
    /// What answers requests, without what only updates need.
    pub learned: Learned,
    /// Histories as they stood when the version's last period closed.
    pub histories: HistoryState,
    /// Content digest of the version.
    pub content: Digest,
}

/// The bundle of a model. Its content digest covers the model, the histories and the schema.
pub(crate) fn bundle(
    learned: &Learned,
    experiment: &Experiment,
    schema: &Schema,
    histories: &[u8],
    lineage: Lineage,
) -> Result<Bundle> {
    let Servable { encoder, params, .. } = &learned.servable;
    let slots = parameters::slots(params);
    let tables = params.tables.iter().map(Table::header).collect();
    let header = ModelHeader { format: FORMAT, step: learned.step, slots, tables };
    let mut objects = vec![
        ("schema.toml".to_owned(), schema.to_toml().into_bytes()),
        ("experiment.toml".to_owned(), experiment.to_toml().into_bytes()),
        ("model.json".to_owned(), serde_json::to_vec_pretty(&header)?),
        ("encoder.json".to_owned(), encoder.header()),
        ("histories".to_owned(), histories.to_vec()),
    ];
    parameters::write("", params, &mut objects)?;
    for (nth, vocabulary) in encoder.vocabularies().iter().enumerate() {
        objects.push((format!("vocabulary/{nth}"), vocabulary.to_bytes()));
    }
    pieces::write("memory", &learned.memory.pieces(), &mut objects)?;
    if let Some(generated) = &learned.generated {
        pieces::write("generated", &generated_pieces(generated), &mut objects)?;
    }
    if let Some(mixed) = &learned.mixed {
        pieces::write("mixed", &mixed_pieces(mixed), &mut objects)?;
    }
    if let Some(gate) = &learned.gate {
        pieces::write("gate", &gate.pieces(), &mut objects)?;
    }
    let content =
        DigestBuilder::new("version").digest(&learned.digest()).bytes(histories).str(&schema.to_toml()).finish();
    Ok(Bundle { objects, lineage, content })
}

/// Reads a version to go on learning from it.
pub fn load_learned(store: &Store, id: &VersionId) -> Result<Learned> {
    let mut loaded = store.load(id)?;
    let experiment = experiment_of(&loaded)?;
    learned_of(&mut loaded, &experiment).with_context(|| format!("version {id}"))
}

/// Reads a version to score with it.
pub fn scorer_of(store: &Store, id: &VersionId) -> Result<Scorer> {
    let mut loaded = store.load(id)?;
    let experiment = experiment_of(&loaded)?;
    let forgetful = without_memory(&mut loaded, &experiment).with_context(|| format!("version {id}"))?;
    let schema = Schema::parse(&text_of(&loaded, "schema.toml")?)?;
    let histories = HistoryState::from_bytes(loaded.object("histories")?)?;
    let learned = forgetful.served_only();
    Ok(Scorer { schema, experiment, learned, histories, content: loaded.manifest.content })
}

impl Scorer {
    /// What answers requests.
    pub fn serving(&self) -> Serving<'_> {
        self.learned.serving()
    }

    /// Logits of examples, on the scale of the log.
    pub fn score(&self, examples: &Examples, workers: &Workers) -> Result<Vec<f32>> {
        let mut logits = self.serving().score(&examples.keys, &examples.columns, examples.len(), workers)?;
        Thinning::of(&self.experiment.training).correct(&mut logits);
        Ok(logits)
    }
}

fn experiment_of(loaded: &Loaded) -> Result<Experiment> {
    Experiment::parse(&text_of(loaded, "experiment.toml")?)
}

fn text_of(loaded: &Loaded, name: &str) -> Result<String> {
    let bytes = loaded.object(name)?.to_vec();
    String::from_utf8(bytes).with_context(|| format!("{name} of version {} is not text", loaded.manifest.id))
}

fn learned_of(loaded: &mut Loaded, experiment: &Experiment) -> Result<Learned> {
    let learned = without_memory(loaded, experiment)?;
    let spec = learned.servable.backbone.spec();
    let memory = match method_of(loaded, experiment) {
        Some(method) => method.strategy.restore(pieces::read("memory", loaded)?, spec)?,
        None => Memory::Nothing,
    };
    Ok(Learned { memory, ..learned })
}

/// All of a model but what its strategy remembers.
fn without_memory(loaded: &mut Loaded, experiment: &Experiment) -> Result<Learned> {
    let (servable, step) = base_of(loaded, experiment)?;
    let spec = servable.backbone.spec();
    let generated = restore_generated(pieces::read("generated", loaded)?, spec)?;
    let mixed = restore_mixed(pieces::read("mixed", loaded)?, spec)?;
    let gate = gate_of(loaded, experiment, &servable)?;
    Ok(Learned { servable, step, generated, mixed, memory: Memory::Nothing, gate })
}

/// The method that made a version; `None` for the pre-trained ones.
fn method_of<'a>(loaded: &Loaded, experiment: &'a Experiment) -> Option<&'a Method> {
    experiment.method.iter().find(|method| method.name == loaded.manifest.lineage.strategy)
}

fn gate_of(loaded: &mut Loaded, experiment: &Experiment, servable: &Servable) -> Result<Option<Box<Gate>>> {
    match method_of(loaded, experiment).and_then(|method| method.gate.as_ref()) {
        None => Ok(None),
        Some(gate) => Ok(gate.restore(pieces::read("gate", loaded)?, &servable.backbone, &experiment.training)?),
    }
}

/// The base model and its step count.
fn base_of(loaded: &mut Loaded, experiment: &Experiment) -> Result<(Servable, u64)> {
    let header: ModelHeader = serde_json::from_slice(loaded.object("model.json")?).context("model.json")?;
    if header.format != FORMAT {
        bail!("model.json has format {}; this release reads {FORMAT}", header.format);
    }
    let encoder = encoder_of(loaded)?;
    let backbone = Backbone::build(&experiment.model, &encoder)?;
    let mut params = parameters::read("", header.slots, header.tables, loaded)?;
    // Files hold tensors by name; in memory they are in the order of the spec.
    params.dense.sort_by_key(|dense| backbone.spec().dense.iter().position(|spec| spec.name == dense.name));
    let statistics = &backbone.spec().statistics;
    params.statistics.sort_by_key(|one| statistics.iter().position(|spec| spec.name == one.name));
    let optimisers = experiment.training.optimisers()?;
    params.train_with(backbone.spec(), &optimisers, experiment.training.rows)?;
    check_shapes(&backbone, &encoder, &params)?;
    check_slots(backbone.spec(), &optimisers, &params)?;
    params.share();
    Ok((Servable { encoder, backbone, params }, header.step))
}

/// Refuses tensors that lack what their optimiser remembers, or have more. Slots of tables are checked as they are read.
fn check_slots(spec: &ModelSpec, optimisers: &Optimisers, params: &Params) -> Result<()> {
    for (spec, dense) in spec.dense.iter().zip(&params.dense) {
        let expected = optimisers.of(Group::of_dense(spec)).rule.slots().len();
        if dense.slots.len() != expected {
            bail!("tensor {} has {} optimiser slots, expected {expected}", dense.name, dense.slots.len());
        }
    }
    Ok(())
}

fn encoder_of(loaded: &Loaded) -> Result<Encoder> {
    let mut vocabularies = Vec::new();
    while let Ok(bytes) = loaded.object(&format!("vocabulary/{}", vocabularies.len())) {
        vocabularies.push(bytes.to_vec());
    }
    Ok(Encoder::from_parts(loaded.object("encoder.json")?, &vocabularies)?)
}

/// Refuses parameters of another model.
fn check_shapes(backbone: &Backbone, encoder: &Encoder, params: &Params) -> Result<()> {
    let spec = backbone.spec();
    if spec.dense.len() != params.dense.len() || spec.tables.len() != params.tables.len() {
        bail!(
            "the model has {} tensors and {} tables, the version {} and {}",
            spec.dense.len(),
            spec.tables.len(),
            params.dense.len(),
            params.tables.len()
        );
    }
    for (spec, dense) in spec.dense.iter().zip(&params.dense) {
        let whole = dense.slots.iter().chain([&dense.values]).all(|part| part.len() == spec.rows * spec.cols);
        if (&spec.name, spec.rows, spec.cols) != (&dense.name, dense.rows, dense.cols) || !whole {
            bail!(
                "tensor {} [{}, {}] does not fit {} [{}, {}]",
                dense.name,
                dense.rows,
                dense.cols,
                spec.name,
                spec.rows,
                spec.cols
            );
        }
    }
    let statistics = |spec: &StatisticSpec| (spec.name.clone(), spec.cols);
    let stored = params.statistics.iter().map(|one| (one.name.clone(), one.values.len()));
    if !spec.statistics.iter().map(statistics).eq(stored) {
        bail!("the running statistics of the version are not those of the model");
    }
    for (spec, table) in spec.tables.iter().zip(&params.tables) {
        let rows = encoder.vocabularies()[spec.vocab.0 as usize].rows();
        if (spec.dim, rows) != (table.dim(), table.rows() as usize) {
            bail!("table {} is [{}, {}], expected [{rows}, {}]", spec.name, table.rows(), table.dim(), spec.dim);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::FeatureSet;
    use perennial_learn::TrainingConfig;
    use perennial_model::{BackboneConfig, EncoderConfig};

    #[test]
    fn a_tensor_without_its_slots_is_refused() {
        let schema = Schema::parse(
            r#"
            name = "x"
            field = [
              { name = "item", kind = "id" },
              { name = "when", kind = "timestamp", unit = "s" },
              { name = "click", kind = "label" },
            ]"#,
        );
        let encoder = Encoder::new(FeatureSet::of(&schema.unwrap(), false), EncoderConfig::default());
        let training = TrainingConfig::default();
        let mut learned = Learned::new(&BackboneConfig::default(), encoder, &training, 1).unwrap();
        let Servable { backbone, params, .. } = &mut learned.servable;
        let optimisers = training.optimisers().unwrap();
        check_slots(backbone.spec(), &optimisers, params).unwrap();
        params.dense[0].slots.pop();
        let error = check_slots(backbone.spec(), &optimisers, params).unwrap_err().to_string();
        assert!(error.contains(&params.dense[0].name) && error.contains("1 optimiser slots, expected 2"), "{error}");
    }
}
