//! Rules for a server's peers, applied and written inside one transaction.
//!
//! Owns the uniqueness of names and keys, the disjointness of addresses, and the effect of a change on
//! the kernel. It must not wait for agents: `requests` does.

use crate::fleet::servers::revisions;
use std::net::IpAddr;

use crate::model::pool::Pool;
use ipnet::IpNet;
use wgctl::address::host;
use wgctl::api::{NewPeer, Peer, PeerCounters, PeerPatch};
use wgctl::protocol::v1::Prekey;
use wgctl::{PeerId, PeerName, PublicKey, ServerId, Timestamp};

use crate::fleet::idempotency;
use crate::fleet::idempotency::Before;
use crate::fleet::servers::existing::existing;
use crate::fleet::views::api_objects;
use crate::fleet::{Idempotency, Refusal, field_checks};
use crate::model::caller::{Action, Entry};
use crate::model::records::SERVER_ITSELF;
use crate::model::records::{Confirmation, Ledger, PeerRecord, PeerState, ServerRecord};
use crate::store::DurableWrite;
use crate::store::{Change, Read};

/// The outcome of an attempt to create a peer.
pub(super) enum CreateOutcome {
    /// The created peer and the revision to wait for. If this is a repeated request, the peer was
    /// created by the first one.
    Peer(Box<Peer>, u64),
    /// The stock of prekeys is empty.
    NoPrekey,
}

pub(super) fn no_peer(id: &PeerId) -> Refusal {
    Refusal::NotFound {
        what: format!("client {id} on this server"),
    }
}

fn target(server: &ServerId, name: &PeerName) -> String {
    format!("{server}/{name}")
}

/// Creates a peer.
pub(super) fn create(
    tx: &dyn DurableWrite,
    server_id: &ServerId,
    new: NewPeer,
    once: Option<Idempotency>,
    now: Timestamp,
) -> Result<Change<CreateOutcome>, Refusal> {
    let (server, mut ledger) = existing(tx, server_id)?;
    let first = match idempotency::before::<Peer>(tx, once, now)? {
        Before::Answered(peer) => return replay(tx, server_id, peer),
        Before::New(first) => first,
    };
    let pools = api_objects::pools(&server);
    let draft = Draft::of(new, &server, &pools, now)?;
    check_unique(tx, &server, &draft)?;
    let prekey = match tx.next_prekey(server_id)? {
        None if draft.needs_prekey() => return Ok(Change::none(CreateOutcome::NoPrekey)),
        prekey => prekey.filter(|_| draft.needs_prekey()),
    };
    let addresses = choose_addresses(tx, server_id, &pools, &draft.wanted)?;
    check_networks(tx, server_id, &draft.server_allowed_ips, &addresses, None)?;
    let peer = draft.record(prekey.as_ref(), addresses, &ledger, now)?;
    if prekey.is_some() {
        check_key(tx, &server, &peer.public_key)?;
    }
    let created = PeerState {
        peer: peer.clone(),
        counters: PeerCounters::default(),
        failed: None,
    };
    let shown = api_objects::peer(created, &Confirmation::default(), now)?;
    let kept = first.seal(&shown)?;

    if let Some(prekey) = &prekey {
        tx.take_prekey(server_id, &prekey.id)?;
    }
    for net in host_allowed_ips(&peer) {
        tx.claim(server_id, &pools, &net, &peer.id)?;
    }
    tx.put_peer(server_id, &peer, None)?;
    ledger.last_place = peer.place;
    ledger.peers += 1;
    revisions::advance(tx, server_id, &mut ledger, Some(&peer.id))?;
    kept.write(tx)?;
    let entry = Entry::new(Action::PeerCreated, target(server_id, &peer.name)).made(&peer);
    Ok(Change::new(CreateOutcome::Peer(Box::new(shown), peer.revision), entry))
}

fn replay(tx: &dyn Read, server: &ServerId, peer: Peer) -> Result<Change<CreateOutcome>, Refusal> {
    // A peer that has since been removed has no revision to wait for.
    let revision = tx.peer(server, &peer.id)?.map_or(0, |record| record.revision);
    Ok(Change::none(CreateOutcome::Peer(Box::new(peer), revision)))
}

/// A new peer whose key and addresses are not known yet.
struct Draft {
    name: PeerName,
    public_key: Option<PublicKey>,
    preshared: bool,
    wanted: Vec<IpAddr>,
    allowed_ips: Vec<IpNet>,
    server_allowed_ips: Vec<IpNet>,
    dns: Vec<IpAddr>,
    persistent_keepalive: Option<u16>,
    mtu: Option<u16>,
    expires_at: Option<Timestamp>,
}

impl Draft {
    fn of(new: NewPeer, server: &ServerRecord, pools: &[Pool], now: Timestamp) -> Result<Self, Refusal> {
        let NewPeer {
            name,
            public_key,
            address,
            addresses,
            expires_at,
            allowed_ips,
            server_allowed_ips,
            dns,
            persistent_keepalive,
            mtu,
            preshared_key,
        } = new;
        let no_name = || {
            Refusal::field_value(
                "name",
                "a client needs a name: 1 to 64 characters, unique on its server",
            )
        };
        Ok(Self {
            name: name.ok_or_else(no_name)?,
            public_key: field_checks::public_key("publicKey", public_key)?,
            preshared: preshared_key.unwrap_or(true),
            wanted: field_checks::wanted_addresses(address, addresses, pools)?,
            allowed_ips: match allowed_ips {
                Some(nets) => field_checks::networks("allowedIPs", &nets)?,
                None => server.allowed_ips.clone(),
            },
            server_allowed_ips: field_checks::networks_behind(
                "serverAllowedIPs",
                &server_allowed_ips.unwrap_or_default(),
            )?,
            dns: match dns {
                Some(dns) => field_checks::dns("dns", dns)?,
                None => server.dns.clone(),
            },
            persistent_keepalive: field_checks::keepalive(persistent_keepalive.or(server.persistent_keepalive)),
            mtu: field_checks::mtu("mtu", mtu.or(server.mtu))?,
            expires_at: field_checks::future("expiresAt", expires_at, now)?,
        })
    }

    /// Returns whether the peer needs a prekey. Only the agent generates and seals keys, and it binds
    /// them to the peer's id.
    const fn needs_prekey(&self) -> bool {
        self.public_key.is_none() || self.preshared
    }

    fn record(
        self,
        prekey: Option<&Prekey>,
        addresses: Vec<IpAddr>,
        ledger: &Ledger,
        now: Timestamp,
    ) -> Result<PeerRecord, Refusal> {
        let own_key = self.public_key.is_some();
        let public_key = self.public_key.or(prekey.map(|prekey| prekey.public_key));
        Ok(PeerRecord {
            id: prekey.map_or_else(PeerId::random, |prekey| prekey.id),
            place: ledger.last_place + 1,
            name: self.name,
            enabled: true,
            public_key: public_key.ok_or_else(|| Refusal::Internal("a client without a key".to_owned()))?,
            private_key: prekey.filter(|_| !own_key).map(|prekey| prekey.private_key.clone()),
            preshared_key: prekey
                .filter(|_| self.preshared)
                .map(|prekey| prekey.preshared_key.clone()),
            addresses,
            allowed_ips: self.allowed_ips,
            server_allowed_ips: self.server_allowed_ips,
            dns: self.dns,
            persistent_keepalive: self.persistent_keepalive,
            mtu: self.mtu,
            host_keepalive: None,
            expires_at: self.expires_at,
            created_at: now,
            updated_at: now,
            revision: ledger.revision + 1,
            changed_at: now,
        })
    }
}

fn check_unique(tx: &dyn Read, server: &ServerRecord, draft: &Draft) -> Result<(), Refusal> {
    if tx.peer_named(&server.id, &draft.name)?.is_some() {
        return Err(Refusal::NameTaken(draft.name.to_string()));
    }
    match &draft.public_key {
        Some(key) => check_key(tx, server, key),
        None => Ok(()),
    }
}

/// Refuses a key that is in use. The kernel ignores a peer with the host's own key, and treats two
/// peers with the same key as one.
fn check_key(tx: &dyn Read, server: &ServerRecord, key: &PublicKey) -> Result<(), Refusal> {
    if server.public_key.as_ref() == Some(key) || tx.peer_with_key(&server.id, key)?.is_some() {
        return Err(Refusal::PublicKeyTaken(key.to_string()));
    }
    Ok(())
}

/// Returns one address from each pool: the requested one, or else the lowest free one.
fn choose_addresses(
    tx: &dyn Read,
    server: &ServerId,
    pools: &[Pool],
    wanted: &[IpAddr],
) -> Result<Vec<IpAddr>, Refusal> {
    let mut chosen = Vec::with_capacity(pools.len());
    for pool in pools {
        let address = match wanted.iter().find(|address| pool.net().contains(*address)) {
            Some(address) if tx.owner_within(server, &host(*address), None)?.is_some() => {
                return Err(Refusal::AddressTaken(address.to_string()));
            }
            Some(address) => *address,
            None => {
                let free = pool.lowest(tx.first_free(server, pool)?);
                free.ok_or_else(|| Refusal::PoolExhausted(pool.net().to_string()))?
            }
        };
        chosen.push(address);
    }
    Ok(chosen)
}

/// Refuses networks behind a peer that contain the peer's own address, or that overlap an address or
/// network of the server or of another peer.
fn check_networks(
    tx: &dyn Read,
    server: &ServerId,
    nets: &[IpNet],
    own: &[IpAddr],
    except: Option<&PeerId>,
) -> Result<(), Refusal> {
    for net in nets {
        let other = if let Some(address) = own.iter().find(|address| net.contains(*address)) {
            format!("the client's own address {address}")
        } else {
            match tx.owner_within(server, net, except)? {
                None => continue,
                Some(SERVER_ITSELF) => "the server's own address".to_owned(),
                Some(owner) => match tx.peer(server, &owner)? {
                    Some(peer) => format!("a network or address of the client {:?}", peer.name),
                    None => format!("a network or address of the client {owner}"),
                },
            }
        };
        return Err(Refusal::OverlappingNetworks {
            network: net.to_string(),
            other,
        });
    }
    Ok(())
}

/// Returns the allowed IPs of a peer on its host: the peer's addresses and the networks behind it.
pub(crate) fn host_allowed_ips(peer: &PeerRecord) -> Vec<IpNet> {
    let addresses = peer.addresses.iter().copied().map(host);
    addresses.chain(peer.server_allowed_ips.iter().copied()).collect()
}

/// Changes a peer. Returns the revision to wait for, if the change must reach the kernel.
pub(super) fn update(
    tx: &dyn DurableWrite,
    server_id: &ServerId,
    id: &PeerId,
    patch: PeerPatch,
    now: Timestamp,
) -> Result<Change<Option<u64>>, Refusal> {
    let (server, mut ledger) = existing(tx, server_id)?;
    let old = tx.peer(server_id, id)?.ok_or_else(|| no_peer(id))?;
    let mut peer = patched(&old, patch, now)?;
    if peer == old {
        return Ok(Change::none(None));
    }
    if peer.name != old.name && tx.peer_named(server_id, &peer.name)?.is_some() {
        return Err(Refusal::NameTaken(peer.name.to_string()));
    }
    let moved = peer.server_allowed_ips != old.server_allowed_ips;
    if moved {
        check_networks(tx, server_id, &peer.server_allowed_ips, &peer.addresses, Some(id))?;
    }
    let entries = entries(server_id, &old, &peer);
    let concerns_kernel = concerns_kernel(&old, &peer);
    peer.updated_at = now;
    if concerns_kernel {
        peer.revision = ledger.revision + 1;
        peer.changed_at = now;
    }

    if moved {
        let pools = api_objects::pools(&server);
        for net in &old.server_allowed_ips {
            tx.release(server_id, &pools, net)?;
        }
        for net in &peer.server_allowed_ips {
            tx.claim(server_id, &pools, net, id)?;
        }
    }
    tx.put_peer(server_id, &peer, Some(&old))?;
    if concerns_kernel {
        revisions::advance(tx, server_id, &mut ledger, Some(id))?;
    }
    Ok(Change::all(concerns_kernel.then_some(peer.revision), entries))
}

/// Returns whether a change must reach the kernel. Every field of the record is listed, so that a new
/// field does not compile until this function takes it into account.
fn concerns_kernel(old: &PeerRecord, new: &PeerRecord) -> bool {
    let PeerRecord {
        enabled,
        expires_at,
        server_allowed_ips,
        public_key,
        preshared_key,
        addresses,
        host_keepalive,
        // Fields that appear only in the device's configuration.
        name: _,
        private_key: _,
        allowed_ips: _,
        dns: _,
        persistent_keepalive: _,
        mtu: _,
        // Fields that only the plane uses.
        id: _,
        place: _,
        created_at: _,
        updated_at: _,
        revision: _,
        changed_at: _,
    } = new;
    *enabled != old.enabled
        || *expires_at != old.expires_at
        || *server_allowed_ips != old.server_allowed_ips
        || *public_key != old.public_key
        || *preshared_key != old.preshared_key
        || *addresses != old.addresses
        || *host_keepalive != old.host_keepalive
}

fn patched(old: &PeerRecord, patch: PeerPatch, now: Timestamp) -> Result<PeerRecord, Refusal> {
    let PeerPatch {
        name,
        enabled,
        expires_at,
        allowed_ips,
        server_allowed_ips,
        dns,
        persistent_keepalive,
        mtu,
    } = patch;
    let mut peer = old.clone();
    if let Some(name) = name {
        peer.name = name;
    }
    if let Some(enabled) = enabled {
        peer.enabled = enabled;
    }
    if let Some(expires_at) = expires_at {
        peer.expires_at = field_checks::future("expiresAt", expires_at, now)?;
    }
    if let Some(nets) = allowed_ips {
        peer.allowed_ips = field_checks::networks("allowedIPs", &nets)?;
    }
    if let Some(nets) = server_allowed_ips {
        peer.server_allowed_ips = field_checks::networks_behind("serverAllowedIPs", &nets)?;
    }
    if let Some(dns) = dns {
        peer.dns = field_checks::dns("dns", dns)?;
    }
    if let Some(seconds) = persistent_keepalive {
        peer.persistent_keepalive = field_checks::keepalive(seconds);
    }
    if let Some(mtu) = mtu {
        peer.mtu = field_checks::mtu("mtu", mtu)?;
    }
    Ok(peer)
}

/// Returns the audit entries for a change. Enabling and disabling have entries of their own.
fn entries(server: &ServerId, old: &PeerRecord, new: &PeerRecord) -> Vec<Entry> {
    let mut entries = Vec::new();
    let switched = PeerRecord {
        enabled: new.enabled,
        ..old.clone()
    };
    if new.enabled != old.enabled {
        let action = if new.enabled {
            Action::PeerEnabled
        } else {
            Action::PeerDisabled
        };
        entries.push(Entry::new(action, target(server, &old.name)).changed(old, &switched));
    }
    if *new != switched {
        entries.push(Entry::new(Action::PeerUpdated, target(server, &new.name)).changed(&switched, new));
    }
    entries
}

/// Removes a peer. Returns the revision to wait for.
pub(super) fn remove(tx: &dyn DurableWrite, server_id: &ServerId, id: &PeerId) -> Result<Change<u64>, Refusal> {
    let (server, mut ledger) = existing(tx, server_id)?;
    let peer = tx.peer(server_id, id)?.ok_or_else(|| no_peer(id))?;
    let pools = api_objects::pools(&server);
    for net in host_allowed_ips(&peer) {
        tx.release(server_id, &pools, &net)?;
    }
    tx.erase_peer(server_id, &peer)?;
    ledger.peers = ledger.peers.saturating_sub(1);
    revisions::advance(tx, server_id, &mut ledger, Some(id))?;
    let entry = Entry::new(Action::PeerDeleted, target(server_id, &peer.name)).removed(&peer);
    Ok(Change::new(ledger.revision, entry))
}
