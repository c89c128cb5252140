//! Reading the audit log. It is written by the store alone, with every change.
//!
//! Owns the query's bounds and the paging.

use wgctl::Timestamp;
use wgctl::api::AuditRecord;

use super::{Caller, Fleet, Refusal};
use crate::store::prelude::*;
use crate::store::{Action, AuditFilter, Changing, Done, Entry, Reading};

/// Records in a page of the whole log, and the most that one query gives.
const PAGE: usize = 1000;

/// Records of a query that does not say how many.
const LIMIT: usize = 100;

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

/// The whole log in pages, oldest first, as it was when it was asked for.
pub struct AuditPages {
    fleet: Fleet,
    next: u64,
    last: u64,
}

impl AuditPages {
    /// The next records, at most 1,000; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<AuditRecord>>, Refusal> {
        let (from, to) = (self.next, self.last);
        if from > to {
            return Ok(None);
        }
        let read = async move |tx: &Reading| Ok::<_, Refusal>(tx.audit_from(from, to, PAGE).await?);
        let records = self.fleet.store().scan(read).await?;
        let Some(newest) = records.last() else {
            return Ok(None);
        };
        self.next = newest.id + 1;
        Ok(Some(records))
    }
}

impl Fleet {
    /// Records of the audit log, newest first.
    pub async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditRecord>, Refusal> {
        let limit = query.limit.unwrap_or(LIMIT);
        if !(1..=PAGE).contains(&limit) {
            return Err(Refusal::field_value(
                "limit",
                format!("{limit} records: give 1 to {PAGE}"),
            ));
        }
        let offset = query.offset;
        let filter = AuditFilter {
            actor: query.actor,
            action: query.action,
            target: query.target,
            since: query.since,
            until: query.until,
        };
        self.store()
            .scan(async move |tx: &Reading| Ok(tx.audit_newest(&filter, offset, limit).await?))
            .await
    }

    /// The whole audit log as it is now.
    pub async fn audit_pages(&self) -> Result<AuditPages, Refusal> {
        let last = self.store().read(async |tx| Ok::<_, Refusal>(tx.audit_last().await?))?;
        Ok(AuditPages {
            fleet: self.clone(),
            next: 1,
            last,
        })
    }

    /// Records that an agent asked for what is not its own.
    pub async fn agent_refused(&self, caller: &Caller, target: &str) -> Result<(), Refusal> {
        let entry = Entry::new(Action::AgentRefused, target);
        self.change(caller, async move |_: &Changing| Ok(Done::new((), entry)))
            .await
    }
}
