//! Models as bundles of objects, and back.
//!
//! Objects of a version: `schema.toml`, `experiment.toml`, `model.json` (names, sizes and the step count),
//! `dense.safetensors`, `optimiser/<slot>.safetensors`, `table/<n>/<plane>/<chunk>`, `encoder.json`,
//! `vocabulary/<n>`, `histories`. A version is closed under serving: nothing else is needed to score rows.

use crate::experiment::Experiment;
use anyhow::{Context, Result, bail};
use perennial_core::{Digest, DigestBuilder, Schema};
use perennial_learn::Learned;
use perennial_model::{Backbone, Dense, Encoder, Params, Servable};
use perennial_store::{Bundle, Lineage, Loaded, Store, VersionId, dense_from_safetensors, dense_to_safetensors};
use perennial_stream::HistoryState;
use perennial_table::{Chunk, Header, PlaneName, Table};
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
    /// The model.
    pub servable: Servable,
    /// Histories as they stood when the version's last period closed.
    pub histories: HistoryState,
    /// Content digest of the version.
    pub content: Digest,
}

/// The bundle of a model. Its content digest covers the model, the histories and the schema.
pub(super) fn bundle(
    learned: &Learned,
    experiment: &Experiment,
    schema: &Schema,
    histories: &[u8],
    lineage: Lineage,
) -> Result<Bundle> {
    let Servable { encoder, params, .. } = &learned.servable;
    let slots = params.dense.first().map_or(0, |dense| dense.slots.len());
    let tables = params.tables.iter().map(Table::header).collect();
    let header = ModelHeader { format: FORMAT, step: learned.step, slots, tables };
    let mut objects = vec![
        ("schema.toml".to_owned(), schema.to_toml().into_bytes()),
        ("experiment.toml".to_owned(), experiment.to_toml().into_bytes()),
        ("model.json".to_owned(), serde_json::to_vec_pretty(&header)?),
        ("dense.safetensors".to_owned(), dense_bytes(&params.dense, |dense| &dense.values)?),
        ("encoder.json".to_owned(), encoder.header()),
        ("histories".to_owned(), histories.to_vec()),
    ];
    for slot in 0..slots {
        objects
            .push((format!("optimiser/{slot}.safetensors"), dense_bytes(&params.dense, |dense| &dense.slots[slot])?));
    }
    for (nth, vocabulary) in encoder.vocabularies().iter().enumerate() {
        objects.push((format!("vocabulary/{nth}"), vocabulary.to_bytes()));
    }
    for (nth, table) in params.tables.iter().enumerate() {
        objects.extend(table.chunks().map(|chunk| (chunk_name(nth, &chunk), chunk.bytes)));
    }
    let content =
        DigestBuilder::new("version").digest(&learned.digest()).bytes(histories).str(&schema.to_toml()).finish();
    Ok(Bundle { objects, lineage, content })
}

fn dense_bytes(tensors: &[Dense], part: impl Fn(&Dense) -> &Vec<f32>) -> Result<Vec<u8>> {
    let shapes: Vec<[usize; 2]> = tensors.iter().map(|dense| [dense.rows, dense.cols]).collect();
    let named = tensors.iter().zip(&shapes);
    let named: Vec<_> = named.map(|(dense, shape)| (dense.name.as_str(), &shape[..], part(dense).as_slice())).collect();
    Ok(dense_to_safetensors(&named)?)
}

fn chunk_name(table: usize, chunk: &Chunk) -> String {
    format!("table/{table}/{}/{:06}", plane_name(chunk.plane), chunk.index)
}

fn plane_name(plane: PlaneName) -> String {
    let text = match plane {
        PlaneName::Values => serde_json::to_string("values"),
        PlaneName::Slot(slot) => serde_json::to_string(&slot),
    };
    text.expect("a unit variant is a text").trim_matches('"').to_owned()
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
    let servable = learned_of(&mut loaded, &experiment).with_context(|| format!("version {id}"))?.servable;
    let schema = Schema::parse(&text_of(&loaded, "schema.toml")?)?;
    let histories = HistoryState::from_bytes(loaded.object("histories")?)?;
    Ok(Scorer { schema, experiment, servable, histories, content: loaded.manifest.content })
}

fn experiment_of(loaded: &Loaded) -> Result<Experiment> {
    Experiment::parse(&text_of(loaded, "experiment.toml")?)
}

fn text_of(loaded: &Loaded, name: &str) -> Result<String> {
    let bytes = loaded.object(name)?.to_vec();
    String::from_utf8(bytes).with_context(|| format!("{name} of version {} is not text", loaded.manifest.id))
}

fn learned_of(loaded: &mut Loaded, experiment: &Experiment) -> Result<Learned> {
    let header: ModelHeader = serde_json::from_slice(loaded.object("model.json")?).context("model.json")?;
    if header.format != FORMAT {
        bail!("model.json has format {}; this release reads {FORMAT}", header.format);
    }
    let encoder = encoder_of(loaded)?;
    let backbone = Backbone::build(&experiment.model, &encoder)?;
    let mut dense = dense_of(loaded, header.slots)?;
    // Files hold tensors by name; in memory they are in the order of the spec.
    dense.sort_by_key(|dense| backbone.spec().dense.iter().position(|spec| spec.name == dense.name));
    let mut tables = Vec::new();
    for (nth, table) in header.tables.into_iter().enumerate() {
        let mut table = table_of(loaded, nth, table)?;
        table.train_with(&experiment.training.optimiser, experiment.training.rows)?;
        tables.push(table);
    }
    let mut params = Params { dense, tables };
    check_shapes(&backbone, &encoder, &params)?;
    params.share();
    Ok(Learned { servable: Servable { encoder, backbone, params }, step: header.step })
}

fn encoder_of(loaded: &Loaded) -> Result<Encoder> {
    let mut vocabularies = Vec::new();
    while let Ok(bytes) = loaded.object(&format!("vocabulary/{}", vocabularies.len())) {
        vocabularies.push(bytes.to_vec());
    }
    Ok(Encoder::from_parts(loaded.object("encoder.json")?, &vocabularies)?)
}

fn dense_of(loaded: &Loaded, slots: usize) -> Result<Vec<Dense>> {
    let values = dense_from_safetensors(loaded.object("dense.safetensors")?)?;
    let mut dense = Vec::new();
    for tensor in values {
        let &[rows, cols] = tensor.shape.as_slice() else { bail!("tensor {} is no matrix", tensor.name) };
        dense.push(Dense { name: tensor.name, rows, cols, values: tensor.values, slots: Vec::new() });
    }
    for slot in 0..slots {
        let tensors = dense_from_safetensors(loaded.object(&format!("optimiser/{slot}.safetensors"))?)?;
        for tensor in tensors {
            let Some(owner) = dense.iter_mut().find(|dense| dense.name == tensor.name) else {
                bail!("optimiser slot {slot} has a tensor {}, which the model has not", tensor.name);
            };
            owner.slots.push(tensor.values);
        }
    }
    Ok(dense)
}

fn table_of(loaded: &Loaded, nth: usize, header: Header) -> Result<Table> {
    let prefix = format!("table/{nth}/");
    let mut chunks = Vec::new();
    for (name, bytes) in loaded.objects(&prefix) {
        let (plane, index) = name[prefix.len()..].split_once('/').with_context(|| format!("object {name}"))?;
        let plane = match plane {
            "values" => PlaneName::Values,
            slot => PlaneName::Slot(serde_json::from_value(slot.into()).with_context(|| format!("object {name}"))?),
        };
        let index = index.parse().with_context(|| format!("object {name}"))?;
        chunks.push(Chunk { plane, index, bytes: bytes.to_vec() });
    }
    Ok(Table::from_chunks(header, chunks)?)
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
    for (spec, table) in spec.tables.iter().zip(&params.tables) {
        let rows = encoder.vocabularies()[spec.vocab.0 as usize].rows();
        if (spec.dim, rows) != (table.dim(), table.rows() as usize) {
            bail!("table {} is [{}, {}], expected [{rows}, {}]", spec.name, table.rows(), table.dim(), spec.dim);
        }
    }
    Ok(())
}
