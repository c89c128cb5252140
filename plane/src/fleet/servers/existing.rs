//! Lookup of a server, and the refusal if it does not exist.

use wgctl::ServerId;

use crate::fleet::Refusal;
use crate::model::records::{Ledger, ServerRecord};
use crate::store::Read;

/// Returns the refusal for a server that does not exist, or that the caller may not see.
#[must_use]
pub fn no_server(id: &ServerId) -> Refusal {
    Refusal::NotFound {
        what: format!("server {:?}", id.as_str()),
    }
}

/// Returns a server and its ledger.
pub(crate) fn existing(tx: &dyn Read, id: &ServerId) -> Result<(ServerRecord, Ledger), Refusal> {
    let server = tx.server(id)?.ok_or_else(|| no_server(id))?;
    let ledger = tx.ledger(id)?.ok_or_else(|| no_server(id))?;
    Ok((server, ledger))
}
