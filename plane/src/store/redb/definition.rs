//! A table as redb opens it.

use redb::TableDefinition;

use crate::store::table::Table;

/// A table as redb opens it.
pub(crate) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

impl Table {
    /// The table as redb opens it.
    pub(crate) const fn definition(self) -> Definition {
        Definition::new(self.name())
    }
}
