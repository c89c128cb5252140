//! The store: all records of the plane, in one redb file.
//!
//! Owns the database, its one writer, and the interface that the business rules are written against
//! ([`transaction`]). The engine is in [`redb`], and nothing outside this module names it. It must not hold business
//! rules.
//!
//! There are three entry points: [`Store::read`] (or [`Store::scan`], on a thread of its own); [`Store::change`], which
//! returns when the change and its audit records are on disk; and [`Store::record`], for metrics.

mod change;
mod error;
mod redb;
mod table;
pub(crate) mod transaction;
mod write_set;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use self::redb::writer::Verdict;
use crate::model::caller::{Author, Caller};
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use wgctl::Timestamp;
use wgctl::audit::Signer;
use wgctl::name::Incarnation;

use self::redb::rows::ReadTx;
pub(crate) use change::Change;
pub use error::StoreError;
pub(crate) use transaction::{AuditExtent, AuditFilter, Changes, DurableWrite, LossyWrite, Read};
pub(crate) use write_set::WriteSet;

pub(crate) use self::redb::backup::check;
pub(crate) use self::redb::database::BusyGuard;
#[cfg(test)]
pub(crate) use self::redb::schema::VERSION as SCHEMA_VERSION;

/// The length of the writer's queue. Further callers wait for a place in it.
const QUEUE: usize = 4096;

/// A shared handle to the database, which is closed when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    signer: Option<Arc<Signer>>,
}

struct Shared {
    handle: Arc<redb::database::Handle>,
    places: Arc<Semaphore>,
    jobs: Option<Sender<Box<dyn redb::writer::Job>>>,
    thread: Option<JoinHandle<()>>,
    measured: redb::writer_metrics::WriterMetrics,
    followers: Arc<redb::writer::Followers>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // The writer handles its own panics, and no caller is left to report one to.
            let _ = thread.join();
        }
    }
}

impl Store {
    /// Marks the writer busy with work whose duration depends on the amount of data, until the guard is dropped.
    pub(crate) fn mark_busy(&self) -> BusyGuard {
        self.shared.handle.mark_busy()
    }

    /// Returns whether the writer is marked busy. A busy writer may be slow to answer without being stuck.
    pub(crate) fn is_busy(&self) -> bool {
        self.shared.handle.is_busy()
    }

    /// Opens the database at `path`, or creates it. `cache_bytes` limits its page cache.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(redb::disk::Files), path, cache_bytes)
    }

    fn open_on(medium: Arc<dyn redb::disk::Medium>, path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let (database, _) = redb::migration::open(&*medium, path, cache_bytes, &redb::schema::CURRENT)?;
        let handle = Arc::new(redb::database::Handle::new(medium, path, cache_bytes, database));
        let (jobs, queue) = channel();
        let measured = redb::writer_metrics::WriterMetrics::default();
        let followers = Arc::<redb::writer::Followers>::default();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn({
                let (handle, measured, followers) = (Arc::clone(&handle), measured.clone(), Arc::clone(&followers));
                move || redb::writer::run(&handle, &queue, &measured, &followers)
            })
            .map_err(|error| StoreError::Unavailable(format!("no thread for the writer: {error}")))?;
        Ok(Self {
            shared: Arc::new(Shared {
                handle,
                places: Arc::new(Semaphore::new(QUEUE)),
                jobs: Some(jobs),
                thread: Some(thread),
                measured,
                followers,
            }),
            signer: None,
        })
    }

    /// Adds a key that signs the audit log's checkpoints.
    #[must_use]
    pub fn signed_by(self, signer: Signer) -> Self {
        Self {
            signer: Some(Arc::new(signer)),
            ..self
        }
    }

    /// Returns the key that signs the audit log's checkpoints, if there is one.
    pub(crate) fn signer(&self) -> Option<Arc<Signer>> {
        self.signer.clone()
    }

    /// Passes the write set of every later commit to `follower`, before the callers of that commit are answered.
    /// `follower` runs on the writer's thread: it must be quick and must not wait.
    pub(crate) fn follow(&self, follower: impl Fn(&WriteSet) + Send + Sync + 'static) {
        self.shared.followers.add(follower);
    }

    /// Registers the writer's metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.shared.measured.register(registry);
    }

    /// Returns the database's incarnation. Revisions of two incarnations cannot be compared, and a restore begins a new
    /// one. A caller that needs a revision too must read both in one transaction.
    pub fn incarnation(&self) -> Result<Incarnation, StoreError> {
        self.read(|tx| tx.incarnation())
    }

    /// Reads a few rows from one snapshot, on the caller's thread.
    pub(crate) fn read<T, E: From<StoreError>>(&self, read: impl FnOnce(&dyn Read) -> Result<T, E>) -> Result<T, E> {
        self.read_rows(|tx| read(tx))
    }

    fn read_rows<T, E: From<StoreError>>(&self, read: impl FnOnce(&ReadTx) -> Result<T, E>) -> Result<T, E> {
        let generation = self.shared.handle.generation();
        let view = self.shared.handle.begin_read();
        let tx = ReadTx::new(view.inspect_err(|_| self.wake_writer(generation))?);
        let outcome = read(&tx);
        if tx.has_failed() {
            self.wake_writer(generation);
        }
        outcome
    }

    /// Asks the writer to reopen a database that failed a reader. A view of a database that was closed meanwhile fails
    /// too, and is no reason to reopen the present one.
    fn wake_writer(&self, generation: u64) {
        if let Some(jobs) = &self.shared.jobs
            && self.shared.handle.mark_suspect(generation)
        {
            // If the writer has ended, the database is closed already.
            let _ = jobs.send(Box::new(redb::writer::Wake));
        }
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

    /// Makes a change with its audit records, in one transaction that is on disk when this returns. A `change` that
    /// returns an error must have written nothing: decide first, then write.
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
        self.send(move |reply| redb::job::change(author, signer, change, reply))
            .await
    }

    /// Records metrics: atomically, visible to the next read, on disk within seconds.
    pub(crate) async fn record<T, E>(
        &self,
        record: impl FnOnce(&dyn LossyWrite) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.send(move |reply| redb::job::record(Verdict::Lazy, |tx| record(tx), reply))
            .await
    }

    /// Records metrics that cannot be reported again: they are on disk when this returns.
    pub(crate) async fn record_durably<T, E>(
        &self,
        record: impl FnOnce(&dyn LossyWrite) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.send(move |reply| redb::job::record(Verdict::Durable, |tx| record(tx), reply))
            .await
    }

    /// Records like [`Self::record`], with access to the rows of all tables.
    #[cfg(test)]
    async fn record_rows<T: Send + 'static>(
        &self,
        record: impl FnOnce(&redb::rows::WriteTx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |reply| redb::job::record(Verdict::Lazy, record, reply))
            .await
    }

    async fn send<T, E: From<StoreError>>(
        &self,
        job: impl FnOnce(redb::job::Reply<Result<T, E>>) -> Box<dyn redb::writer::Job>,
    ) -> Result<T, E> {
        let gone = || StoreError::Unavailable("the writer has ended".to_owned());
        let places = Arc::clone(&self.shared.places);
        let (reply, answer) = redb::job::Reply::new(places.acquire_owned().await.map_err(|_| gone())?);
        let jobs = self.shared.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job(reply)).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone().into()))
    }
}

#[cfg(test)]
mod tests;
