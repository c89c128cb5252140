//! An agent's hello, its first request after connecting, which states the public key of its host.
//!
//! Owns the choice of the protocol version, and the recording of a changed host key. It must not record
//! an unlimited number of keys, because the agent's host may be compromised.

use wgctl::protocol::v1::{self, Hello, Welcome};
use wgctl::{PublicKey, ServerId, Timestamp};

use crate::fleet::limits::host_keys::HostKeys;
use crate::fleet::servers::existing::existing;
use crate::fleet::{Caller, Fleet, Refusal};
use crate::model::caller::{Action, Entry};
use crate::model::records::ServerRecord;
use crate::store::{Change, DurableWrite};

impl Fleet {
    /// Handles an agent's hello: agrees on a protocol version and records the host's public key.
    pub async fn hello(&self, caller: &Caller, server: &ServerId, hello: Hello) -> Result<Welcome, Refusal> {
        if hello.version == 0 {
            return Err(Refusal::field_value("version", "versions start at 1: update the agent"));
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
}

/// Records a host's new public key. Keys that were sealed before the host had this key cannot be
/// trusted, so the stock is erased. The agent then refills it.
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
