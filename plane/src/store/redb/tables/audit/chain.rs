//! The rows of the audit log's chain: its head, the statement about removed records, and checkpoints.
//!
//! Owns the keys of those rows. It must not compute the next record: that belongs to the model (`audit_chain`).

use wgctl::Timestamp;
use wgctl::api::{AuditRecord, Head};
use wgctl::audit::{KeyRefused, Signer};

use crate::model::audit_chain::Chain;
use crate::store::error::StoreError;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows, parse};
use crate::store::table::Table;

/// The key of the head in [`Table::AuditChain`].
pub(in crate::store::redb) const HEAD: &[u8] = b"head";
/// The key of the statement about removed records in [`Table::AuditChain`].
pub(in crate::store::redb) const PRUNED: &[u8] = b"pruned";

/// Returns the chain up to the newest record.
pub(super) fn read_chain(rows: &impl Rows) -> Result<Chain, StoreError> {
    if let Some(chain) = rows.json(Table::AuditChain, HEAD)? {
        return Ok(chain);
    }
    let newest = rows.some(Table::Audit, Span::under(&[]), Order::Down, 1)?;
    let Some((_, value)) = newest.first() else {
        return Ok(Chain::default());
    };
    // If the head's row is missing, the head is computed from the newest record, so that no number is used twice.
    let record: AuditRecord = parse(Table::Audit, value)?;
    let mut chain = Chain::default();
    chain.extend(&record);
    Ok(chain)
}

/// Signs `head` and writes the checkpoint.
pub(super) fn put_checkpoint(
    tx: &impl WriteRows,
    signer: &Signer,
    head: Head,
    now: Timestamp,
) -> Result<(), StoreError> {
    let checkpoint = signer.checkpoint(head, now).map_err(signing_error)?;
    tx.put_json(Table::AuditCheckpoints, &head.id.to_be_bytes(), &checkpoint)
}

/// Returns the error for a failed signature.
pub(super) fn signing_error(error: KeyRefused) -> StoreError {
    StoreError::Unavailable(format!("the audit log cannot be signed: {error}"))
}
