//! A server's stock of prekeys: keys that its agent has generated and sealed for future peers.
//!
//! Owns the size limits on a message and on the stock. It must not add a prekey that has been used, or
//! whose key or id belongs to a peer.

use wgctl::ServerId;
use wgctl::protocol::v1::{Prekey, Prekeys};

use crate::fleet::servers::existing::existing;
use crate::fleet::{Caller, Fleet, Refusal};
use crate::model::records::SERVER_ITSELF;
use crate::store::Durability;
use crate::store::LossyWrite;

/// The maximum number of prekeys in one message.
const PREKEYS_AT_ONCE: usize = 256;

/// The maximum number of prekeys in a server's stock. Further prekeys are dropped.
const MOST_PREKEYS: u32 = 1024;

/// The maximum length of a sealed key, in bytes. A 32-byte key with its nonce and tag takes 72.
pub(super) const LONGEST_SEALED: usize = 256;

impl Fleet {
    /// Adds an agent's prekeys to the stock of its server.
    pub async fn prekeys(&self, caller: &Caller, server: &ServerId, prekeys: Prekeys) -> Result<(), Refusal> {
        let prekeys = prekeys.prekeys;
        if prekeys.len() > PREKEYS_AT_ONCE {
            let detail = format!("{} prekeys: send at most {PREKEYS_AT_ONCE} at a time", prekeys.len());
            return Err(Refusal::field_value("prekeys", detail));
        }
        let too_long = |p: &Prekey| p.private_key.0.len() > LONGEST_SEALED || p.preshared_key.0.len() > LONGEST_SEALED;
        // A peer with this id would be mistaken for the server itself.
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
