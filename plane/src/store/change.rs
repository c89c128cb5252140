//! A change as its rule returns it, and who makes it.
//!
//! Owns the rule's result: the value for the caller, and the entries of the audit log. It must not know how either is
//! kept.

use std::sync::Arc;

use uuid::Uuid;
use wgctl::Timestamp;
use wgctl::audit::Signer;

use crate::model::caller::{Caller, Entry, one_line};

/// A change that a rule has made, and its audit entries.
pub(crate) struct Change<T> {
    pub(super) value: T,
    pub(super) audit: Vec<Entry>,
}

impl<T> Change<T> {
    /// A change with one audit entry.
    pub(crate) fn new(value: T, entry: Entry) -> Self {
        Self {
            value,
            audit: vec![entry],
        }
    }

    /// A change with several audit entries.
    pub(crate) const fn all(value: T, audit: Vec<Entry>) -> Self {
        Self { value, audit }
    }

    /// No change: nothing was written, because it was so already.
    pub(crate) fn none(value: T) -> Self {
        Self {
            value,
            audit: Vec::new(),
        }
    }
}

/// The author of a change, and when it is made.
pub(crate) struct Author {
    pub(super) actor: String,
    pub(super) ip: String,
    pub(super) request: Option<Uuid>,
    pub(super) now: Timestamp,
    /// Signs the log's checkpoints.
    pub(super) signer: Option<Arc<Signer>>,
}

impl Author {
    pub(super) fn new(caller: &Caller, now: Timestamp, signer: Option<Arc<Signer>>) -> Self {
        Self {
            actor: one_line(&caller.actor.to_string()),
            ip: caller.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            request: caller.request,
            now,
            signer,
        }
    }
}
