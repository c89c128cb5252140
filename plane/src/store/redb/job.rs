//! What is handed to the writer: a change with its author, or a recording of metrics.
//!
//! Owns the rule that nothing is changed without its audit record, and that what is refused has
//! written nothing. It must not know what is changed.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;
use wgctl::Timestamp;
use wgctl::audit::Signer;

use super::rows::{Changing, Recording};
use super::tables::audit;
use super::writer::{Job, Verdict};
use crate::model::caller::{Caller, Entry, one_line};
use crate::store::error::StoreError;

/// A change that was made, and what the audit log says of it.
pub(crate) struct Done<T> {
    value: T,
    audit: Vec<Entry>,
}

impl<T> Done<T> {
    /// Something was done.
    pub(crate) fn new(value: T, entry: Entry) -> Self {
        Self {
            value,
            audit: vec![entry],
        }
    }

    /// Several things were done at once.
    pub(crate) const fn all(value: T, audit: Vec<Entry>) -> Self {
        Self { value, audit }
    }

    /// Nothing was written: it was so already.
    pub(crate) fn nothing(value: T) -> Self {
        Self {
            value,
            audit: Vec::new(),
        }
    }
}

/// Who makes a change, and when.
pub(crate) struct Author {
    pub(super) actor: String,
    pub(super) ip: String,
    pub(super) request: Option<Uuid>,
    pub(super) now: Timestamp,
    /// Signs the log's checkpoints.
    pub(super) signer: Option<Arc<Signer>>,
}

impl Author {
    pub(crate) fn new(caller: &Caller, now: Timestamp, signer: Option<Arc<Signer>>) -> Self {
        Self {
            actor: one_line(&caller.actor.to_string()),
            ip: caller.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            request: caller.request,
            now,
            signer,
        }
    }
}

/// Where a job's answer goes, and its place in the queue: that is the job's and not its caller's, who may
/// hang up while the job still waits.
pub(crate) struct Reply<R> {
    to: oneshot::Sender<R>,
    _place: OwnedSemaphorePermit,
}

impl<R> Reply<R> {
    pub(crate) fn new(place: OwnedSemaphorePermit) -> (Self, oneshot::Receiver<R>) {
        let (to, answer) = oneshot::channel();
        (Self { to, _place: place }, answer)
    }

    /// Who asked may have gone away meanwhile.
    fn send(self, answer: R) {
        let _ = self.to.send(answer);
    }
}

/// A job whose answer goes to `reply`.
struct Waiting<F, T, E> {
    run: Option<F>,
    outcome: Option<Result<T, E>>,
    reply: Reply<Result<T, E>>,
}

impl<F, T, E> Job for Waiting<F, T, E>
where
    F: FnOnce(&Changing) -> (Result<T, E>, Verdict) + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, tx: &Changing) -> Verdict {
        let Some(run) = self.run.take() else {
            return Verdict::Broken("it ran twice");
        };
        let (outcome, verdict) = run(tx);
        self.outcome = Some(outcome);
        verdict
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let told = match (committed, self.outcome) {
            // A refusal stands whatever became of the batch.
            (Ok(()), Some(outcome)) | (Err(_), Some(outcome @ Err(_))) => outcome,
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Err(StoreError::Broken("it never ran").into()),
        };
        self.reply.send(told);
    }
}

fn waiting<F, T, E>(run: F, reply: Reply<Result<T, E>>) -> Box<dyn Job>
where
    F: FnOnce(&Changing) -> (Result<T, E>, Verdict) + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    Box::new(Waiting {
        run: Some(run),
        outcome: None,
        reply,
    })
}

pub(crate) fn change<T, E>(
    author: Author,
    change: impl AsyncFnOnce(&Changing) -> Result<Done<T>, E> + Send + 'static,
    reply: Reply<Result<T, E>>,
) -> Box<dyn Job>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let run = move |tx: &Changing| {
        tx.begin(author.request);
        let outcome = change(tx).now_or_never();
        let wrote = tx.take_dirty();
        match outcome {
            None => broken("it waited inside the transaction"),
            Some(Err(error)) if wrote => (Err(error), Verdict::Broken("it wrote, then failed")),
            Some(Err(error)) => (Err(error), Verdict::Nothing),
            Some(Ok(done)) if done.audit.is_empty() && wrote => broken("it wrote without an audit record"),
            Some(Ok(done)) if done.audit.is_empty() => (Ok(done.value), Verdict::Nothing),
            Some(Ok(done)) => {
                let appended = audit::append(tx, &author, &done.audit);
                tx.take_dirty();
                match appended {
                    Ok(()) => (Ok(done.value), Verdict::Durable),
                    Err(error) => (
                        Err(error.into()),
                        Verdict::Broken("its audit record could not be written"),
                    ),
                }
            }
        }
    };
    waiting(run, reply)
}

pub(crate) fn record<T, E>(
    durability: Verdict,
    record: impl AsyncFnOnce(&Recording<'_>) -> Result<T, E> + Send + 'static,
    reply: Reply<Result<T, E>>,
) -> Box<dyn Job>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let run = move |tx: &Changing| {
        let outcome = record(&Recording(tx)).now_or_never();
        let wrote = tx.take_dirty();
        match outcome {
            None => broken("it waited inside the transaction"),
            Some(Err(error)) if wrote => (Err(error), Verdict::Broken("it wrote, then failed")),
            Some(outcome) if wrote => (outcome, durability),
            Some(outcome) => (outcome, Verdict::Nothing),
        }
    };
    waiting(run, reply)
}

fn broken<T, E: From<StoreError>>(rule: &'static str) -> (Result<T, E>, Verdict) {
    (Err(StoreError::Broken(rule).into()), Verdict::Broken(rule))
}
