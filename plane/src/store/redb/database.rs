//! The open database, which readers share with the writer.
//!
//! Owns its opening, closing and opening again, and the room that a change must find on the disk.
//! It must not write. No reader keeps the database open: redb lets nobody open a file twice, and
//! what failed must be opened again whoever reads from it still.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};

use super::disk;
use super::disk::Medium;
use super::rows::storage;
use crate::store::error::StoreError;

/// What must be free on the disk before something is written. A write that fails half-way costs
/// the database's reopening, and the reads that are under way.
const ROOM: u64 = 4 << 20;

/// The database; none while it cannot be used.
pub(crate) struct Handle {
    medium: Arc<dyn Medium>,
    pub(super) path: PathBuf,
    cache_bytes: usize,
    database: RwLock<Option<Database>>,
    /// A reader met an error: redb refuses everything from then on.
    suspect: AtomicBool,
    /// How often it was opened again.
    generation: AtomicU64,
    /// How many works of the writer are under way that take as long as there is data.
    long_work: Arc<AtomicUsize>,
}

/// Long work of the writer.
pub(crate) struct AtLength(Arc<AtomicUsize>);

impl Drop for AtLength {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Handle {
    pub(crate) fn new(medium: Arc<dyn Medium>, path: &Path, cache_bytes: usize, database: Database) -> Self {
        Self {
            medium,
            path: path.to_owned(),
            cache_bytes,
            database: RwLock::new(Some(database)),
            suspect: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            long_work: Arc::default(),
        }
    }

    /// Says that the writer is at something that takes as long as there is data, until this is dropped.
    pub(crate) fn at_length(&self) -> AtLength {
        self.long_work.fetch_add(1, Ordering::AcqRel);
        AtLength(Arc::clone(&self.long_work))
    }

    /// Whether it is.
    pub(crate) fn is_at_length(&self) -> bool {
        self.long_work.load(Ordering::Acquire) > 0
    }

    /// Whether it can be used, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.suspect.load(Ordering::Acquire) && self.database.read().is_ok_and(|slot| slot.is_some())
    }

    /// Which opening a view that begins now is of, or of a later one.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Says that what was opened then must be opened again. Answers whether this is news: of one that
    /// is closed it is known, and one that was opened since is another.
    pub(crate) fn suspect(&self, generation: u64) -> bool {
        generation == self.generation() && self.is_open() && !self.suspect.swap(true, Ordering::AcqRel)
    }

    /// A view of this moment.
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.with(|database| database.begin_read().map_err(storage))
    }

    /// A transaction. For the writer alone: another one would wait for its end.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        self.with(|database| database.begin_write().map_err(storage))
    }

    fn with<T>(&self, begin: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let slot = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || StoreError::Unavailable("it is being opened again".to_owned());
        begin(slot.as_ref().ok_or_else(closed)?)
    }

    /// Refuses when the disk is nearly full. A disk that cannot say is not refused.
    pub(super) fn check_room(&self) -> Result<(), StoreError> {
        match self.medium.room(&self.path) {
            Ok(free) if free < ROOM => Err(StoreError::Full { free, needed: ROOM }),
            _ => Ok(()),
        }
    }

    /// Closes the database and opens it again.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let _at_length = self.at_length();
        let old = self.replace(None);
        self.generation.fetch_add(1, Ordering::AcqRel);
        // Now, and not at the end: what readers find in the new one is news.
        self.suspect.store(false, Ordering::Release);
        // What failed may panic on its way out.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(old)));
        // A kernel that could not write a page keeps it, and calls it clean: it would be read as if
        // it were on the disk, and never be written again.
        self.medium
            .rewrite(&self.path)
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", self.path.display())))?;
        let database = disk::open(&*self.medium, &self.path, self.cache_bytes)?;
        tracing::warn!("the database {} is open again", self.path.display());
        self.replace(Some(database));
        Ok(())
    }

    /// Like [`Self::reopen`], when nobody waits for the outcome.
    pub(super) fn reopen_or_say(&self) {
        if let Err(error) = self.reopen() {
            tracing::error!("the database stays closed ({error}); the next try comes by itself");
        }
    }

    fn replace(&self, database: Option<Database>) -> Option<Database> {
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *slot, database)
    }
}
