//! The redb definitions of the tables.

use redb::TableDefinition;

use crate::store::table::Table;

/// The definition with which redb opens a table.
pub(in crate::store) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

impl Table {
    /// Returns the table's definition.
    pub(in crate::store) const fn definition(self) -> Definition {
        Definition::new(self.name())
    }
}
