//! Advancing a server to the next revision of its desired state.

use wgctl::{PeerId, ServerId};

use crate::model::records::Ledger;
use crate::store::{DurableWrite, StoreError};

/// Advances a server to its next revision, for a change to `peer`, or to the interface if `peer` is
/// `None`, and writes the ledger. Erases the changes that are no longer kept.
pub(crate) fn advance(
    tx: &dyn DurableWrite,
    server: &ServerId,
    ledger: &mut Ledger,
    peer: Option<&PeerId>,
) -> Result<(), StoreError> {
    for forgotten in ledger.advance() {
        tx.erase_change(server, forgotten)?;
    }
    tx.put_change(server, ledger.revision, peer)?;
    tx.put_ledger(server, ledger)
}
