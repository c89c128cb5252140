//! The audit log. Rows are appended by the store itself, in the transaction of what they tell.

use std::ops::ControlFlow;

use wgctl::Timestamp;
use wgctl::api::AuditRecord;

use super::caller::Entry;
use super::error::StoreError;
use super::key;
use super::rows::{ChangeRows, Order, Rows, Span, parse};
use super::schema;

/// Which records to read; what is absent excludes nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditFilter {
    pub(crate) actor: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

impl AuditFilter {
    fn is_open(&self) -> bool {
        self.actor.is_none()
            && self.action.is_none()
            && self.target.is_none()
            && self.since.is_none()
            && self.until.is_none()
    }

    fn admits(&self, record: &AuditRecord) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let below = |wanted: &String| {
            let rest = record.target.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        same(&self.actor, &record.actor)
            && same(&self.action, &record.action)
            && self.target.as_ref().is_none_or(below)
            && self.since.is_none_or(|since| record.created_at >= since)
            && self.until.is_none_or(|until| record.created_at < until)
    }
}

/// Reading the log.
pub(crate) trait ReadAudit {
    /// Matching records, newest first.
    async fn audit_newest(
        &self,
        filter: &AuditFilter,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StoreError>;
    /// Records from number `from` to `to` (both included), oldest first, at most `limit`.
    async fn audit_from(&self, from: u64, to: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError>;
    /// The newest record's number; 0 for none.
    async fn audit_last(&self) -> Result<u64, StoreError>;
}

fn last(rows: &impl Rows) -> Result<u64, StoreError> {
    let newest = rows.some(schema::AUDIT, Span::under(&[]), Order::Down, 1)?;
    Ok(newest.first().map_or(0, |(key, _)| u64::from_be_bytes(key::tail(key))))
}

impl<R: Rows> ReadAudit for R {
    async fn audit_newest(
        &self,
        filter: &AuditFilter,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let mut found = Vec::new();
        let mut span = Span::under(&[]);
        let mut skip = offset;
        if filter.is_open() {
            // Numbers have no gaps: the offset is a place.
            let Some(newest) = last(self)?.checked_sub(offset as u64).filter(|number| *number > 0) else {
                return Ok(found);
            };
            span = span.to(newest.to_be_bytes().to_vec());
            skip = 0;
        }
        if limit == 0 {
            return Ok(found);
        }
        self.visit(schema::AUDIT, span, Order::Down, |_, value| {
            let record: AuditRecord = parse(schema::AUDIT, value)?;
            if filter.admits(&record) {
                if skip > 0 {
                    skip -= 1;
                } else {
                    found.push(record);
                }
            }
            Ok(if found.len() >= limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        Ok(found)
    }

    async fn audit_from(&self, from: u64, to: u64, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        let span = Span::under(&[])
            .from(from.to_be_bytes().to_vec())
            .to(to.to_be_bytes().to_vec());
        let rows = self.some(schema::AUDIT, span, Order::Up, limit)?;
        rows.iter().map(|(_, value)| parse(schema::AUDIT, value)).collect()
    }

    async fn audit_last(&self) -> Result<u64, StoreError> {
        last(self)
    }
}

/// Appends a record.
pub(super) fn append(
    tx: &impl ChangeRows,
    actor: &str,
    ip: &str,
    now: Timestamp,
    entry: &Entry,
) -> Result<(), StoreError> {
    let id = last(tx)? + 1;
    let record = AuditRecord {
        id,
        actor: actor.to_owned(),
        action: entry.action.as_str().to_owned(),
        target: entry.target.clone(),
        ip: ip.to_owned(),
        created_at: now,
        detail: entry.detail.clone(),
    };
    tx.put_json(schema::AUDIT, &id.to_be_bytes(), &record)
}
