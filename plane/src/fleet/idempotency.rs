//! Idempotency keys: a repeated request to create something gets the response to the first request.
//!
//! Owns the stored responses and their retention. It must not depend on the HTTP header.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wgctl::Timestamp;
use wgctl::protocol::v1::Sealed;

use super::Refusal;
use crate::model::records::Answer;
use crate::store::{DurableWrite, Read};

/// The time for which a response is kept.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Encrypts stored responses, which may contain a token, so that a stolen database does not reveal them.
pub trait Vault: Send + Sync {
    /// Encrypts `plain`.
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String>;
    /// Decrypts `sealed`, which is the output of [`seal`](Self::seal).
    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String>;
}

/// The identity of a request. Requests with equal hashes are the same request.
#[derive(Clone)]
pub struct Idempotency {
    /// SHA-256 of the caller, the method, the path and the Idempotency-Key.
    pub scope: [u8; 32],
    /// SHA-256 of the body.
    pub body: [u8; 32],
    /// The vault that seals the stored response.
    pub vault: Arc<dyn Vault>,
}

/// The result of looking up an earlier response.
pub(super) enum Before<T> {
    /// The earlier response.
    Answered(T),
    /// There is no earlier response. Seal the new response with [`First::seal`], then write it.
    New(First),
}

/// A request to which there is no stored response yet.
pub(super) struct First {
    once: Option<(Idempotency, Option<Answer>)>,
    now: Timestamp,
}

/// Looks up the earlier response to a request. A request without an idempotency key has none.
pub(super) fn before<T: DeserializeOwned>(
    tx: &dyn Read,
    once: Option<Idempotency>,
    now: Timestamp,
) -> Result<Before<T>, Refusal> {
    let Some(once) = once else {
        return Ok(Before::New(First { once: None, now }));
    };
    match tx.answer(&once.scope)? {
        Some(answer) if now.since(answer.at) < KEPT => {
            if answer.body != once.body {
                return Err(Refusal::IdempotencyConflict);
            }
            let plain = once.vault.open(&answer.sealed.0).map_err(lost)?;
            let value = serde_json::from_slice(&plain).map_err(|error| lost(error.to_string()))?;
            Ok(Before::Answered(value))
        }
        old => Ok(Before::New(First {
            once: Some((once, old)),
            now,
        })),
    }
}

fn lost(reason: impl std::fmt::Display) -> Refusal {
    Refusal::Internal(format!(
        "the first response to this Idempotency-Key cannot be read ({reason}): use a new key"
    ))
}

/// A sealed response, to be written in the same transaction as the change.
pub(super) struct FirstAnswer(Option<(Idempotency, Option<Answer>, Answer)>);

impl First {
    /// Seals the response. Call this before the first write, because sealing can fail.
    pub(super) fn seal<T: Serialize>(self, value: &T) -> Result<FirstAnswer, Refusal> {
        let Some((once, old)) = self.once else {
            return Ok(FirstAnswer(None));
        };
        let plain = serde_json::to_vec(value).map_err(|error| Refusal::Internal(error.to_string()))?;
        let sealed = once.vault.seal(&plain).map_err(Refusal::Internal)?;
        let answer = Answer {
            body: once.body,
            at: self.now,
            sealed: Sealed(sealed),
        };
        Ok(FirstAnswer(Some((once, old, answer))))
    }
}

impl FirstAnswer {
    /// Writes the response in the transaction of the change.
    pub(super) fn write(&self, tx: &dyn DurableWrite) -> Result<(), Refusal> {
        if let Some((once, old, answer)) = &self.0 {
            tx.put_answer(&once.scope, answer, old.as_ref())?;
        }
        Ok(())
    }
}
