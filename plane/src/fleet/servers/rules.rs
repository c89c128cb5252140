//! Rules for servers: registration, changes and removal.
//!
//! Owns the default settings of servers, and the decision on which changes must reach a server's host.
//! It must not change a server's pool, because the peers' addresses come from it.

use super::existing::existing;
use super::revisions;
use std::collections::BTreeSet;

use ipnet::IpNet;
use wgctl::api::{NewServer, Server, ServerCreated, ServerPatch};
use wgctl::{ServerId, Timestamp};

use super::agent_token::AGENT_PREFIX;
use crate::fleet::idempotency;
use crate::fleet::idempotency::Before;
use crate::fleet::people::api_tokens::{new_token, token_hash};
use crate::fleet::people::authority;
use crate::fleet::views::api_objects;
use crate::fleet::{Caller, Fleet, Idempotency, Refusal, field_checks, run_to_completion};
use crate::history;
use crate::model::caller::{Action, Entry};
use crate::model::records::{Confirmation, Ledger, ServerRecord};
use crate::store::Change;
use crate::store::{DurableWrite, LossyWrite, Read};

/// The default keepalive interval, in seconds, which keeps most NAT mappings open (`wg(8)`).
const KEEPALIVE: u16 = 25;

impl Fleet {
    /// Returns all servers, ordered by id.
    pub async fn servers(&self) -> Result<Vec<Server>, Refusal> {
        self.store()
            .scan(|tx: &dyn Read| {
                let states = tx.servers_with_state()?;
                let servers = states
                    .iter()
                    .map(|state| api_objects::server(&state.server, &state.ledger, &state.confirmation));
                Ok(servers.collect())
            })
            .await
    }

    /// Returns one server.
    pub fn server(&self, id: &ServerId) -> Result<Server, Refusal> {
        self.store().read(|tx| {
            let (server, ledger) = existing(tx, id)?;
            Ok(api_objects::server(&server, &ledger, &tx.confirmation(id)?))
        })
    }

    /// Registers a server and creates a token for its agent.
    pub async fn create_server(
        &self,
        caller: &Caller,
        new: NewServer,
        once: Option<Idempotency>,
    ) -> Result<ServerCreated, Refusal> {
        let (token, token_hash) = new_token(AGENT_PREFIX)?;
        let now = self.now();
        let record = record(new, token_hash, now)?;
        self.change(caller, move |tx: &dyn DurableWrite| {
            create(tx, record, token, once, now)
        })
        .await
    }

    /// Changes a server.
    pub async fn update_server(&self, caller: &Caller, id: &ServerId, patch: ServerPatch) -> Result<Server, Refusal> {
        let (now, server) = (self.now(), id.clone());
        self.change(caller, move |tx: &dyn DurableWrite| update(tx, &server, patch, now))
            .await
    }

    /// Removes a server with its peers, prekeys and history. Runs to completion even if the client
    /// disconnects.
    pub async fn remove_server(&self, caller: &Caller, id: &ServerId) -> Result<(), Refusal> {
        let (fleet, caller, id) = (self.clone(), caller.clone(), id.clone());
        run_to_completion(async move { fleet.remove_with_history(&caller, &id).await }).await
    }

    async fn remove_with_history(&self, caller: &Caller, id: &ServerId) -> Result<(), Refusal> {
        let server = id.clone();
        self.change(caller, move |tx: &dyn DurableWrite| remove(tx, &server))
            .await?;
        let (server, now) = (id.clone(), self.now());
        let forgotten = self
            .store()
            .record(move |tx: &dyn LossyWrite| forget_history(tx, &server, now));
        // The server itself has been removed. If its history cannot be removed now, it expires later.
        if let Err::<(), Refusal>(error) = forgotten.await {
            tracing::warn!(server = %id, "the history of a removed server remains until it is 72 h old: {error}");
        }
        Ok(())
    }
}

fn record(new: NewServer, token_hash: [u8; 32], now: Timestamp) -> Result<ServerRecord, Refusal> {
    let NewServer {
        id,
        endpoint,
        address_pool,
        dns,
        allowed_ips,
        mtu,
        persistent_keepalive,
        interface,
        listen_port,
        masquerade,
        ping_target,
        drift_policy,
        adopt,
    } = new;
    let address_pool = field_checks::address_pool(&address_pool)?;
    let allowed_ips = match &allowed_ips {
        Some(nets) => field_checks::networks("allowed_ips", nets)?,
        None => address_pool.iter().filter_map(everything).collect(),
    };
    let listen_port = listen_port.unwrap_or(endpoint.port());
    check_port(listen_port)?;
    let interface = match interface {
        Some(interface) => interface,
        None => "wg0"
            .parse()
            .map_err(|error| Refusal::Internal(format!("wg0: {error}")))?,
    };
    Ok(ServerRecord {
        id,
        endpoint,
        address_pool,
        dns: field_checks::dns("dns", dns)?,
        allowed_ips,
        mtu: field_checks::mtu("mtu", mtu)?,
        persistent_keepalive: field_checks::keepalive(Some(persistent_keepalive.unwrap_or(KEEPALIVE))),
        interface,
        listen_port,
        masquerade,
        ping_target: field_checks::ping_target(ping_target)?,
        drift_policy,
        public_key: None,
        adopt,
        token_hash,
        old_token: None,
        created_at: now,
        updated_at: now,
    })
}

/// Returns the network that contains all addresses of the same family as `net`.
fn everything(net: &IpNet) -> Option<IpNet> {
    let all = if net.addr().is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    all.parse().ok()
}

fn check_port(port: u16) -> Result<(), Refusal> {
    if port == 0 {
        return Err(Refusal::field_value(
            "listen_port",
            "0 is not a port to listen on: give 1 to 65535",
        ));
    }
    Ok(())
}

fn create(
    tx: &dyn DurableWrite,
    record: ServerRecord,
    agent_token: String,
    once: Option<Idempotency>,
    now: Timestamp,
) -> Result<Change<ServerCreated>, Refusal> {
    let first = match idempotency::before(tx, once, now)? {
        Before::Answered(created) => return replay(tx, &record.id, created, now),
        Before::New(first) => first,
    };
    if tx.server(&record.id)?.is_some() {
        return Err(Refusal::ServerExists(record.id.to_string()));
    }
    let ledger = Ledger::new(tx.retired_revision(&record.id)?);
    let created = ServerCreated {
        server: api_objects::server(&record, &ledger, &Confirmation::default()),
        agent_token,
        // The HTTP layer adds the pin.
        pin: None,
    };
    let kept = first.seal(&created)?;

    tx.put_server(&record, None)?;
    tx.put_ledger(&record.id, &ledger)?;
    for pool in api_objects::pools(&record) {
        tx.open_pool(&record.id, &pool)?;
    }
    kept.write(tx)?;
    let entry = Entry::new(Action::ServerCreated, &record.id).made(&record);
    Ok(Change::new(created, entry))
}

/// Returns the first response again, as long as the token in it is valid. Nothing is created, but the
/// audit log records that a secret has been shown.
fn replay(
    tx: &dyn Read,
    id: &ServerId,
    created: ServerCreated,
    now: Timestamp,
) -> Result<Change<ServerCreated>, Refusal> {
    let owner = authority::agent(tx, &token_hash(&created.agent_token), now)?;
    if owner.as_ref() != Some(id) {
        return Err(Refusal::AnswerOutlived(format!("server {:?}", id.as_str())));
    }
    Ok(Change::new(created, Entry::new(Action::ServerTokenViewed, id)))
}

fn update(tx: &dyn DurableWrite, id: &ServerId, patch: ServerPatch, now: Timestamp) -> Result<Change<Server>, Refusal> {
    let (old, mut ledger) = existing(tx, id)?;
    let mut server = patched(&old, patch)?;
    let state = tx.confirmation(id)?;
    if server == old {
        return Ok(Change::none(api_objects::server(&old, &ledger, &state)));
    }
    server.updated_at = now;
    tx.put_server(&server, None)?;
    if concerns_host(&old, &server) {
        revisions::advance(tx, id, &mut ledger, None)?;
    }
    let shown = api_objects::server(&server, &ledger, &state);
    let entry = Entry::new(Action::ServerUpdated, id).changed(&old, &server);
    Ok(Change::new(shown, entry))
}

fn patched(old: &ServerRecord, patch: ServerPatch) -> Result<ServerRecord, Refusal> {
    let ServerPatch {
        endpoint,
        dns,
        allowed_ips,
        mtu,
        persistent_keepalive,
        listen_port,
        masquerade,
        ping_target,
        drift_policy,
        adopt,
    } = patch;
    let mut server = old.clone();
    if let Some(endpoint) = endpoint {
        server.endpoint = endpoint;
    }
    if let Some(dns) = dns {
        server.dns = field_checks::dns("dns", dns)?;
    }
    if let Some(nets) = allowed_ips {
        server.allowed_ips = field_checks::networks("allowed_ips", &nets)?;
    }
    if let Some(mtu) = mtu {
        server.mtu = field_checks::mtu("mtu", mtu)?;
    }
    if let Some(seconds) = persistent_keepalive {
        server.persistent_keepalive = field_checks::keepalive(seconds);
    }
    if let Some(port) = listen_port {
        check_port(port)?;
        server.listen_port = port;
    }
    if let Some(masquerade) = masquerade {
        server.masquerade = masquerade;
    }
    if let Some(target) = ping_target {
        server.ping_target = field_checks::ping_target(target)?;
    }
    if let Some(policy) = drift_policy {
        server.drift_policy = policy;
    }
    if let Some(adopt) = adopt {
        server.adopt = adopt;
    }
    Ok(server)
}

/// Returns whether a change must reach the host. Every field of the record is listed, so that a new
/// field does not compile until this function takes it into account.
fn concerns_host(old: &ServerRecord, new: &ServerRecord) -> bool {
    let ServerRecord {
        listen_port,
        mtu,
        masquerade,
        ping_target,
        drift_policy,
        // Fields that never change.
        id: _,
        address_pool: _,
        interface: _,
        created_at: _,
        // Fields that appear only in the peers' configurations.
        endpoint: _,
        dns: _,
        allowed_ips: _,
        persistent_keepalive: _,
        // Fields that only the plane uses, or that the host reports.
        public_key: _,
        adopt: _,
        token_hash: _,
        old_token: _,
        updated_at: _,
    } = new;
    *listen_port != old.listen_port
        || *mtu != old.mtu
        || *masquerade != old.masquerade
        || *ping_target != old.ping_target
        || *drift_policy != old.drift_policy
}

fn remove(tx: &dyn DurableWrite, id: &ServerId) -> Result<Change<()>, Refusal> {
    let (server, ledger) = existing(tx, id)?;
    let tokens = tx.tokens()?;
    let mut entries = vec![Entry::new(Action::ServerDeleted, id).removed(&server)];
    tx.erase_server(&server, ledger.revision)?;
    // A token for this server must not become a token for a later server with the same id.
    for token in tokens {
        let mut left = token.clone();
        if !left.servers.as_mut().is_some_and(|servers| servers.remove(id)) {
            continue;
        }
        if left.servers.as_ref().is_some_and(BTreeSet::is_empty) {
            tx.erase_token(&token)?;
            entries.push(Entry::new(Action::TokenDeleted, &token.name).removed(&token));
        } else {
            tx.put_token(&left)?;
            entries.push(Entry::new(Action::TokenUpdated, &token.name).changed(&token, &left));
        }
    }
    Ok(Change::all((), entries))
}

fn forget_history(tx: &dyn LossyWrite, id: &ServerId, now: Timestamp) -> Result<(), Refusal> {
    let (last, _) = history::place(now);
    let (first, _) = history::place(now.before(history::RETENTION));
    for hour in first..=last {
        tx.erase_hour(hour, id)?;
    }
    Ok(())
}
