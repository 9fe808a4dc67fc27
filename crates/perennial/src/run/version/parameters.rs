//! Parameters as objects of a version.
//!
//! Under a prefix: `dense.safetensors`, `optimiser/<slot>.safetensors`, `table/<n>/<plane>/<chunk>`, and
//! `statistics.safetensors` where the model has running statistics.

use anyhow::{Context, Result, bail};
use perennial_model::{Dense, Params, Statistic};
use perennial_store::{Loaded, dense_from_safetensors, dense_to_safetensors};
use perennial_table::{Chunk, Header, PlaneName, Table};

/// Most slots that a dense tensor has of its optimiser.
pub(super) fn slots(params: &Params) -> usize {
    params.dense.iter().map(|dense| dense.slots.len()).max().unwrap_or(0)
}

pub(super) fn write(prefix: &str, params: &Params, objects: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let mut add = |name: String, bytes| objects.push((format!("{prefix}{name}"), bytes));
    add("dense.safetensors".into(), dense_bytes(&params.dense, |dense| Some(&dense.values))?);
    for slot in 0..slots(params) {
        add(format!("optimiser/{slot}.safetensors"), dense_bytes(&params.dense, |dense| dense.slots.get(slot))?);
    }
    if !params.statistics.is_empty() {
        add("statistics.safetensors".into(), statistics_bytes(&params.statistics)?);
    }
    for (nth, table) in params.tables.iter().enumerate() {
        for chunk in table.chunks() {
            add(chunk_name(nth, &chunk), chunk.bytes);
        }
    }
    Ok(())
}

/// Reads back parameters with so many slots and with these tables. Dense tensors and statistics are in the order of
/// their names.
pub(super) fn read(prefix: &str, slots: usize, tables: Vec<Header>, loaded: &Loaded) -> Result<Params> {
    let dense = dense_of(prefix, slots, loaded)?;
    let tables = tables.into_iter().enumerate().map(|(nth, header)| table_of(prefix, nth, header, loaded));
    Ok(Params { dense, tables: tables.collect::<Result<_>>()?, statistics: statistics_of(prefix, loaded)? })
}

/// A part of each tensor that has it.
fn dense_bytes(tensors: &[Dense], part: impl Fn(&Dense) -> Option<&Vec<f32>>) -> Result<Vec<u8>> {
    let shapes: Vec<[usize; 2]> = tensors.iter().map(|dense| [dense.rows, dense.cols]).collect();
    let parts = tensors.iter().zip(&shapes).filter_map(|(dense, shape)| Some((dense, shape, part(dense)?)));
    let named: Vec<_> = parts.map(|(dense, shape, part)| (dense.name.as_str(), &shape[..], part.as_slice())).collect();
    Ok(dense_to_safetensors(&named)?)
}

fn statistics_bytes(statistics: &[Statistic]) -> Result<Vec<u8>> {
    let shapes: Vec<[usize; 2]> = statistics.iter().map(|statistic| [1, statistic.values.len()]).collect();
    let named = statistics.iter().zip(&shapes);
    let named: Vec<_> = named.map(|(s, shape)| (s.name.as_str(), &shape[..], s.values.as_slice())).collect();
    Ok(dense_to_safetensors(&named)?)
}

fn statistics_of(prefix: &str, loaded: &Loaded) -> Result<Vec<Statistic>> {
    let name = format!("{prefix}statistics.safetensors");
    if loaded.objects(&name).next().is_none() {
        return Ok(Vec::new());
    }
    let tensors = dense_from_safetensors(loaded.object(&name)?)?.into_iter();
    Ok(tensors.map(|tensor| Statistic { name: tensor.name, values: tensor.values }).collect())
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

fn dense_of(prefix: &str, slots: usize, loaded: &Loaded) -> Result<Vec<Dense>> {
    let values = dense_from_safetensors(loaded.object(&format!("{prefix}dense.safetensors"))?)?;
    let mut dense = Vec::new();
    for tensor in values {
        let &[rows, cols] = tensor.shape.as_slice() else { bail!("tensor {} is no matrix", tensor.name) };
        dense.push(Dense { name: tensor.name, rows, cols, values: tensor.values, slots: Vec::new() });
    }
    for slot in 0..slots {
        let tensors = dense_from_safetensors(loaded.object(&format!("{prefix}optimiser/{slot}.safetensors"))?)?;
        for tensor in tensors {
            let Some(owner) = dense.iter_mut().find(|dense| dense.name == tensor.name) else {
                bail!("optimiser slot {slot} has a tensor {}, which the model has not", tensor.name);
            };
            owner.slots.push(tensor.values);
        }
    }
    Ok(dense)
}

fn table_of(prefix: &str, nth: usize, header: Header, loaded: &Loaded) -> Result<Table> {
    let prefix = format!("{prefix}table/{nth}/");
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
