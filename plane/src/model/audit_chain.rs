//! The audit log's chain: the next record, and where a run of times begins.
//!
//! Owns the content of a record and its link to the record before it. It is pure: the shared library computes the
//! hash, and the store keeps the rows.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wgctl::Timestamp;
use wgctl::api::{AuditRecord, Head};
use wgctl::audit::follow;

use super::caller::{Author, Entry};

/// The tolerated disorder of times. Records of one commit may be seconds apart in any order; a record that is older
/// than this means that the clock was set back, and begins a run. Within a run no record is older than a record before
/// it by more.
pub(crate) const DISORDER: Duration = Duration::from_secs(300);

/// The newest record, and the latest time of its run.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Chain {
    pub(crate) head: Head,
    latest: Timestamp,
}

impl Chain {
    /// Appends an entry of `author` and returns its record, chained to the record before it.
    pub(crate) fn append(&mut self, author: &Author, entry: &Entry) -> ChainedRecord {
        let mut record = AuditRecord {
            id: self.head.id + 1,
            actor: author.actor.clone(),
            action: entry.action.as_str().to_owned(),
            target: entry.target.clone(),
            ip: author.ip.clone(),
            created_at: author.now,
            detail: entry.detail.clone(),
            request_id: author.request,
            changes: entry.changes.clone(),
            hash: Default::default(),
        };
        record.hash = follow(&self.head.hash, &record);
        let begins_run = self.extend(&record);
        ChainedRecord { record, begins_run }
    }

    /// Makes `record` the newest. Returns whether it begins a run.
    pub(crate) fn extend(&mut self, record: &AuditRecord) -> bool {
        let begins = self.head.id > 0 && record.created_at.after(DISORDER) < self.latest;
        self.latest = match begins {
            true => record.created_at,
            false => self.latest.max(record.created_at),
        };
        self.head = Head {
            id: record.id,
            hash: record.hash,
        };
        begins
    }
}

/// A record with its place in the chain.
pub(crate) struct ChainedRecord {
    pub(crate) record: AuditRecord,
    /// True if the clock was set back before it.
    pub(crate) begins_run: bool,
}
