//! Where the chain of hashes has come to, and the checkpoints beside it.
//!
//! Owns the head's row, and what "the clock was set back" means. It must not hash: that is the
//! shared library's.

use wgctl::Timestamp;
use wgctl::api::{AuditRecord, Head};
use wgctl::audit::{KeyRefused, Signer};

use crate::model::audit_chain::Chain;
use crate::store::error::StoreError;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows, parse};
use crate::store::table::Table;

/// In [`Table::AuditChain`].
pub(crate) const HEAD: &[u8] = b"head";
pub(crate) const PRUNED: &[u8] = b"pruned";

/// Where the chain has come to.
pub(super) fn chain(rows: &impl Rows) -> Result<Chain, StoreError> {
    if let Some(chain) = rows.json(Table::AuditChain, HEAD)? {
        return Ok(chain);
    }
    let newest = rows.some(Table::Audit, Span::under(&[]), Order::Down, 1)?;
    let Some((_, value)) = newest.first() else {
        return Ok(Chain::default());
    };
    // No number is given twice, whatever became of the head's row.
    let record: AuditRecord = parse(Table::Audit, value)?;
    let mut chain = Chain::default();
    chain.extend(&record);
    Ok(chain)
}

/// Writes the plane's word for the log at `head`.
pub(super) fn put_checkpoint(
    tx: &impl WriteRows,
    signer: &Signer,
    head: Head,
    now: Timestamp,
) -> Result<(), StoreError> {
    let checkpoint = signer.checkpoint(head, now).map_err(unsigned)?;
    tx.put_json(Table::AuditCheckpoints, &head.id.to_be_bytes(), &checkpoint)
}

pub(super) fn unsigned(error: KeyRefused) -> StoreError {
    StoreError::Unavailable(format!("the audit log's checkpoint cannot be signed: {error}"))
}
