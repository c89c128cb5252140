//! A creating request that is sent again gets its first answer.
//!
//! Owns what is remembered of a request and for how long. It must not know the header.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wgctl::Timestamp;
use wgctl::protocol::v1::Sealed;

use super::Refusal;
use crate::model::records::Answer;
use crate::store::{DurableWrite, Read};

/// How long an answer is kept.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Keeps answers unreadable for who steals the database: an answer may hold a token.
pub trait Vault: Send + Sync {
    /// Encrypts.
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String>;
    /// Decrypts what `seal` made.
    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String>;
}

/// What makes two requests the same one.
#[derive(Clone)]
pub struct Idempotency {
    /// SHA-256 over who asks, the method, the path and their key.
    pub scope: [u8; 32],
    /// SHA-256 of the body.
    pub body: [u8; 32],
    /// Seals the answer at rest.
    pub vault: Arc<dyn Vault>,
}

/// Whether a request was answered before.
pub(super) enum Before<T> {
    /// Yes, so.
    Answered(T),
    /// No. When it is, [`First::keep`] what is answered.
    New(First),
}

/// A request's first time.
pub(super) struct First {
    once: Option<(Idempotency, Option<Answer>)>,
    now: Timestamp,
}

/// Looks whether a request was answered before; one without a key never was.
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
        "the first answer to this Idempotency-Key cannot be read ({reason}): use a new key"
    ))
}

/// An answer ready to be kept.
pub(super) struct FirstAnswer(Option<(Idempotency, Option<Answer>, Answer)>);

impl First {
    /// Seals the answer. This can fail, so it comes before the first write.
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
    /// Keeps the answer with the change that it answers.
    pub(super) fn write(&self, tx: &dyn DurableWrite) -> Result<(), Refusal> {
        if let Some((once, old, answer)) = &self.0 {
            tx.put_answer(&once.scope, answer, old.as_ref())?;
        }
        Ok(())
    }
}
