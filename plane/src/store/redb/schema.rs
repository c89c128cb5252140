//! The schema of the database: its version, its tables, and the migration steps from older versions.
//!
//! Owns the list of steps, and the rows of [`Table::Meta`]. It must not know what the other rows mean, or when a step
//! runs (`migration`).

use redb::WriteTransaction;

use super::older_schemas as older;
use crate::store::error::StoreError;
use crate::store::table::Table;

/// The version of the schema that this release writes.
pub(crate) const VERSION: u64 = 2;

/// The key of the schema version in [`Table::Meta`].
pub(super) const SCHEMA: &[u8] = b"schema";
/// The key of the database's incarnation in [`Table::Meta`].
pub(super) const INCARNATION: &[u8] = b"incarnation";

/// The schema that a release writes, and the steps that lead to it from older schemas.
pub(in crate::store) struct Schema {
    pub(in crate::store) version: u64,
    pub(in crate::store) tables: &'static [Table],
    /// The steps in ascending order of their versions, without gaps.
    pub(in crate::store) steps: &'static [Step],
}

/// A step from one schema version to the next.
pub(in crate::store) struct Step {
    /// The version after the step.
    pub(in crate::store) to: u64,
    /// The function that runs the step. It is called in a separate transaction, which also writes the new version.
    pub(in crate::store) run: fn(&WriteTransaction) -> Result<(), StoreError>,
}

/// The schema of this release. Schema 1 was the first, so no step leads to it.
pub(in crate::store) const CURRENT: Schema = Schema {
    version: VERSION,
    tables: Table::ALL,
    steps: &[Step {
        to: 2,
        run: older::split_agent_states,
    }],
};

/// Converts a row's value to an array. Returns an error unless the value is exactly `N` bytes long.
pub(in crate::store) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes
        .try_into()
        .map_err(|_| StoreError::Corrupt(format!("{} bytes instead of {N}", bytes.len())))
}
