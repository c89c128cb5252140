//! The rows of older schemas, and their conversion to the next schema.
//!
//! Owns the frozen shapes of rows that the current release no longer writes. It must not use the records of the current
//! release, because those records change, but rows that have already been written do not. A database goes through these
//! steps once (`migration`); a backup with an older schema goes through them row by row when it is restored.

use redb::{ReadableTable as _, WriteTransaction};
use serde_json::{Map, Value};

use super::definition::Definition;
use super::rows::storage;
use crate::store::error::StoreError;
use crate::store::table::Table;

/// The table of schema 1 that held an agent's confirmation and measurement in one row: id → state.
const AGENT_STATES: Definition = Definition::new("agent_states");

/// The fields of a schema 1 state that belong to the confirmation; all others belong to the measurement.
const CONFIRMED: [&str; 6] = [
    "applied_revision",
    "interface_failed",
    "drift_counted",
    "drift",
    "drift_repaired",
    "drift_left_out",
];

/// A row of the current schema: its table, key and value.
pub(super) type CurrentRow = (Table, Vec<u8>, Vec<u8>);

/// Converts a row of `table` in schema `found` to rows of the current schema. Returns `None` if the row needs no
/// conversion.
pub(super) fn forward(
    found: u64,
    table: &str,
    key: &[u8],
    value: &[u8],
) -> Option<Result<Vec<CurrentRow>, StoreError>> {
    (found < 2 && table == "agent_states").then(|| {
        let [confirmation, measurement] = split(value)?;
        Ok(vec![
            (Table::Confirmations, key.to_vec(), confirmation),
            (Table::Measurements, key.to_vec(), measurement),
        ])
    })
}

/// Migrates from schema 1 to 2: `agent_states` becomes `confirmations` and `measurements`.
pub(super) fn split_agent_states(tx: &WriteTransaction) -> Result<(), StoreError> {
    {
        let states = tx.open_table(AGENT_STATES).map_err(storage)?;
        let mut confirmations = tx.open_table(Table::Confirmations.definition()).map_err(storage)?;
        let mut measurements = tx.open_table(Table::Measurements.definition()).map_err(storage)?;
        for row in states.range::<&[u8]>(..).map_err(storage)? {
            let (id, state) = row.map_err(storage)?;
            let [confirmation, measurement] = split(state.value())?;
            confirmations
                .insert(id.value(), confirmation.as_slice())
                .map_err(storage)?;
            measurements
                .insert(id.value(), measurement.as_slice())
                .map_err(storage)?;
        }
    }
    tx.delete_table(AGENT_STATES).map(drop).map_err(storage)
}

/// Splits a schema 1 state into a confirmation and a measurement.
fn split(state: &[u8]) -> Result<[Vec<u8>; 2], StoreError> {
    let corrupt = |error: serde_json::Error| StoreError::Corrupt(format!("agent_states: {error}"));
    let state: Map<String, Value> = serde_json::from_slice(state).map_err(corrupt)?;
    let (confirmation, measurement): (Map<_, _>, Map<_, _>) = state
        .into_iter()
        .partition(|(field, _)| CONFIRMED.contains(&field.as_str()));
    Ok([
        serde_json::to_vec(&confirmation).map_err(corrupt)?,
        serde_json::to_vec(&measurement).map_err(corrupt)?,
    ])
}
