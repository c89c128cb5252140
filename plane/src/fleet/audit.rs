//! Reading the audit log. It is written by the store alone, with every change.

use wgctl::Timestamp;
use wgctl::api::AuditRecord;

use super::{Caller, Fleet, Refusal};

/// Which records to read, newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// 1 to 1,000; default 100.
    pub limit: Option<usize>,
    /// How many matching records to skip.
    pub offset: usize,
    /// Exactly this actor.
    pub actor: Option<String>,
    /// Exactly this action.
    pub action: Option<String>,
    /// Exactly this target, or everything below it (`los-angeles` finds `los-angeles/alice`).
    pub target: Option<String>,
    /// At or after this moment.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

/// The whole log in pages, oldest first.
pub struct AuditPages {
    fleet: Fleet,
    next: u64,
}

impl AuditPages {
    /// The next records, at most 1,000; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<AuditRecord>>, Refusal> {
        todo!()
    }
}

impl Fleet {
    /// Records of the audit log, newest first.
    pub async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditRecord>, Refusal> {
        todo!()
    }
    /// The whole audit log as it is now.
    pub async fn audit_pages(&self) -> Result<AuditPages, Refusal> {
        todo!()
    }
    /// Records that an agent asked for what is not its own.
    pub async fn agent_refused(&self, caller: &Caller, target: &str) -> Result<(), Refusal> {
        todo!()
    }
}
