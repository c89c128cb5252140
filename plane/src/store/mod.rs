//! The store.

mod caller;
mod error;

use std::path::Path;

pub use caller::{Action, Actor, Caller, Entry};
pub use error::StoreError;

/// The database. Cloning shares it.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens the database at `path`, or makes it. `cache_bytes` bounds its page cache.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        todo!()
    }
}
