//! The one writer: a thread that takes what waits and commits it together.
//!
//! Owns the batches, their durability, and when the database is opened again after an I/O error. It
//! must not know what a job writes. Concurrent callers share one fsync: that is what makes durable
//! before acknowledged affordable. A batch of metrics alone is committed without fsync, and made
//! durable [`LAZY`] later at the latest.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{Durability, WriteTransaction};

use crate::store::write_set::WriteSet;

use super::database::Handle;
use super::rows::{WriteTx, storage};
use super::writer_metrics::{CommitKind, WriterMetrics};
use crate::store::error::StoreError;

/// How long metrics may wait for their fsync.
const LAZY: Duration = Duration::from_secs(2);

/// How long a database that could not be opened again is left alone, when nobody writes.
const RETRY: Duration = Duration::from_secs(1);

/// How long the writer sleeps when nothing waits for it.
const IDLE: Duration = Duration::from_secs(3600);

/// Bounds how long the first of a batch waits for the last.
const BATCH: usize = 256;

/// What a job did to the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
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
pub(crate) trait Job: Send {
    /// Decides and writes.
    fn run(&mut self, tx: &WriteTx) -> Verdict;
    /// Tells who waits, after the commit or its failure.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

/// Nothing to write, but a reason to look after the database.
pub(crate) struct Wake;

impl Job for Wake {
    fn run(&mut self, _: &WriteTx) -> Verdict {
        Verdict::Nothing
    }

    fn finish(self: Box<Self>, _: Result<(), StoreError>) {}
}

/// Someone who follows the commits.
type Follower = Box<dyn Fn(&WriteSet) + Send + Sync>;

/// Those who follow the commits, in the order of the commits.
#[derive(Default)]
pub(crate) struct Followers(RwLock<Vec<Follower>>);

impl Followers {
    /// Hands every commit from now on to `follower`, on the writer's thread: it must be quick and must not wait.
    pub(crate) fn add(&self, follower: impl Fn(&WriteSet) + Send + Sync + 'static) {
        let mut followers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        followers.push(Box::new(follower));
    }

    fn tell(&self, writes: &WriteSet) {
        for follower in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            // A panic must not take the writer with it.
            if catch_unwind(AssertUnwindSafe(|| follower(writes))).is_err() {
                tracing::error!("a follower of the commits panicked; it may have missed one");
            }
        }
    }
}

/// Runs until all senders are gone; then makes durable what is not yet.
pub(crate) fn run(handle: &Handle, jobs: &Receiver<Box<dyn Job>>, measured: &WriterMetrics, followers: &Followers) {
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
                handle.reopen_or_say();
            }
            continue;
        }
        lazy_since = lazy_after(
            commit(handle, batch, overdue, measured, followers),
            lazy_since,
            Instant::now(),
        );
    }
    if lazy_since.is_some() {
        commit(handle, Vec::new(), true, measured, followers);
    }
}

/// How long to wait for the next job. Readers wait for nobody: a closed database is opened for them.
fn patience(open: bool, lazy_since: Option<Instant>) -> Duration {
    let patience = lazy_since.map_or(IDLE, |since| LAZY.saturating_sub(since.elapsed()));
    if open { patience } else { patience.min(RETRY) }
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
fn commit(
    handle: &Handle,
    mut batch: Vec<Box<dyn Job>>,
    overdue: bool,
    measured: &WriterMetrics,
    followers: &Followers,
) -> Verdict {
    let began = Instant::now();
    let outcome = attempt(handle, &mut batch, overdue);
    let (verdict, told) = match outcome {
        Ok((verdict, writes)) => {
            // Before anybody is answered: whoever was answered finds that the others were woken.
            followers.tell(&writes);
            (verdict, Ok(()))
        }
        Err(error) => {
            tracing::error!("a commit failed: {error}");
            // redb refuses everything after an I/O error until the database is opened again.
            if matches!(error, StoreError::Unavailable(_)) && handle.is_open() {
                handle.reopen_or_say();
            }
            (Verdict::Broken("the commit failed"), Err(error))
        }
    };
    let ended = match verdict {
        Verdict::Nothing => None,
        Verdict::Lazy => Some(CommitKind::Lazy),
        Verdict::Durable => Some(CommitKind::Durable),
        Verdict::Broken(_) => Some(CommitKind::Failed),
    };
    if let Some(ended) = ended {
        measured.committed(ended, batch.len(), began.elapsed());
    }
    for job in batch {
        job.finish(told.clone());
    }
    verdict
}

fn attempt(handle: &Handle, batch: &mut [Box<dyn Job>], overdue: bool) -> Result<(Verdict, WriteSet), StoreError> {
    if !handle.is_open() {
        handle.reopen()?;
    }
    handle.check_room()?;
    // What redb meets in a file that went bad under it may make it panic: the next batch, and the
    // one that waits now, must be answered all the same.
    catch_unwind(AssertUnwindSafe(|| write(begin(handle)?, batch, overdue)))
        .unwrap_or_else(|_| Err(StoreError::Unavailable("a commit panicked".to_owned())))
}

/// A transaction. That the disk failed after the last commit shows only now, and is nobody's fault.
fn begin(handle: &Handle) -> Result<WriteTx, StoreError> {
    let begun = handle.begin_write();
    if matches!(begun, Err(StoreError::Unavailable(_))) {
        handle.reopen()?;
        return handle.begin_write().map(WriteTx::new);
    }
    begun.map(WriteTx::new)
}

fn write(tx: WriteTx, batch: &mut [Box<dyn Job>], overdue: bool) -> Result<(Verdict, WriteSet), StoreError> {
    let mut verdict = if overdue { Verdict::Durable } else { Verdict::Nothing };
    for job in batch {
        if tx.has_failed() {
            return Err(failed());
        }
        // A panic in a job must not take the writer with it, nor leave half of itself behind.
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
    settle(tx, verdict)?;
    Ok((verdict, writes))
}

/// The disk failed while a change was decided or written; its own answer says how.
fn failed() -> StoreError {
    StoreError::Unavailable("the disk failed under a change".to_owned())
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
    // A state of the allocator with every commit would be of no use: every opening verifies all.
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
