//! The one writer: a thread that takes what waits and commits it together.
//!
//! Owns the batches, their durability, and the database's reopening after an I/O error. It must
//! not know what a job writes. Concurrent callers share one fsync: that is what makes durable
//! before acknowledged affordable. A batch of metrics alone is committed without fsync, and made
//! durable [`LAZY`] later at the latest.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use redb::{Builder, Database, Durability, WriteTransaction};

use super::error::StoreError;
use super::rows::{Changing, storage};

/// How long metrics may wait for their fsync.
const LAZY: Duration = Duration::from_secs(2);

/// How long the writer sleeps when nothing waits for it.
const IDLE: Duration = Duration::from_secs(3600);

/// Bounds how long the first of a batch waits for the last.
const BATCH: usize = 256;

/// What a job did to the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: refused, or nothing to do.
    Nothing,
    /// Wrote what may be lost in a crash.
    Lazy,
    /// Wrote what must be on disk before it is acknowledged.
    Durable,
    /// Broke the rules; the transaction is worth nothing any more.
    Broken(&'static str),
}

/// Something to write.
pub(super) trait Job: Send {
    /// Decides and writes.
    fn run(&mut self, tx: &Changing) -> Verdict;
    /// Tells who waits, after the commit or its failure.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

/// The open database, which readers share with the writer; none while it cannot be used.
pub(super) struct Handle {
    pub(super) path: PathBuf,
    pub(super) cache_bytes: usize,
    pub(super) database: RwLock<Option<Arc<Database>>>,
}

impl Handle {
    /// The database, when it can be used.
    pub(super) fn database(&self) -> Option<Arc<Database>> {
        self.database.read().ok()?.clone()
    }

    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Database, StoreError> {
        let refused = |reason| StoreError::Open {
            path: path.to_owned(),
            reason,
        };
        create_private(path).map_err(|error| refused(format!("{error}: check its folder and the folder's owner")))?;
        let mut builder = Builder::new();
        builder.set_cache_size(cache_bytes);
        builder.create(path).map_err(|error| {
            refused(match error {
                redb::DatabaseError::DatabaseAlreadyOpen => {
                    "another process has it open: stop the other sentrazone-plane first".to_owned()
                }
                other => format!("{other}: check the file, its folder and their owner"),
            })
        })
    }

    fn replace(&self, database: Option<Arc<Database>>) {
        match self.database.write() {
            Ok(mut slot) => *slot = database,
            Err(poisoned) => *poisoned.into_inner() = database,
        }
    }

    /// The database for a batch: after a failure it is opened again.
    fn reopened(&self) -> Result<Arc<Database>, StoreError> {
        if let Some(database) = self.database() {
            return Ok(database);
        }
        let database = Arc::new(Self::open(&self.path, self.cache_bytes)?);
        tracing::warn!(path = %self.path.display(), "the database is open again");
        self.replace(Some(Arc::clone(&database)));
        Ok(database)
    }
}

/// Makes the file, where there is none, for its owner alone: it holds password hashes.
pub(super) fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map(drop)
}

/// Runs until all senders are gone; then makes durable what is not yet.
pub(super) fn run(handle: &Handle, jobs: &Receiver<Box<dyn Job>>) {
    let mut lazy_since: Option<Instant> = None;
    loop {
        let patience = lazy_since.map_or(IDLE, |since| LAZY.saturating_sub(since.elapsed()));
        let batch = match jobs.recv_timeout(patience) {
            Ok(first) => std::iter::once(first).chain(jobs.try_iter().take(BATCH - 1)).collect(),
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let overdue = lazy_since.is_some_and(|since| since.elapsed() >= LAZY);
        if batch.is_empty() && !overdue {
            continue;
        }
        lazy_since = lazy_after(commit(handle, batch, overdue), lazy_since, Instant::now());
    }
    if lazy_since.is_some() {
        commit(handle, Vec::new(), true);
    }
}

/// Since when metrics wait for their fsync, after a commit.
fn lazy_after(committed: Verdict, since: Option<Instant>, now: Instant) -> Option<Instant> {
    match committed {
        Verdict::Nothing => since,
        Verdict::Lazy => since.or(Some(now)),
        Verdict::Durable => None,
        // The disk is full or gone: the next try is later, not at once and for ever.
        Verdict::Broken(_) => since.map(|_| now),
    }
}

/// Runs a batch in one transaction and tells everybody. Says what was committed.
fn commit(handle: &Handle, mut batch: Vec<Box<dyn Job>>, overdue: bool) -> Verdict {
    let outcome = handle
        .reopened()
        .and_then(|database| write(&database, &mut batch, overdue));
    let (verdict, told) = match outcome {
        Ok(verdict) => (verdict, Ok(())),
        Err(error) => {
            // redb refuses writes after an I/O error until the database is opened again.
            if matches!(error, StoreError::Unavailable(_)) {
                tracing::error!(%error, path = %handle.path.display(), "a commit failed");
                handle.replace(None);
            }
            (Verdict::Broken("the commit failed"), Err(error))
        }
    };
    for job in batch {
        job.finish(told.clone());
    }
    verdict
}

fn write(database: &Database, batch: &mut [Box<dyn Job>], overdue: bool) -> Result<Verdict, StoreError> {
    let tx = Changing::new(database.begin_write().map_err(storage)?);
    let mut verdict = if overdue { Verdict::Durable } else { Verdict::Nothing };
    for job in batch {
        // A panic in a job must not take the writer with it, nor leave half of itself behind.
        let ran = catch_unwind(AssertUnwindSafe(|| job.run(&tx))).unwrap_or(Verdict::Broken("it panicked"));
        match ran {
            Verdict::Nothing => {}
            Verdict::Lazy if verdict == Verdict::Durable => {}
            Verdict::Lazy | Verdict::Durable => verdict = ran,
            Verdict::Broken(rule) => {
                tracing::error!(rule, "a change broke the store's rules; its batch was undone");
                tx.into_inner().abort().map_err(storage)?;
                return Err(StoreError::Broken(rule));
            }
        }
    }
    settle(tx.into_inner(), verdict)?;
    Ok(verdict)
}

fn settle(mut tx: WriteTransaction, verdict: Verdict) -> Result<(), StoreError> {
    let durability = match verdict {
        Verdict::Durable => Durability::Immediate,
        Verdict::Lazy => Durability::None,
        Verdict::Nothing | Verdict::Broken(_) => return tx.abort().map_err(storage),
    };
    tx.set_durability(durability)
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    // Users choose what is in it: no crafted value may make a torn commit look whole.
    tx.set_two_phase_commit(true);
    tx.set_quick_repair(verdict == Verdict::Durable);
    tx.commit().map_err(storage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fsync_that_fails_is_tried_again_later_and_not_at_once() {
        let began = Instant::now();
        let failed = began + LAZY;
        let since = lazy_after(Verdict::Broken("disk full"), Some(began), failed);
        assert_eq!(since, Some(failed));
        assert_eq!(lazy_after(Verdict::Durable, since, failed), None);
        assert_eq!(lazy_after(Verdict::Lazy, since, failed + LAZY), since);
        assert_eq!(lazy_after(Verdict::Broken("disk full"), None, failed), None);
    }
}
