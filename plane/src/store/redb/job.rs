//! The writer's jobs: changes, each with its author, and the recording of metrics.
//!
//! Owns two rules: nothing is changed without an audit record, and a refused change has written nothing. It must not
//! know what is changed.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use wgctl::audit::Signer;

use super::rows::WriteTx;
use super::tables::audit;
use super::writer::{Job, Verdict};
use crate::model::caller::Author;
use crate::store::change::Change;
use crate::store::error::StoreError;
use crate::store::transaction::DurableWrite;

/// The channel for a job's result, together with the job's place in the queue. The place belongs to the job and not to
/// the caller, because a caller may hang up while its job is still waiting.
pub(in crate::store) struct Reply<R> {
    to: oneshot::Sender<R>,
    _place: OwnedSemaphorePermit,
}

impl<R> Reply<R> {
    pub(in crate::store) fn new(place: OwnedSemaphorePermit) -> (Self, oneshot::Receiver<R>) {
        let (to, answer) = oneshot::channel();
        (Self { to, _place: place }, answer)
    }

    /// Sends the result, unless the caller has hung up.
    fn send(self, answer: R) {
        let _ = self.to.send(answer);
    }
}

/// A job whose result is sent to `reply`.
struct PendingJob<F, T, E> {
    run: Option<F>,
    outcome: Option<Result<T, E>>,
    reply: Reply<Result<T, E>>,
}

impl<F, T, E> Job for PendingJob<F, T, E>
where
    F: FnOnce(&WriteTx) -> (Result<T, E>, Verdict) + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, tx: &WriteTx) -> Verdict {
        let Some(run) = self.run.take() else {
            return Verdict::Broken("it ran twice");
        };
        let (outcome, verdict) = run(tx);
        self.outcome = Some(outcome);
        verdict
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (committed, self.outcome) {
            // A refusal is returned regardless of the outcome of the batch.
            (Ok(()), Some(outcome)) | (Err(_), Some(outcome @ Err(_))) => outcome,
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Err(StoreError::Broken("it never ran").into()),
        };
        self.reply.send(answer);
    }
}

/// Creates a job that runs `run`.
fn boxed<F, T, E>(run: F, reply: Reply<Result<T, E>>) -> Box<dyn Job>
where
    F: FnOnce(&WriteTx) -> (Result<T, E>, Verdict) + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    Box::new(PendingJob {
        run: Some(run),
        outcome: None,
        reply,
    })
}

/// Creates a job that makes a change and appends its audit entries.
pub(in crate::store) fn change<T, E>(
    author: Author,
    signer: Option<Arc<Signer>>,
    change: impl FnOnce(&dyn DurableWrite) -> Result<Change<T>, E> + Send + 'static,
    reply: Reply<Result<T, E>>,
) -> Box<dyn Job>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let run = move |tx: &WriteTx| {
        tx.begin(author.request);
        let outcome = change(tx);
        let wrote = tx.take_dirty();
        match outcome {
            Err(error) if wrote => (Err(error), Verdict::Broken("it wrote, then failed")),
            Err(error) => (Err(error), Verdict::Nothing),
            Ok(change) if change.audit.is_empty() && wrote => broken("it wrote without an audit record"),
            Ok(change) if change.audit.is_empty() => (Ok(change.value), Verdict::Nothing),
            Ok(change) => {
                let appended = audit::append(tx, &author, signer.as_deref(), &change.audit);
                tx.take_dirty();
                match appended {
                    Ok(()) => (Ok(change.value), Verdict::Durable),
                    Err(error) => (
                        Err(error.into()),
                        Verdict::Broken("its audit record could not be written"),
                    ),
                }
            }
        }
    };
    boxed(run, reply)
}

/// Creates a job that records metrics. Its writes, if any, are committed with `durability`.
pub(in crate::store) fn record<T, E>(
    durability: Verdict,
    record: impl FnOnce(&WriteTx) -> Result<T, E> + Send + 'static,
    reply: Reply<Result<T, E>>,
) -> Box<dyn Job>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let run = move |tx: &WriteTx| {
        let outcome = record(tx);
        let wrote = tx.take_dirty();
        match outcome {
            Err(error) if wrote => (Err(error), Verdict::Broken("it wrote, then failed")),
            outcome if wrote => (outcome, durability),
            outcome => (outcome, Verdict::Nothing),
        }
    };
    boxed(run, reply)
}

fn broken<T, E: From<StoreError>>(rule: &'static str) -> (Result<T, E>, Verdict) {
    (Err(StoreError::Broken(rule).into()), Verdict::Broken(rule))
}
