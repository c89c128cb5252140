//! The store, which keeps all of the plane's records in one redb file.
//!
//! Owns the database, its single writer, and the interface that business rules are written against (`transaction`). It
//! must not contain business rules. The engine is in `redb`, and no code outside this module refers to it.
//!
//! There are three entry points: `Store::read` (or `Store::scan`, on a separate thread); `Store::change`, which returns
//! once the change and its audit records are on disk; and `Store::record`, for metrics.

mod change;
mod error;
mod redb;
mod table;
pub(crate) mod transaction;
mod write_set;

use std::path::Path;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use wgctl::Timestamp;
use wgctl::audit::Signer;
use wgctl::name::Incarnation;

use crate::model::caller::{Author, Caller};
pub(crate) use redb::engine::Durability;
use redb::engine::{Engine, Unmigrated};

pub(crate) use change::Change;
pub use error::StoreError;
pub(crate) use transaction::{AuditExtent, AuditFilter, Changes, DurableWrite, LossyWrite, Read};
pub(crate) use write_set::WriteSet;

pub(crate) use redb::backup::check;
pub(crate) use redb::database::BusyGuard;
#[cfg(test)]
pub(crate) use redb::schema::VERSION as SCHEMA_VERSION;

/// A shared handle to the database, which is closed when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    engine: Arc<Engine>,
    signer: Option<Arc<Signer>>,
}

impl Store {
    /// Marks the writer as busy until the guard is dropped. Intended for work whose duration depends on the amount of
    /// data.
    pub(crate) fn mark_busy(&self) -> BusyGuard {
        self.engine.mark_busy()
    }

    /// Returns whether the writer is marked as busy. A busy writer may respond slowly without being stuck.
    pub(crate) fn is_busy(&self) -> bool {
        self.engine.is_busy()
    }

    /// Opens the database at `path`, creating it if it does not exist, and migrates it. `cache_bytes` limits its page
    /// cache.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(redb::disk::Files), path, cache_bytes)
    }

    fn open_on(medium: Arc<dyn redb::disk::Medium>, path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        Self::migrate(Unmigrated::open(medium, path, cache_bytes)?)
    }

    /// Opens the database at `path`, creating it if it does not exist, but does not migrate it. No other process can
    /// open the database until the returned value is dropped.
    pub(crate) fn open_unmigrated(path: &Path, cache_bytes: usize) -> Result<Unmigrated, StoreError> {
        Unmigrated::open(Arc::new(redb::disk::Files), path, cache_bytes)
    }

    /// Migrates an open database to this release's schema.
    pub(crate) fn migrate(unmigrated: Unmigrated) -> Result<Self, StoreError> {
        Ok(Self {
            engine: Arc::new(Engine::start(unmigrated)?),
            signer: None,
        })
    }

    /// Sets the key that signs the audit log's checkpoints.
    #[must_use]
    pub fn signed_by(self, signer: Signer) -> Self {
        Self {
            signer: Some(Arc::new(signer)),
            ..self
        }
    }

    /// Returns the key that signs the audit log's checkpoints, if one is set.
    pub(crate) fn signer(&self) -> Option<Arc<Signer>> {
        self.signer.clone()
    }

    /// Passes the write set of every later commit to `follower`, before the callers whose changes are in that commit
    /// receive their results. `follower` runs on the writer's thread: it must return quickly and must not block.
    pub(crate) fn follow(&self, follower: impl Fn(&WriteSet) + Send + Sync + 'static) {
        self.engine.follow(follower);
    }

    /// Registers the writer's metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.engine.register(registry);
    }

    /// Returns the database's incarnation. Revisions from different incarnations cannot be compared. A restore begins a
    /// new incarnation, and so does the copy that is made before a migration. A caller that also needs a revision must
    /// read both in one transaction.
    pub fn incarnation(&self) -> Result<Incarnation, StoreError> {
        self.read(|tx| tx.incarnation())
    }

    /// Reads a few rows from one snapshot, on the caller's thread.
    pub(crate) fn read<T, E: From<StoreError>>(&self, read: impl FnOnce(&dyn Read) -> Result<T, E>) -> Result<T, E> {
        self.engine.read(|tx| read(tx))
    }

    /// Reads many rows from one snapshot, on a thread for blocking work.
    pub(crate) async fn scan<T, E>(&self, read: impl FnOnce(&dyn Read) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.read(read))
            .await
            .unwrap_or(Err(StoreError::Broken("a read panicked").into()))
    }

    /// Makes a change and writes its audit records in one transaction, which is on disk when this returns. A `change`
    /// that returns an error must not have written anything: it must decide first, then write.
    pub(crate) async fn change<T, E>(
        &self,
        caller: &Caller,
        now: Timestamp,
        change: impl FnOnce(&dyn DurableWrite) -> Result<Change<T>, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (author, signer) = (Author::new(caller, now), self.signer.clone());
        self.engine.change(author, signer, change).await
    }

    /// Records metrics atomically. They are visible to the next read, and on disk within seconds.
    pub(crate) async fn record<T, E>(
        &self,
        record: impl FnOnce(&dyn LossyWrite) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.engine.record(Durability::Lazy, |tx| record(tx)).await
    }

    /// Records metrics that cannot be reported again. They are on disk when this returns.
    pub(crate) async fn record_durably<T, E>(
        &self,
        record: impl FnOnce(&dyn LossyWrite) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.engine.record(Durability::Durable, |tx| record(tx)).await
    }
}

#[cfg(test)]
mod tests;
