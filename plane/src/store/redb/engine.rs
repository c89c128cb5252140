//! The engine: the open database, its readers and its single writer.
//!
//! Owns the writer's queue and thread, and the wake-up of the writer when a read shows that the database has failed. It
//! must not contain business rules, or know what a job reads or writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use prometheus_client::registry::Registry;
use redb::Database;
use tokio::sync::Semaphore;
use wgctl::audit::Signer;

use super::database::{BusyGuard, Handle};
use super::disk::Medium;
use super::job::{self, Reply};
use super::rows::{ReadTx, WriteTx};
use super::writer::{self, Followers, Job, Verdict};
use super::writer_metrics::WriterMetrics;
use super::{migration, schema};
use crate::model::caller::Author;
use crate::store::change::Change;
use crate::store::error::StoreError;
use crate::store::transaction::DurableWrite;
use crate::store::write_set::WriteSet;

/// The maximum length of the writer's queue. Further callers wait for a place in the queue.
pub(crate) const QUEUE: usize = 4096;

/// The durability of recorded metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// On disk within seconds.
    Lazy,
    /// On disk when the call returns.
    Durable,
}

/// A database that is open, so that no other process can open it, but that has not been migrated yet.
pub(crate) struct Unmigrated {
    medium: Arc<dyn Medium>,
    path: PathBuf,
    cache_bytes: usize,
    database: Database,
}

impl Unmigrated {
    /// Opens the database at `path`, creating it if it does not exist.
    pub(in crate::store) fn open(medium: Arc<dyn Medium>, path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let database = migration::open(&*medium, path, cache_bytes, &schema::CURRENT)?;
        Ok(Self {
            medium,
            path: path.to_owned(),
            cache_bytes,
            database,
        })
    }
}

/// The database and its writer. The writer stops when the engine is dropped.
pub(crate) struct Engine {
    pub(super) handle: Arc<Handle>,
    pub(crate) places: Arc<Semaphore>,
    jobs: Option<Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    metrics: WriterMetrics,
    followers: Arc<Followers>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // The writer handles its own panics, and there is no caller left to receive an error.
            let _ = thread.join();
        }
    }
}

impl Engine {
    /// Migrates an open database to this release's schema, and starts its writer.
    pub(crate) fn start(unmigrated: Unmigrated) -> Result<Self, StoreError> {
        let Unmigrated {
            medium,
            path,
            cache_bytes,
            database,
        } = unmigrated;
        migration::migrate(&*medium, &database, &path, &schema::CURRENT)?;
        let handle = Arc::new(Handle::new(medium, &path, cache_bytes, database));
        let (jobs, queue) = channel();
        let metrics = WriterMetrics::default();
        let followers = Arc::<Followers>::default();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn({
                let (handle, metrics, followers) = (Arc::clone(&handle), metrics.clone(), Arc::clone(&followers));
                move || writer::run(&handle, &queue, &metrics, &followers)
            })
            .map_err(|error| StoreError::Unavailable(format!("cannot start the writer's thread: {error}")))?;
        Ok(Self {
            handle,
            places: Arc::new(Semaphore::new(QUEUE)),
            jobs: Some(jobs),
            thread: Some(thread),
            metrics,
            followers,
        })
    }

    /// Marks the writer as busy until the guard is dropped. Intended for work whose duration depends on the amount of
    /// data.
    pub(crate) fn mark_busy(&self) -> BusyGuard {
        self.handle.mark_busy()
    }

    /// Returns whether the writer is marked as busy.
    pub(crate) fn is_busy(&self) -> bool {
        self.handle.is_busy()
    }

    /// Passes the write set of every later commit to `follower`, on the writer's thread.
    pub(crate) fn follow(&self, follower: impl Fn(&WriteSet) + Send + Sync + 'static) {
        self.followers.add(follower);
    }

    /// Makes the write set of every later commit list its rows.
    #[cfg(test)]
    pub(crate) fn list_rows(&self) {
        self.followers.list_rows();
    }

    /// Registers the writer's metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Reads from one snapshot, on the caller's thread.
    pub(crate) fn read<T, E: From<StoreError>>(&self, read: impl FnOnce(&ReadTx) -> Result<T, E>) -> Result<T, E> {
        let generation = self.handle.generation();
        let view = self.handle.begin_read();
        let tx = ReadTx::new(view.inspect_err(|_| self.wake_writer(generation))?);
        let outcome = read(&tx);
        if tx.has_failed() {
            self.wake_writer(generation);
        }
        outcome
    }

    /// Asks the writer to reopen a database on which a read has failed. A view of a database that has been closed in
    /// the meantime fails too, but that is no reason to reopen the current database.
    fn wake_writer(&self, generation: u64) {
        if let Some(jobs) = &self.jobs
            && self.handle.mark_suspect(generation)
        {
            // If the writer has stopped, the database is already closed.
            let _ = jobs.send(Box::new(writer::Wake));
        }
    }

    /// Makes a change and writes its audit records. Both are on disk when this returns.
    pub(crate) async fn change<T, E>(
        &self,
        author: Author,
        signer: Option<Arc<Signer>>,
        change: impl FnOnce(&dyn DurableWrite) -> Result<Change<T>, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.send(move |reply| job::change(author, signer, change, reply)).await
    }

    /// Records metrics.
    pub(crate) async fn record<T, E>(
        &self,
        durability: Durability,
        record: impl FnOnce(&WriteTx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let verdict = match durability {
            Durability::Lazy => Verdict::Lazy,
            Durability::Durable => Verdict::Durable,
        };
        self.send(move |reply| job::record(verdict, record, reply)).await
    }

    async fn send<T, E: From<StoreError>>(
        &self,
        job: impl FnOnce(Reply<Result<T, E>>) -> Box<dyn Job>,
    ) -> Result<T, E> {
        let gone = || StoreError::Unavailable("the writer has stopped".to_owned());
        let places = Arc::clone(&self.places);
        let (reply, answer) = Reply::new(places.acquire_owned().await.map_err(|_| gone())?);
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job(reply)).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone().into()))
    }
}
