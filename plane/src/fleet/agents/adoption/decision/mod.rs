//! The decision on an adoption: the peers to record, or the obstacles that prevent it.
//!
//! Owns the names, addresses and networks of imported peers. It must not read or write the store. A
//! peer that is already recorded keeps its record, even if its settings on the host differ.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::pool::{Pool, Run};
use ipnet::IpNet;
use wgctl::address::{host, normal};
use wgctl::protocol::v1::{AdoptedPeer, Adoption, FoundPeer, Obstacle};
use wgctl::{PeerId, PeerName, PublicKey, Timestamp};

use crate::fleet::agents::prekeys;
use crate::fleet::field_checks;
use crate::fleet::peers::rules;
use crate::fleet::views::api_objects;
use crate::model::records::SERVER_ITSELF;
use crate::model::records::{Ledger, PeerRecord, ServerRecord};

/// The minimum number of public key characters in a generated peer name.
const SHORTEST_KEY_PREFIX: usize = 8;

/// The decision on an adoption.
#[derive(Debug)]
pub(super) struct Decision {
    /// The server's record after the adoption.
    pub(super) server: ServerRecord,
    /// The peers to record, excluding those that are already recorded.
    pub(super) imports: Vec<PeerRecord>,
    /// The interface's peers as clients, in the order in which the adoption lists them.
    pub(super) clients: Vec<AdoptedPeer>,
    /// The obstacles to the adoption. If there are any, nothing may be written.
    pub(super) obstacles: Vec<Obstacle>,
}

/// Decides on an adoption, given the complete record of the server.
pub(super) fn decide(
    server: &ServerRecord,
    ledger: &Ledger,
    recorded: &[PeerRecord],
    adoption: &Adoption,
    now: Timestamp,
) -> Decision {
    let mut draft = Draft::new(server, ledger, recorded, adoption, now);
    for peer in &adoption.peers {
        if let Err(reason) = draft.take(peer) {
            draft.refuse(Some(peer.public_key), reason);
        }
    }
    if draft.by_key.contains_key(&adoption.public_key) {
        let reason = "the interface's own key is the key of a recorded client: remove that client first";
        draft.refuse(None, reason.to_owned());
    }
    draft.refuse_overlaps(recorded);
    let mut server = server.clone();
    server.public_key = Some(adoption.public_key);
    server.listen_port = adoption.listen_port.unwrap_or(server.listen_port);
    server.adopt = false;
    server.updated_at = now;
    Decision {
        server,
        imports: draft.imports,
        clients: draft.clients,
        obstacles: draft.obstacles,
    }
}

/// A decision under construction.
struct Draft<'a> {
    server: &'a ServerRecord,
    ledger: &'a Ledger,
    host_key: PublicKey,
    now: Timestamp,
    pools: Vec<Pool>,
    by_key: BTreeMap<PublicKey, &'a PeerRecord>,
    seen: BTreeSet<PublicKey>,
    names: BTreeSet<PeerName>,
    ids: BTreeSet<PeerId>,
    imports: Vec<PeerRecord>,
    clients: Vec<AdoptedPeer>,
    obstacles: Vec<Obstacle>,
}

impl<'a> Draft<'a> {
    fn new(
        server: &'a ServerRecord,
        ledger: &'a Ledger,
        recorded: &'a [PeerRecord],
        adoption: &Adoption,
        now: Timestamp,
    ) -> Self {
        Self {
            server,
            ledger,
            host_key: adoption.public_key,
            now,
            pools: api_objects::pools(server),
            by_key: recorded.iter().map(|peer| (peer.public_key, peer)).collect(),
            seen: BTreeSet::new(),
            names: recorded.iter().map(|peer| peer.name.clone()).collect(),
            ids: recorded.iter().map(|peer| peer.id).chain([SERVER_ITSELF]).collect(),
            imports: Vec::new(),
            clients: Vec::new(),
            obstacles: Vec::new(),
        }
    }

    fn refuse(&mut self, public_key: Option<PublicKey>, reason: String) {
        self.obstacles.push(Obstacle { public_key, reason });
    }

    fn take(&mut self, peer: &FoundPeer) -> Result<(), String> {
        if !self.seen.insert(peer.public_key) {
            return Err("it is listed twice: remove one of the two entries".to_owned());
        }
        if let Some(known) = self.by_key.get(&peer.public_key) {
            self.clients.push(adopted_peer(known));
            return Ok(());
        }
        if peer.public_key == self.host_key {
            return Err("it has the interface's own key, which no peer can have: remove it".to_owned());
        }
        if peer
            .preshared_key
            .as_ref()
            .is_some_and(|sealed| sealed.0.len() > prekeys::LONGEST_SEALED)
        {
            return Err(format!(
                "its sealed preshared key is longer than {} bytes",
                prekeys::LONGEST_SEALED
            ));
        }
        if !self.ids.insert(peer.id) {
            return Err(format!("its id {} is taken: enroll again", peer.id));
        }
        let (addresses, networks) = self.split(&peer.allowed_ips)?;
        let name = self.name(peer)?;
        self.names.insert(name.clone());
        let record = self.record(peer, name, addresses, networks);
        self.clients.push(adopted_peer(&record));
        self.imports.push(record);
        Ok(())
    }

    /// Splits allowed IPs into the client's addresses and the networks behind the client.
    fn split(&self, allowed_ips: &[IpNet]) -> Result<(Vec<IpAddr>, Vec<IpNet>), String> {
        let (mut addresses, mut networks): (Vec<IpAddr>, Vec<IpNet>) = (Vec::new(), Vec::new());
        for net in allowed_ips.iter().copied().map(normal) {
            let address = net.addr();
            let single = net.prefix_len() == net.max_prefix_len();
            let pool = self.pools.iter().find(|pool| single && pool.net().contains(&address));
            match pool {
                Some(pool) if !pool.is_assignable(address) => return Err(reserved(pool, address)),
                Some(_) if !addresses.iter().any(|other| other.is_ipv4() == address.is_ipv4()) => {
                    addresses.push(address);
                }
                _ => networks.push(net),
            }
        }
        if addresses.is_empty() {
            let pools: Vec<_> = self.pools.iter().map(|pool| pool.net().to_string()).collect();
            return Err(format!(
                "it has no address in {}: give it one there (`wg set … allowed-ips`), register the server with the pool \
                 its peers use, or remove the peer",
                pools.join(" or ")
            ));
        }
        addresses.sort_by_key(IpAddr::is_ipv6);
        let networks =
            field_checks::networks_behind("allowed IPs", &networks).map_err(|refusal| refusal.to_string())?;
        Ok((addresses, networks))
    }

    /// Returns the peer's name on the host if that name is free; otherwise a name generated from its
    /// public key.
    fn name(&self, peer: &FoundPeer) -> Result<PeerName, String> {
        let free = |name: &PeerName| !self.names.contains(name);
        if let Some(name) = peer.name.clone().filter(free) {
            return Ok(name);
        }
        // The base64 characters `+` and `/` are awkward in paths and shells.
        let key = peer.public_key.to_string().replace('+', "-").replace('/', "_");
        let made = (SHORTEST_KEY_PREFIX..key.len()).find_map(|length| {
            let name: PeerName = format!("peer-{}", key.get(..length)?).parse().ok()?;
            free(&name).then_some(name)
        });
        made.ok_or_else(|| "all names that can be generated from its key are taken".to_owned())
    }

    fn record(
        &self,
        peer: &FoundPeer,
        name: PeerName,
        addresses: Vec<IpAddr>,
        server_allowed_ips: Vec<IpNet>,
    ) -> PeerRecord {
        let nth = u64::try_from(self.imports.len()).unwrap_or(u64::MAX).saturating_add(1);
        PeerRecord {
            id: peer.id,
            place: self.ledger.last_place.saturating_add(nth),
            name,
            enabled: true,
            public_key: peer.public_key,
            private_key: None,
            preshared_key: peer.preshared_key.clone(),
            addresses,
            allowed_ips: self.server.allowed_ips.clone(),
            server_allowed_ips,
            dns: self.server.dns.clone(),
            persistent_keepalive: self.server.persistent_keepalive,
            mtu: self.server.mtu,
            host_keepalive: field_checks::keepalive(peer.persistent_keepalive),
            expires_at: None,
            created_at: self.now,
            updated_at: self.now,
            revision: self.ledger.revision.saturating_add(nth),
            changed_at: self.now,
        }
    }

    /// Refuses overlapping networks, because an address can belong to only one peer.
    fn refuse_overlaps(&mut self, recorded: &[PeerRecord]) {
        let mut spans = Vec::new();
        for pool in &self.pools {
            spans.push(Span::new(host(pool.server_address()), None, "the server itself"));
        }
        for peer in recorded {
            spans.extend(
                rules::host_allowed_ips(peer)
                    .into_iter()
                    .map(|net| Span::new(net, None, peer.name.as_str())),
            );
        }
        for peer in &self.imports {
            let new = Some(peer.public_key);
            spans.extend(
                rules::host_allowed_ips(peer)
                    .into_iter()
                    .map(|net| Span::new(net, new, peer.name.as_str())),
            );
        }
        let obstacles = overlaps(spans);
        self.obstacles.extend(obstacles);
    }
}

/// A network and its owner.
struct Span<'a> {
    net: IpNet,
    run: Run,
    /// The public key of the owner, if the owner is a peer to be imported.
    new: Option<PublicKey>,
    owner: &'a str,
}

impl<'a> Span<'a> {
    fn new(net: IpNet, new: Option<PublicKey>, owner: &'a str) -> Self {
        Self {
            net,
            run: Run::of(&net),
            new,
            owner,
        }
    }
}

/// Returns the overlaps that involve a peer to be imported. A network that contains several others is
/// reported once, with the first of them.
fn overlaps(mut spans: Vec<Span<'_>>) -> Vec<Obstacle> {
    // A network sorts before the networks that it contains. CIDR networks cannot overlap in any other
    // way.
    spans.sort_by_key(|span| (span.net.addr().is_ipv6(), span.run.first, Reverse(span.run.last)));
    let mut obstacles = Vec::new();
    let mut reported: Option<&Span<'_>> = None;
    let mut widest: Option<&Span<'_>> = None;
    for span in &spans {
        let Some(around) = widest.filter(|around| around.net.contains(&span.net)) else {
            widest = Some(span);
            continue;
        };
        let wider = around.new.is_some() && (around.net != span.net || span.new.is_none());
        let (ours, theirs) = if wider { (around, span) } else { (span, around) };
        let is_reported = reported.is_some_and(|reported| std::ptr::eq(reported, ours));
        if let Some(key) = ours.new.filter(|_| !is_reported) {
            reported = Some(ours);
            let reason = format!(
                "{} overlaps {}, which belongs to {}: an address can belong to only one client",
                ours.net, theirs.net, theirs.owner
            );
            obstacles.push(Obstacle {
                public_key: Some(key),
                reason,
            });
        }
    }
    obstacles
}

fn reserved(pool: &Pool, address: IpAddr) -> String {
    let whose = if pool.server_address() == address {
        "the server's own address"
    } else {
        "the network or broadcast address"
    };
    format!("{address} is {whose} in {}: give the peer another address", pool.net())
}

pub(super) fn adopted_peer(peer: &PeerRecord) -> AdoptedPeer {
    AdoptedPeer {
        id: peer.id,
        public_key: peer.public_key,
        name: peer.name.clone(),
        addresses: peer.addresses.clone(),
        networks: peer.server_allowed_ips.clone(),
    }
}

#[cfg(test)]
mod tests;
