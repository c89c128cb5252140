//! The store: what is recorded, in one redb file.
//!
//! Owns the database, its one writer, and the domain primitives by which the business rules read
//! and write (one file an entity). Nothing outside this module names redb. The primitives are
//! async so that a networked store can implement them too; here they never wait. It must not hold
//! business rules.
//!
//! There are three ways in: `Store::read` (and `Store::scan` on a thread of its own),
//! `Store::change`, which is durable before it answers and cannot be made without its audit
//! record, and `Store::record` for metrics.

mod change;
mod error;
pub(crate) mod redb;
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
pub(crate) use transaction::{AuditFilter, Beginning, Changes, DurableWrite, LossyWrite, Read};
pub(crate) use write_set::WriteSet;

pub(crate) use self::redb::backup::check;

/// How many changes may wait for the writer; more wait for a place among them.
const QUEUE: usize = 4096;

/// The database. Cloning shares it; it is closed when the last clone is dropped.
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
            // The writer answers for its own panics; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl Store {
    /// Says that the writer will be at something that takes as long as there is data, until this is
    /// dropped.
    pub(crate) fn at_length(&self) -> redb::database::AtLength {
        self.shared.handle.at_length()
    }

    /// Whether it is: then it is no wonder that it does not answer.
    pub(crate) fn is_at_length(&self) -> bool {
        self.shared.handle.is_at_length()
    }

    /// Opens the database at `path`, or makes it. `cache_bytes` bounds its page cache.
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

    /// The same database, with a key that signs the audit log's checkpoints.
    #[must_use]
    pub fn signed_by(self, signer: Signer) -> Self {
        Self {
            signer: Some(Arc::new(signer)),
            ..self
        }
    }

    /// What signs the audit log's checkpoints, where there is a key.
    pub(crate) fn signer(&self) -> Option<Arc<Signer>> {
        self.signer.clone()
    }

    /// Hands the write set of every commit from now on to `follower`, before its callers are answered. It runs on the
    /// writer's thread: it must be quick and must not wait.
    pub(crate) fn follow(&self, follower: impl Fn(&WriteSet) + Send + Sync + 'static) {
        self.shared.followers.add(follower);
    }

    /// Shows what the writer measures.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.shared.measured.register(registry);
    }

    /// The database's life: revisions of two incarnations cannot be compared. What is said together
    /// with a revision is read together with it: a restore begins another life.
    pub fn incarnation(&self) -> Result<Incarnation, StoreError> {
        self.read(|tx| tx.incarnation())
    }

    /// Reads a few rows, of one moment, on the caller's thread.
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

    /// The writer opens again what a reader found broken. A view of what was closed meanwhile breaks
    /// too, and says nothing of what is open now.
    fn wake_writer(&self, generation: u64) {
        if let Some(jobs) = &self.shared.jobs
            && self.shared.handle.suspect(generation)
        {
            // A writer that has ended has closed the database.
            let _ = jobs.send(Box::new(redb::writer::Wake));
        }
    }

    /// Reads many rows, of one moment, on a thread where that disturbs nobody.
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

    /// Makes a change and its audit records, in one transaction that is on disk before this
    /// answers. What errs must have written nothing: decide first, then write.
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

    /// Records metrics: atomic, seen by the next read, on disk within seconds.
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

    /// Records metrics that nobody could tell again: on disk before this answers.
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

    /// The same as [`Self::record`], with the rows of all tables.
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
