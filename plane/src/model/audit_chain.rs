//! The audit log's chain: the next record, and the detection of a clock that was set back.
//!
//! Owns the content of a record and its link to the previous record. It must not do any I/O: the shared library
//! computes the hash, and the store keeps the rows.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wgctl::Timestamp;
use wgctl::api::{AuditRecord, Head};
use wgctl::audit::follow;

use super::caller::{Author, Entry};

/// The maximum disorder of times within a run. The times of records in one commit may be a few seconds apart, in any
/// order. If the time of a record is earlier than the latest time in the run by more than this, the clock is assumed to
/// have been set back, and the record begins a new run. Within a run, the time of a record therefore never precedes
/// that of an earlier record by more than this.
pub(crate) const DISORDER: Duration = Duration::from_secs(300);

/// The newest record, and the latest time in its run.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Chain {
    pub(crate) head: Head,
    latest: Timestamp,
}

impl Chain {
    /// Appends an entry by `author` and returns its record, which is chained to the previous record.
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

    /// Makes `record` the newest record. Returns whether it begins a run.
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

/// A record that has been appended to the chain.
pub(crate) struct ChainedRecord {
    pub(crate) record: AuditRecord,
    /// True if the clock was set back before this record.
    pub(crate) begins_run: bool,
}
