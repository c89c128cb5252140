//! All tables of the database, and its schema version.
//!
//! Owns the names and the keys of the tables, and the steps from older schemas. It must not know
//! what the rows mean, nor when a step runs (`migrate`). Rows are JSON unless said otherwise; keys
//! are bytes whose order is the order of reading. A server's rows begin with its id and a zero
//! byte, which no id holds.

use redb::WriteTransaction;

use super::older_schemas as older;
use crate::store::table::Table;

use crate::store::error::StoreError;

/// The schema this release writes.
pub(crate) const VERSION: u64 = 2;

/// In [`Table::Meta`]: the schema's version, and the database's life.
pub(super) const SCHEMA: &[u8] = b"schema";
pub(super) const INCARNATION: &[u8] = b"incarnation";

/// What a release writes, and the way there from what older ones wrote.
pub(crate) struct Schema {
    pub(crate) version: u64,
    pub(crate) tables: &'static [Table],
    /// In the order of their versions, without a gap.
    pub(crate) steps: &'static [Step],
}

/// From one version to the next.
pub(crate) struct Step {
    /// The version that it makes of the one before.
    pub(crate) to: u64,
    /// Runs in a transaction of its own, with the version's own row.
    pub(crate) run: fn(&WriteTransaction) -> Result<(), StoreError>,
}

/// This release's. Schema 1 is the first: no step leads to it.
pub(crate) const CURRENT: Schema = Schema {
    version: VERSION,
    tables: Table::ALL,
    steps: &[Step {
        to: 2,
        run: older::split_agent_states,
    }],
};

/// The bytes of a row that has a fixed length.
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes
        .try_into()
        .map_err(|_| StoreError::Corrupt(format!("{} bytes where {N} belong", bytes.len())))
}
