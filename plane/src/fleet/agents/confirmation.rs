//! Confirmations from agents: the applied revision and any failures.
//!
//! Owns the decision on whether a confirmation counts. It must not store the text of a failure at full
//! length, because the agent's host may be compromised.

use std::collections::BTreeMap;

use wgctl::protocol::v1::{Applied, Failure};
use wgctl::{PeerId, ServerId};

use super::failure_reason::reason_line;
use crate::fleet::servers::existing::existing;
use crate::fleet::{Caller, Fleet, Refusal};
use crate::store::Durability;
use crate::store::LossyWrite;

impl Fleet {
    /// Records that an agent has applied a revision.
    pub async fn applied(&self, caller: &Caller, server: &ServerId, mut applied: Applied) -> Result<(), Refusal> {
        let (id, revision) = (server.clone(), applied.revision);
        applied.failed = self.existing_failures(server, applied.failed).await?;
        let record = move |tx: &dyn LossyWrite| record_applied(tx, &id, applied);
        let counts = self.record_of_agent(caller, server, Durability::Lazy, record).await?;
        if counts {
            self.was_applied(server, revision);
        }
        Ok(())
    }

    /// Returns the failures of existing peers, at most one for each peer. A message may name the same
    /// peer many thousands of times, or name many peers that do not exist.
    async fn existing_failures(&self, server: &ServerId, failures: Vec<Failure>) -> Result<Vec<Failure>, Refusal> {
        if failures.is_empty() {
            return Ok(failures);
        }
        let mut by_peer: BTreeMap<PeerId, Failure> =
            failures.into_iter().map(|failure| (failure.client, failure)).collect();
        let existing = self.existing_peers(server, by_peer.keys().copied().collect()).await?;
        Ok(existing.iter().filter_map(|peer| by_peer.remove(peer)).collect())
    }
}

/// Records a confirmation. Returns whether it counts.
fn record_applied(tx: &dyn LossyWrite, id: &ServerId, applied: Applied) -> Result<bool, Refusal> {
    if applied.incarnation != tx.incarnation()? {
        // The confirmation refers to another database. The agent's next poll gets a snapshot of this
        // database.
        return Ok(false);
    }
    let (_, ledger) = existing(tx, id)?;
    if applied.revision > ledger.revision {
        let detail = format!(
            "{} is later than {}, the newest revision",
            applied.revision, ledger.revision
        );
        return Err(Refusal::field_value("revision", detail));
    }
    let mut state = tx.confirmation(id)?;
    let goes_back = state.applied_revision.is_some_and(|known| known > applied.revision);
    if goes_back && applied.interface_failed.is_none() {
        // A later confirmation arrived first. The applied revision may decrease only if the interface
        // has failed.
        return Ok(false);
    }
    let mut failures = Vec::new();
    for failure in applied.failed {
        if tx.peer(id, &failure.client)?.is_some() {
            let reason = reason_line(&failure.reason);
            failures.push(Failure { reason, ..failure });
        }
    }
    state.applied_revision = Some(applied.revision);
    state.interface_failed = applied.interface_failed.as_deref().map(reason_line);
    tx.put_confirmation(id, &state)?;
    tx.put_failures(id, &failures)?;
    Ok(true)
}
