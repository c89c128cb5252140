//! The one writer: a thread that commits all waiting jobs together.
//!
//! Owns the batches, their durability, and when the database is reopened after an I/O error. It must not know what a job
//! writes. Concurrent callers share one fsync, so that acknowledging only what is durable stays affordable. A batch of
//! metrics alone is committed without fsync, and becomes durable [`LAZY`] later at the latest.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{Durability, WriteTransaction};

use crate::store::write_set::WriteSet;

use super::database::Handle;
use super::rows::{WriteTx, storage};
use super::writer_metrics::{CommitKind, WriterMetrics};
use crate::store::error::StoreError;

/// The longest time that metrics may wait for their fsync.
const LAZY: Duration = Duration::from_secs(2);

/// The pause between two attempts to reopen the database, if no job arrives.
const RETRY: Duration = Duration::from_secs(1);

/// The longest sleep of the writer, if it has nothing to do.
const IDLE: Duration = Duration::from_secs(3600);

/// The largest batch. It limits how long the first job of a batch waits for the last.
const BATCH: usize = 256;

/// The effect of a job on the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Verdict {
    /// The job wrote nothing: it was refused, or had nothing to do.
    Nothing,
    /// The job wrote what may be lost in a crash.
    Lazy,
    /// The job wrote what must be on disk before it is acknowledged.
    Durable,
    /// The job broke the store's rules; the transaction must be aborted.
    Broken(&'static str),
}

/// A job for the writer.
pub(in crate::store) trait Job: Send {
    /// Decides and writes, in the transaction of the batch.
    fn run(&mut self, tx: &WriteTx) -> Verdict;
    /// Answers the caller, after the commit or its failure.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A job that writes nothing, but makes the writer reopen a database that failed.
pub(in crate::store) struct Wake;

impl Job for Wake {
    fn run(&mut self, _: &WriteTx) -> Verdict {
        Verdict::Nothing
    }

    fn finish(self: Box<Self>, _: Result<(), StoreError>) {}
}

/// A function called with the write set of each commit.
type Follower = Box<dyn Fn(&WriteSet) + Send + Sync>;

/// All followers. They are called in the order of the commits.
#[derive(Default)]
pub(in crate::store) struct Followers {
    followers: RwLock<Vec<Follower>>,
    /// Someone follows the rows, and not the effects alone.
    rows: AtomicBool,
}

impl Followers {
    /// Passes every later commit to `follower`, on the writer's thread: it must be quick and must not wait.
    pub(in crate::store) fn add(&self, follower: impl Fn(&WriteSet) + Send + Sync + 'static) {
        let mut followers = self.followers.write().unwrap_or_else(PoisonError::into_inner);
        followers.push(Box::new(follower));
    }

    /// Lists the rows in the write set of every later commit.
    #[cfg(test)]
    pub(in crate::store) fn list_rows(&self) {
        self.rows.store(true, Ordering::Release);
    }

    /// The write set of the next commit.
    fn write_set(&self) -> WriteSet {
        match self.rows.load(Ordering::Acquire) {
            true => WriteSet::with_rows(),
            false => WriteSet::default(),
        }
    }

    fn notify(&self, writes: &WriteSet) {
        for follower in self.followers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            // A panic must not end the writer.
            if catch_unwind(AssertUnwindSafe(|| follower(writes))).is_err() {
                tracing::error!("a follower of the commits panicked; it may have missed one");
            }
        }
    }
}

/// Runs until all senders are gone, then makes the last metrics durable.
pub(in crate::store) fn run(
    handle: &Handle,
    jobs: &Receiver<Box<dyn Job>>,
    metrics: &WriterMetrics,
    followers: &Followers,
) {
    let mut lazy_since: Option<Instant> = None;
    loop {
        let patience = patience(handle.is_open(), lazy_since);
        let batch = match jobs.recv_timeout(patience) {
            Ok(first) => std::iter::once(first).chain(jobs.try_iter().take(BATCH - 1)).collect(),
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let overdue = lazy_since.is_some_and(|since| since.elapsed() >= LAZY);
        if batch.is_empty() && !overdue {
            if !handle.is_open() {
                handle.reopen_or_log();
            }
            continue;
        }
        lazy_since = lazy_after(
            commit(handle, batch, overdue, metrics, followers),
            lazy_since,
            Instant::now(),
        );
    }
    if lazy_since.is_some() {
        commit(handle, Vec::new(), true, metrics, followers);
    }
}

/// Returns how long to wait for the next job. A closed database is retried soon, because readers need it too.
fn patience(open: bool, lazy_since: Option<Instant>) -> Duration {
    let patience = lazy_since.map_or(IDLE, |since| LAZY.saturating_sub(since.elapsed()));
    if open { patience } else { patience.min(RETRY) }
}

/// Returns the time since which metrics wait for their fsync, after a commit.
fn lazy_after(committed: Verdict, since: Option<Instant>, now: Instant) -> Option<Instant> {
    match committed {
        Verdict::Nothing => since,
        Verdict::Lazy => since.or(Some(now)),
        Verdict::Durable => None,
        // The disk is full or gone: retry later, not in a tight loop.
        Verdict::Broken(_) => since.map(|_| now),
    }
}

/// Runs a batch in one transaction and answers its callers. Returns the kind of commit.
fn commit(
    handle: &Handle,
    mut batch: Vec<Box<dyn Job>>,
    overdue: bool,
    metrics: &WriterMetrics,
    followers: &Followers,
) -> Verdict {
    let began = Instant::now();
    let outcome = attempt(handle, &mut batch, overdue, followers);
    let (verdict, result) = match outcome {
        Ok((verdict, writes)) => {
            // Before the callers are answered, so that an answered caller finds all waiters woken.
            followers.notify(&writes);
            (verdict, Ok(()))
        }
        Err(error) => {
            tracing::error!("a commit failed: {error}");
            // After an I/O error redb refuses everything until the database is reopened.
            if matches!(error, StoreError::Unavailable(_)) && handle.is_open() {
                handle.reopen_or_log();
            }
            (Verdict::Broken("the commit failed"), Err(error))
        }
    };
    let kind = match verdict {
        Verdict::Nothing => None,
        Verdict::Lazy => Some(CommitKind::Lazy),
        Verdict::Durable => Some(CommitKind::Durable),
        Verdict::Broken(_) => Some(CommitKind::Failed),
    };
    if let Some(kind) = kind {
        metrics.observe(kind, batch.len(), began.elapsed());
    }
    for job in batch {
        job.finish(result.clone());
    }
    verdict
}

fn attempt(
    handle: &Handle,
    batch: &mut [Box<dyn Job>],
    overdue: bool,
    followers: &Followers,
) -> Result<(Verdict, WriteSet), StoreError> {
    if !handle.is_open() {
        handle.reopen()?;
    }
    handle.check_room()?;
    // A file that was damaged while open may make redb panic. The callers of this batch and of the next must be answered
    // all the same.
    catch_unwind(AssertUnwindSafe(|| {
        write(begin(handle, followers.write_set())?, batch, overdue)
    }))
    .unwrap_or_else(|_| Err(StoreError::Unavailable("a commit panicked".to_owned())))
}

/// Begins a transaction. A disk that failed after the last commit is noticed only here: reopen and try once more.
fn begin(handle: &Handle, writes: WriteSet) -> Result<WriteTx, StoreError> {
    let begun = handle.begin_write();
    if matches!(begun, Err(StoreError::Unavailable(_))) {
        handle.reopen()?;
        return handle.begin_write().map(|tx| WriteTx::new(tx, writes));
    }
    begun.map(|tx| WriteTx::new(tx, writes))
}

fn write(tx: WriteTx, batch: &mut [Box<dyn Job>], overdue: bool) -> Result<(Verdict, WriteSet), StoreError> {
    let mut verdict = if overdue { Verdict::Durable } else { Verdict::Nothing };
    for job in batch {
        if tx.has_failed() {
            return Err(failed());
        }
        // A panic in a job must not end the writer, and must not leave half of its writes.
        let ran = catch_unwind(AssertUnwindSafe(|| job.run(&tx))).unwrap_or(Verdict::Broken("it panicked"));
        match ran {
            Verdict::Nothing => {}
            Verdict::Lazy if verdict == Verdict::Durable => {}
            Verdict::Lazy | Verdict::Durable => verdict = ran,
            Verdict::Broken(rule) => {
                if tx.has_failed() {
                    return Err(failed());
                }
                tracing::error!("a change broke the store's rules ({rule}); its batch was undone");
                tx.into_parts().0.abort().map_err(storage)?;
                return Err(StoreError::Broken(rule));
            }
        }
    }
    if tx.has_failed() {
        return Err(failed());
    }
    let (tx, writes) = tx.into_parts();
    finish(tx, verdict)?;
    Ok((verdict, writes))
}

/// The error for the rest of a batch whose transaction met a disk failure. The job that met it returns the details.
fn failed() -> StoreError {
    StoreError::Unavailable("the disk failed during a change".to_owned())
}

/// Commits with the durability of `verdict`, or aborts.
fn finish(mut tx: WriteTransaction, verdict: Verdict) -> Result<(), StoreError> {
    let durability = match verdict {
        Verdict::Durable => Durability::Immediate,
        Verdict::Lazy => Durability::None,
        Verdict::Nothing | Verdict::Broken(_) => return tx.abort().map_err(storage),
    };
    tx.set_durability(durability)
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    // Users choose the values: no crafted value may make a torn commit look complete. Saving the allocator's state with
    // every commit (redb's quick repair) would be of no use, because every opening verifies all pages.
    tx.set_two_phase_commit(true);
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
