//! Confirmation of a revision by an agent: the applied revision, and the failures.
//!
//! Owns the decision whether a confirmation counts. The text of a failure is bounded before it is
//! stored: the host of an agent may be compromised.

use std::collections::BTreeMap;

use wgctl::protocol::v1::{Applied, Failure};
use wgctl::{PeerId, ServerId};

use super::reason::reason_line;
use crate::fleet::servers::existing::existing;
use crate::fleet::{Caller, Durability, Fleet, Refusal};
use crate::store::LossyWrite;

impl Fleet {
    /// An agent confirms a revision.
    pub async fn applied(&self, caller: &Caller, server: &ServerId, mut applied: Applied) -> Result<(), Refusal> {
        let (id, revision) = (server.clone(), applied.revision);
        applied.failed = self.failed(server, applied.failed).await?;
        let record = move |tx: &dyn LossyWrite| record_applied(tx, &id, applied);
        let taken = self.record_of_agent(caller, server, Durability::Lazy, record).await?;
        if taken {
            self.was_applied(server, revision);
        }
        Ok(())
    }

    /// What failed, each client once: a message may name one many thousands of times, or very many that there
    /// are not.
    async fn failed(&self, server: &ServerId, told: Vec<Failure>) -> Result<Vec<Failure>, Refusal> {
        if told.is_empty() {
            return Ok(told);
        }
        let mut told: BTreeMap<PeerId, Failure> = told.into_iter().map(|failure| (failure.client, failure)).collect();
        let known = self.known(server, told.keys().copied().collect()).await?;
        Ok(known.iter().filter_map(|client| told.remove(client)).collect())
    }
}

/// Says whether it counts.
fn record_applied(tx: &dyn LossyWrite, id: &ServerId, applied: Applied) -> Result<bool, Refusal> {
    if applied.incarnation != tx.incarnation()? {
        // It speaks of another database; its next poll gets a snapshot of this one.
        return Ok(false);
    }
    let (_, ledger) = existing(tx, id)?;
    if applied.revision > ledger.revision {
        let detail = format!("{} is past {}, the newest there is", applied.revision, ledger.revision);
        return Err(Refusal::field_value("revision", detail));
    }
    let mut state = tx.confirmation(id)?;
    let goes_back = state.applied_revision.is_some_and(|known| known > applied.revision);
    if goes_back && applied.interface_failed.is_none() {
        // Overtaken on the way by a later one. Only a lost interface takes back what was applied.
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
