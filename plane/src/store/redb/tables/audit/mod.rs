//! The audit log. The store appends the records itself, in the transaction of the change that they describe.
//!
//! Owns the rows of the log: the chain's head, checkpoints and the statement about removed records (`chain`), the
//! indexes (`index`), and the queries that use the indexes (`query`). It must not decide the content of a record, or
//! when one is written.

pub(in crate::store::redb) mod chain;
mod index;
mod query;

use crate::store::transaction::{AuditExtent, AuditFilter, LossyWriteAudit, ReadAudit, WriteAudit};
use std::ops::ControlFlow;

use wgctl::Timestamp;
use wgctl::api::{AuditLine, AuditRecord, Checkpoint, Head, Pruned};
use wgctl::audit::{CHECKPOINT_EVERY, Signer, follow};

use crate::model::audit_chain::ChainedRecord;
use crate::model::caller::{Author, Entry};
use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows, parse};
use crate::store::table::Table;
use chain::{put_checkpoint, read_chain};

impl<R: Rows> ReadAudit for R {
    fn audit_newest(&self, filter: &AuditFilter, offset: usize, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        query::newest(self, filter, offset, limit)
    }

    fn audit_lines(&self, from: u64, to: u64, limit: usize) -> Result<(Vec<AuditLine>, Option<u64>), StoreError> {
        let span = |to: u64| {
            Span::under(&[])
                .from(from.to_be_bytes().to_vec())
                .to(to.to_be_bytes().to_vec())
        };
        // The number inside the record is not verified here, so the number in the key is used.
        let records = self.some(Table::Audit, span(to), Order::Up, limit)?;
        let Some(last) = records.last().map(|(key, _)| number(key)) else {
            return Ok((Vec::new(), None));
        };
        let marks = self.some(Table::AuditCheckpoints, span(last), Order::Up, usize::MAX)?;
        let mut marks = marks.iter().peekable();
        let mut lines = Vec::with_capacity(records.len() + marks.len());
        for (key, value) in &records {
            lines.push(AuditLine::Record(parse(Table::Audit, value)?));
            while let Some((_, mark)) = marks.next_if(|(of, _)| of <= key) {
                lines.push(AuditLine::Checkpoint(parse(Table::AuditCheckpoints, mark)?));
            }
        }
        Ok((lines, Some(last)))
    }

    fn audit_extent(&self) -> Result<AuditExtent, StoreError> {
        Ok(AuditExtent {
            pruned: self.json(Table::AuditChain, chain::PRUNED)?,
            head: read_chain(self)?.head,
        })
    }

    fn audit_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let newest = self.some(Table::AuditCheckpoints, Span::under(&[]), Order::Down, 1)?;
        let newest = newest.first();
        newest
            .map(|(_, value)| parse(Table::AuditCheckpoints, value))
            .transpose()
    }
}

impl<R: WriteRows> LossyWriteAudit for R {
    fn checkpoint_audit(&self, signer: &Signer, now: Timestamp) -> Result<bool, StoreError> {
        let head = read_chain(self)?.head;
        let covered = self.audit_checkpoint()?;
        let known = covered.is_some_and(|mark| mark.id == head.id && mark.public_key == signer.public_key());
        if head.id == 0 || known {
            return Ok(false);
        }
        put_checkpoint(self, signer, head, now)?;
        Ok(true)
    }
}

impl<R: WriteRows> WriteAudit for R {
    fn prune_audit(
        &self,
        before: Timestamp,
        limit: usize,
        signer: &Signer,
        now: Timestamp,
    ) -> Result<Option<(Pruned, u64)>, StoreError> {
        let known: Option<Pruned> = self.json(Table::AuditChain, chain::PRUNED)?;
        let mut head = known.map_or_else(Head::default, |stub| Head {
            id: stub.id,
            hash: stub.hash,
        });
        let mut old: Vec<AuditRecord> = Vec::new();
        let from = Span::under(&[]).from((head.id + 1).to_be_bytes().to_vec());
        self.visit(Table::Audit, from, Order::Up, |key, value| {
            if old.len() >= limit {
                return Ok(ControlFlow::Break(()));
            }
            let record = parse::<AuditRecord>(Table::Audit, value).ok();
            if record.as_ref().is_some_and(|record| record.created_at >= before) {
                return Ok(ControlFlow::Break(()));
            }
            let following = record.and_then(|record| Some((next(&head, number(key), &record)?, record)));
            let Some((here, record)) = following else {
                return match old.is_empty() {
                    true => Err(StoreError::AuditFault(head.id + 1)),
                    // The records before the faulty one are removed first; the next call reports the fault.
                    false => Ok(ControlFlow::Break(())),
                };
            };
            head = here;
            old.push(record);
            Ok(ControlFlow::Continue(()))
        })?;
        if old.is_empty() {
            return Ok(None);
        }
        let removed = u64::try_from(old.len()).unwrap_or(u64::MAX);
        let count = known.map_or(0, |stub| stub.count) + removed;
        let stub = signer.pruned(head, count, now).map_err(chain::signing_error)?;

        let gone = || Span::under(&[]).to(head.id.to_be_bytes().to_vec());
        for table in [Table::Audit, Table::AuditCheckpoints, Table::AuditRuns] {
            self.erase_all(table, gone())?;
        }
        for record in &old {
            index::erase(self, record)?;
        }
        self.put_json(Table::AuditChain, chain::PRUNED, &stub)?;
        Ok(Some((stub, removed)))
    }

    fn sign_pruned_again(&self, signer: &Signer, now: Timestamp) -> Result<(), StoreError> {
        let Some(stub) = self.json::<Pruned>(Table::AuditChain, chain::PRUNED)? else {
            return Ok(());
        };
        let (id, hash) = (stub.id, stub.hash);
        let ours = signer.pruned(Head { id, hash }, stub.count, now);
        self.put_json(Table::AuditChain, chain::PRUNED, &ours.map_err(chain::signing_error)?)
    }
}

/// Appends one record for each entry.
pub(in crate::store::redb) fn append(
    tx: &impl WriteRows,
    author: &Author,
    signer: Option<&Signer>,
    entries: &[Entry],
) -> Result<(), StoreError> {
    let mut chain = read_chain(tx)?;
    for entry in entries {
        let ChainedRecord { record, begins_run } = chain.append(author, entry);
        let number = record.id.to_be_bytes();
        tx.put_json(Table::Audit, &number, &record)?;
        index::put(tx, &record)?;
        if begins_run {
            tx.put(Table::AuditRuns, &number, &[])?;
        }
        if let Some(signer) = signer.filter(|_| record.id.is_multiple_of(CHECKPOINT_EVERY)) {
            put_checkpoint(tx, signer, chain.head, author.now)?;
        }
    }
    tx.put_json(Table::AuditChain, chain::HEAD, &chain)
}

/// Returns the chain's head after `record`, which is stored at `place`, or `None` if the record has been altered. An
/// altered record is never removed, and never covered by the statement about removed records.
fn next(head: &Head, place: u64, record: &AuditRecord) -> Option<Head> {
    let (due, hash) = (head.id + 1, record.hash);
    let as_written = (place, record.id) == (due, due) && follow(&head.hash, record) == hash;
    as_written.then_some(Head { id: due, hash })
}

/// Returns the number at the end of a key.
fn number(key: &[u8]) -> u64 {
    u64::from_be_bytes(row_key::tail(key))
}
