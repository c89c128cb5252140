//! The open database, which readers share with the writer.
//!
//! Owns closing and reopening the database, and the check for the free disk space that a change requires. It must not
//! write. Readers do not keep the database open: redb does not open a file twice, and a database that has failed must
//! be reopened even while readers still hold views of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};

use super::disk;
use super::disk::Medium;
use super::rows::storage;
use crate::store::error::StoreError;

/// The free disk space that is required before a write, in bytes. A write that fails halfway forces the database to be
/// reopened, which makes the reads in progress fail.
const ROOM: u64 = 4 << 20;

/// A handle to the database. It is empty while the database is closed.
pub(in crate::store) struct Handle {
    medium: Arc<dyn Medium>,
    pub(super) path: PathBuf,
    cache_bytes: usize,
    database: RwLock<Option<Database>>,
    /// Set when a reader gets an error: from then on, redb refuses every operation.
    suspect: AtomicBool,
    /// The number of times the database has been reopened.
    generation: AtomicU64,
    /// The number of guards that mark the writer as busy.
    busy: Arc<AtomicUsize>,
}

/// A guard that marks the writer as busy until it is dropped.
pub(crate) struct BusyGuard(Arc<AtomicUsize>);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Handle {
    pub(in crate::store) fn new(medium: Arc<dyn Medium>, path: &Path, cache_bytes: usize, database: Database) -> Self {
        Self {
            medium,
            path: path.to_owned(),
            cache_bytes,
            database: RwLock::new(Some(database)),
            suspect: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            busy: Arc::default(),
        }
    }

    /// Marks the writer as busy until the guard is dropped. Intended for work whose duration depends on the amount of
    /// data.
    pub(in crate::store) fn mark_busy(&self) -> BusyGuard {
        self.busy.fetch_add(1, Ordering::AcqRel);
        BusyGuard(Arc::clone(&self.busy))
    }

    /// Returns whether the writer is marked as busy.
    pub(in crate::store) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }

    /// Returns whether the database is open and no reader has had an error.
    pub(super) fn is_open(&self) -> bool {
        !self.suspect.load(Ordering::Acquire) && self.database.read().is_ok_and(|slot| slot.is_some())
    }

    /// Returns the current generation. A view that begins after this call belongs to this generation or a later one.
    pub(in crate::store) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Marks the database as needing to be reopened. Returns false if the database is closed, has been reopened since
    /// `generation`, or is already marked.
    pub(in crate::store) fn mark_suspect(&self, generation: u64) -> bool {
        generation == self.generation() && self.is_open() && !self.suspect.swap(true, Ordering::AcqRel)
    }

    /// Begins a view of the current state.
    pub(in crate::store) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.with(|database| database.begin_read().map_err(storage))
    }

    /// Begins a write transaction. Only the writer may call this: a second transaction would wait for the first to end.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        self.with(|database| database.begin_write().map_err(storage))
    }

    fn with<T>(&self, begin: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let slot = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || StoreError::Unavailable("it is being reopened".to_owned());
        begin(slot.as_ref().ok_or_else(closed)?)
    }

    /// Returns an error if the disk is nearly full. A disk whose free space is unknown passes the check.
    pub(super) fn check_room(&self) -> Result<(), StoreError> {
        match self.medium.room(&self.path) {
            Ok(free) if free < ROOM => Err(StoreError::Full { free, needed: ROOM }),
            _ => Ok(()),
        }
    }

    /// Closes the database and reopens it.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let _busy = self.mark_busy();
        let old = self.replace(None);
        self.generation.fetch_add(1, Ordering::AcqRel);
        // The flag is cleared before the database is open again, so that an error that a reader gets afterwards is not
        // lost.
        self.suspect.store(false, Ordering::Release);
        // A database that has failed may panic when it is dropped.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(old)));
        // A kernel that fails to write a page keeps the page in memory and marks it clean. Without this rewrite, reads
        // would return the page as if it were on the disk, but it would never be written.
        self.medium
            .rewrite(&self.path)
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", self.path.display())))?;
        let database = disk::open(&*self.medium, &self.path, self.cache_bytes)?;
        tracing::warn!("the database {} is open again", self.path.display());
        self.replace(Some(database));
        Ok(())
    }

    /// Reopens the database. Logs an error if that fails.
    pub(super) fn reopen_or_log(&self) {
        if let Err(error) = self.reopen() {
            tracing::error!("the database stays closed ({error}); reopening will be retried automatically");
        }
    }

    fn replace(&self, database: Option<Database>) -> Option<Database> {
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *slot, database)
    }
}
