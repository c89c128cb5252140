//! The single writer: a thread that commits all waiting jobs together.
//!
//! Owns the batches, their durability, and the reopening of the database after an I/O error. It must not know what a
//! job writes. Concurrent callers share one fsync, so that acknowledging only durable changes remains affordable. A
//! batch that contains only metrics is committed without an fsync, and becomes durable within [`LAZY`].

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

/// The maximum time that metrics may wait for their fsync.
const LAZY: Duration = Duration::from_secs(2);

/// The pause between two attempts to reopen the database, if no job arrives.
const RETRY: Duration = Duration::from_secs(1);

/// The maximum time that the writer sleeps if it has nothing to do.
const IDLE: Duration = Duration::from_secs(3600);

/// The maximum number of jobs in a batch. It limits how long the first job in a batch waits for the last.
const BATCH: usize = 256;

/// The effect of a job on the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Verdict {
    /// The job wrote nothing: it was refused, or had nothing to do.
    Nothing,
    /// The job wrote data that may be lost in a crash.
    Lazy,
    /// The job wrote data that must be on disk before the job is acknowledged.
    Durable,
    /// The job violated the store's rules, so the transaction must be aborted.
    Broken(&'static str),
}

/// A job for the writer.
pub(in crate::store) trait Job: Send {
    /// Runs the job in the batch's transaction.
    fn run(&mut self, tx: &WriteTx) -> Verdict;
    /// Sends the caller its result after the commit has succeeded or failed.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A job that writes nothing, but makes the writer reopen a database that has failed.
pub(in crate::store) struct Wake;

impl Job for Wake {
    fn run(&mut self, _: &WriteTx) -> Verdict {
        Verdict::Nothing
    }

    fn finish(self: Box<Self>, _: Result<(), StoreError>) {}
}

/// A function called with the write set of each commit.
type Follower = Box<dyn Fn(&WriteSet) + Send + Sync>;

/// All followers. They are called once for each commit, in commit order.
#[derive(Default)]
pub(in crate::store) struct Followers {
    followers: RwLock<Vec<Follower>>,
    /// True if a follower needs the rows, and not only the effects.
    rows: AtomicBool,
}

impl Followers {
    /// Passes the write set of every later commit to `follower`. `follower` runs on the writer's thread: it must return
    /// quickly and must not block.
    pub(in crate::store) fn add(&self, follower: impl Fn(&WriteSet) + Send + Sync + 'static) {
        let mut followers = self.followers.write().unwrap_or_else(PoisonError::into_inner);
        followers.push(Box::new(follower));
    }

    /// Makes the write set of every later commit list its rows.
    #[cfg(test)]
    pub(in crate::store) fn list_rows(&self) {
        self.rows.store(true, Ordering::Release);
    }

    /// Returns an empty write set for the next commit.
    fn write_set(&self) -> WriteSet {
        match self.rows.load(Ordering::Acquire) {
            true => WriteSet::with_rows(),
            false => WriteSet::default(),
        }
    }

    fn notify(&self, writes: &WriteSet) {
        for follower in self.followers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            // A panic must not stop the writer.
            if catch_unwind(AssertUnwindSafe(|| follower(writes))).is_err() {
                tracing::error!("a commit follower panicked; it may have missed a commit");
            }
        }
    }
}

/// Runs the writer until all senders have been dropped, then makes the last metrics durable.
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

/// Returns the time to wait for the next job. While the database is closed, the wait is short, because readers need the
/// database too.
fn patience(open: bool, lazy_since: Option<Instant>) -> Duration {
    let patience = lazy_since.map_or(IDLE, |since| LAZY.saturating_sub(since.elapsed()));
    if open { patience } else { patience.min(RETRY) }
}

/// Returns the time since which metrics have been waiting for their fsync, after a commit with the result `committed`.
fn lazy_after(committed: Verdict, since: Option<Instant>, now: Instant) -> Option<Instant> {
    match committed {
        Verdict::Nothing => since,
        Verdict::Lazy => since.or(Some(now)),
        Verdict::Durable => None,
        // The disk is full or gone: retry later, not in a tight loop.
        Verdict::Broken(_) => since.map(|_| now),
    }
}

/// Runs a batch in one transaction and sends each caller its result. Returns the kind of commit.
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
            // The followers are notified first, so that all waiting requests have been woken by the time a caller
            // receives its result.
            followers.notify(&writes);
            (verdict, Ok(()))
        }
        Err(error) => {
            tracing::error!("a commit failed: {error}");
            // After an I/O error, redb refuses every operation until the database is reopened.
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
    // A file that is damaged while open may make redb panic. The callers in this batch and in later ones must still
    // receive a result.
    catch_unwind(AssertUnwindSafe(|| {
        write(begin(handle, followers.write_set())?, batch, overdue)
    }))
    .unwrap_or_else(|_| Err(StoreError::Unavailable("a commit panicked".to_owned())))
}

/// Begins a transaction. A disk failure since the last commit is detected only here. The database is then reopened,
/// and beginning the transaction is retried once.
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
        // A panic in a job must not stop the writer, or leave only some of the job's writes in place.
        let ran = catch_unwind(AssertUnwindSafe(|| job.run(&tx))).unwrap_or(Verdict::Broken("it panicked"));
        match ran {
            Verdict::Nothing => {}
            Verdict::Lazy if verdict == Verdict::Durable => {}
            Verdict::Lazy | Verdict::Durable => verdict = ran,
            Verdict::Broken(rule) => {
                if tx.has_failed() {
                    return Err(failed());
                }
                tracing::error!("a change violated the store's rules ({rule}); its batch was undone");
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

/// Returns the error for the other jobs in a batch during which the disk failed. The job that encountered the failure
/// returns the details.
fn failed() -> StoreError {
    StoreError::Unavailable("the disk failed during a change".to_owned())
}

/// Commits the transaction with the durability that `verdict` requires, or aborts it.
fn finish(mut tx: WriteTransaction, verdict: Verdict) -> Result<(), StoreError> {
    let durability = match verdict {
        Verdict::Durable => Durability::Immediate,
        Verdict::Lazy => Durability::None,
        Verdict::Nothing | Verdict::Broken(_) => return tx.abort().map_err(storage),
    };
    tx.set_durability(durability)
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    // Users choose the stored values. Two-phase commit ensures that no crafted value can make a torn commit look
    // complete. Saving the allocator's state with every commit (redb's quick repair) would not help, because all pages
    // are verified at every opening anyway.
    tx.set_two_phase_commit(true);
    tx.commit().map_err(storage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_fsync_is_retried_later_and_not_immediately() {
        let began = Instant::now();
        let failed = began + LAZY;
        let since = lazy_after(Verdict::Broken("disk full"), Some(began), failed);
        assert_eq!(since, Some(failed));
        assert_eq!(lazy_after(Verdict::Durable, since, failed), None);
        assert_eq!(lazy_after(Verdict::Lazy, since, failed + LAZY), since);
        assert_eq!(lazy_after(Verdict::Broken("disk full"), None, failed), None);
    }
}
