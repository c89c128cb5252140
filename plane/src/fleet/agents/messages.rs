//! The agents' side: what they confirm, the keys they send.
//!
//! Owns what an agent may say of its own server. What it says is bounded before it is kept: an
//! agent's host may be in other hands.

use crate::fleet::limits::host_keys::HostKeys;
use crate::model::line::one_line;
use std::collections::{BTreeMap, BTreeSet};

use wgctl::name::RequestId;
use wgctl::protocol::v1::{self, Applied, Failure, Hello, Prekey, Prekeys, Reply, Welcome};
use wgctl::{PeerId, PublicKey, ServerId, Timestamp};

use crate::fleet::people::authority;
use crate::fleet::servers::existing::existing;
use crate::fleet::{Caller, Durability, Fleet, Refusal};
use crate::model::caller::{Action, Entry};
use crate::model::records::SERVER_ITSELF;
use crate::model::records::ServerRecord;
use crate::store::Change;
use crate::store::{DurableWrite, LossyWrite, Read};

/// How many prekeys one message may bring.
const PREKEYS_AT_ONCE: usize = 256;

/// How many prekeys a server may have in stock; more are let go.
const MOST_PREKEYS: u32 = 1024;

/// A sealed key of 32 bytes with nonce and tag takes 72.
pub(super) const LONGEST_SEALED: usize = 256;

/// How much of a reason is kept.
const LONGEST_REASON: usize = 300;

impl Fleet {
    /// An agent introduces itself.
    pub async fn hello(&self, caller: &Caller, server: &ServerId, hello: Hello) -> Result<Welcome, Refusal> {
        if hello.version == 0 {
            return Err(Refusal::field_value(
                "version",
                "versions count from 1: update the agent",
            ));
        }
        let (id, key, now) = (server.clone(), hello.public_key, self.now());
        let known = self.store().read(|tx| existing(tx, server))?.0.public_key;
        if known != Some(key) {
            let fleet = self.clone();
            let record = move |tx: &dyn DurableWrite| record_key(tx, &id, key, now, &fleet.shared.limits.host_keys);
            self.change_of_agent(caller, server, record).await?;
        }
        Ok(Welcome {
            version: v1::VERSION.min(hello.version),
            server_id: server.clone(),
            incarnation: self.store().incarnation()?,
        })
    }

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

    /// Those of the named clients that there are. A reader looks: an agent may name any number, and the writer
    /// is everybody's.
    pub(super) async fn known(&self, server: &ServerId, named: BTreeSet<PeerId>) -> Result<BTreeSet<PeerId>, Refusal> {
        let id = server.clone();
        self.scan_for_agent(server, move |tx: &dyn Read| {
            let mut known = BTreeSet::new();
            for client in named {
                if tx.peer(&id, &client)?.is_some() {
                    known.insert(client);
                }
            }
            Ok(known)
        })
        .await
    }

    /// An agent fills up the stock of prekeys.
    pub async fn prekeys(&self, caller: &Caller, server: &ServerId, prekeys: Prekeys) -> Result<(), Refusal> {
        let prekeys = prekeys.prekeys;
        if prekeys.len() > PREKEYS_AT_ONCE {
            let detail = format!("{} prekeys: send at most {PREKEYS_AT_ONCE} at a time", prekeys.len());
            return Err(Refusal::field_value("prekeys", detail));
        }
        let too_long = |p: &Prekey| p.private_key.0.len() > LONGEST_SEALED || p.preshared_key.0.len() > LONGEST_SEALED;
        // A client with this id would be the server itself.
        if let Some(at) = prekeys.iter().position(|prekey| prekey.id == SERVER_ITSELF) {
            return Err(Refusal::field_value(
                format!("prekeys[{at}].id"),
                "no client can have this id",
            ));
        }
        if let Some(at) = prekeys.iter().position(too_long) {
            let detail = format!("a sealed key is at most {LONGEST_SEALED} bytes");
            return Err(Refusal::field_value(format!("prekeys[{at}]"), detail));
        }
        let id = server.clone();
        let record = move |tx: &dyn LossyWrite| stock(tx, &id, prekeys);
        self.record_of_agent(caller, server, Durability::Lazy, record).await?;
        Ok(())
    }

    /// An agent answers a request. An answer nobody waits for any more is let go.
    pub fn reply(&self, caller: &Caller, server: &ServerId, request: RequestId, reply: Reply) -> Result<(), Refusal> {
        let now = self.now();
        self.store().read(|tx| authority::check(tx, &caller.authority, now))?;
        self.shared.relay.line(server).reply(&request, reply);
        Ok(())
    }
}

/// A host showed a key that is not the one on record. What was sealed on a host before it had this
/// key cannot be counted on: the stock is thrown away and filled again.
fn record_key(
    tx: &dyn DurableWrite,
    id: &ServerId,
    key: PublicKey,
    now: Timestamp,
    keys: &HostKeys,
) -> Result<Change<()>, Refusal> {
    let (old, _) = existing(tx, id)?;
    if old.public_key == Some(key) {
        return Ok(Change::none(()));
    }
    if tx.peer_with_key(id, &key)?.is_some() {
        return Err(Refusal::PublicKeyTaken(key.to_string()));
    }
    keys.take(id)?;
    let server = ServerRecord {
        public_key: Some(key),
        updated_at: now,
        ..old.clone()
    };
    tx.put_server(&server, None)?;
    tx.erase_prekeys(id)?;
    let entry = Entry::new(Action::ServerKeyRecorded, id).changed(&old, &server);
    Ok(Change::new((), entry))
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

/// A reason that an agent gave, on one line and of bounded length.
pub(crate) fn reason_line(reason: &str) -> String {
    one_line(reason, LONGEST_REASON)
}

fn stock(tx: &dyn LossyWrite, id: &ServerId, prekeys: Vec<Prekey>) -> Result<(), Refusal> {
    let (server, _) = existing(tx, id)?;
    let mut room = MOST_PREKEYS.saturating_sub(tx.prekey_stock(id)?);
    let mut fresh = Vec::new();
    for prekey in prekeys {
        let used = tx.is_spent(id, &prekey.id)?
            || tx.peer(id, &prekey.id)?.is_some()
            || tx.peer_with_key(id, &prekey.public_key)?.is_some()
            || server.public_key == Some(prekey.public_key);
        if !used && room > 0 {
            room -= 1;
            fresh.push(prekey);
        }
    }
    for prekey in &fresh {
        tx.put_prekey(id, prekey)?;
    }
    Ok(())
}
