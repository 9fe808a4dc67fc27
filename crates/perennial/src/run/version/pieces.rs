//! What a strategy remembers, as objects of a version.
//!
//! Under a prefix: `pieces.json` lists the pieces; one of bytes is the object `<name>`, one of parameters lies under
//! `<name>/` as [`parameters`](super::parameters) says. Where there is nothing, there is no object.

use super::parameters;
use anyhow::{Context, Result};
use perennial_learn::{Piece, Pieces};
use perennial_store::Loaded;
use perennial_table::{Header, Table};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What `pieces.json` says of a piece.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    Bytes,
    Params {
        dense: Vec<String>,
        slots: usize,
        tables: Vec<Header>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        statistics: Vec<String>,
    },
}

pub(super) fn write(prefix: &str, pieces: &Pieces, objects: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    if pieces.is_empty() {
        return Ok(());
    }
    let mut index = BTreeMap::new();
    for (name, piece) in &pieces.by_name {
        let entry = match piece {
            Piece::Bytes(bytes) => {
                objects.push((format!("{prefix}/{name}"), bytes.clone()));
                Entry::Bytes
            }
            Piece::Params(params) => {
                parameters::write(&format!("{prefix}/{name}/"), params, objects)?;
                let dense = params.dense.iter().map(|dense| dense.name.clone()).collect();
                let tables = params.tables.iter().map(Table::header).collect();
                let statistics = params.statistics.iter().map(|statistic| statistic.name.clone()).collect();
                Entry::Params { dense, slots: parameters::slots(params), tables, statistics }
            }
        };
        index.insert(name, entry);
    }
    objects.push((format!("{prefix}/pieces.json"), serde_json::to_vec_pretty(&index)?));
    Ok(())
}

pub(super) fn read(prefix: &str, loaded: &Loaded) -> Result<Pieces> {
    let mut pieces = Pieces::default();
    let name = format!("{prefix}/pieces.json");
    if loaded.objects(&name).next().is_none() {
        return Ok(pieces);
    }
    let index: BTreeMap<String, Entry> = serde_json::from_slice(loaded.object(&name)?).context(name)?;
    for (name, entry) in index {
        match entry {
            Entry::Bytes => pieces.put_bytes(&name, loaded.object(&format!("{prefix}/{name}"))?.to_vec()),
            Entry::Params { dense, slots, tables, statistics } => {
                let mut params = parameters::read(&format!("{prefix}/{name}/"), slots, tables, loaded)?;
                params.dense.sort_by_key(|tensor| dense.iter().position(|name| *name == tensor.name));
                params.statistics.sort_by_key(|one| statistics.iter().position(|name| *name == one.name));
                pieces.put_params(&name, params);
            }
        }
    }
    Ok(pieces)
}
