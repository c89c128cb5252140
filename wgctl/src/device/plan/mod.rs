//! The pure diff: computes the smallest change from an interface's actual to its desired state.
//!
//! Owns the types of a plan and the order of its steps. It must not do I/O.

use std::collections::{BTreeSet, HashSet};

use ipnet::IpNet;

use super::model::{DesiredDevice, DesiredPeer, Device, Peer};
use crate::key::{PresharedKey, PrivateKey, PublicKey};

/// The peers that a plan may change.
#[derive(Debug, Clone)]
pub enum Scope<'a> {
    /// All peers of the interface. Peers that are not desired are removed.
    All,
    /// Only these peers and the device's own settings. Other peers are not mentioned.
    Peers(&'a [PublicKey]),
}

/// The changes to an interface, in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// A private key to set.
    pub private_key: Option<PrivateKey>,
    /// A port to set.
    pub listen_port: Option<u16>,
    /// A mark to set.
    pub fwmark: Option<u32>,
    /// Peers to change: removals come first, then losses of addresses, then gains, then new peers.
    pub peers: Vec<PeerChange>,
}

/// The changes to one peer. Settings that are absent here are not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerChange {
    /// The peer.
    pub public_key: PublicKey,
    /// The kind of change.
    pub kind: ChangeKind,
    /// A preshared key to set; the inner `None` clears it.
    pub preshared_key: Option<Option<PresharedKey>>,
    /// The interval between keepalives in seconds; 0 turns them off.
    pub persistent_keepalive: Option<u16>,
    /// The address at which to reach it.
    pub endpoint: Option<std::net::SocketAddr>,
    /// True if `allowed_ips` replaces the peer's list, which opens a short window of packet loss; false if it
    /// adds to the list.
    pub replace_allowed_ips: bool,
    /// The networks to add.
    pub allowed_ips: Vec<IpNet>,
}

/// The kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The peer is created.
    Create,
    /// The peer exists and is changed (`WGPEER_F_UPDATE_ONLY`).
    Update,
    /// The peer is removed (`WGPEER_F_REMOVE_ME`).
    Remove,
}

impl Plan {
    /// Returns true if there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            private_key,
            listen_port,
            fwmark,
            peers,
        } = self;
        private_key.is_none() && listen_port.is_none() && fwmark.is_none() && peers.is_empty()
    }
}

/// Computes the smallest plan that turns `actual` into `desired` within `scope`.
///
/// This relies on a guarantee of the plane: no network is assigned to more than one peer. The order of the
/// steps follows from how the kernel stores allowed IPs (`drivers/net/wireguard/allowedips.c`): a network belongs
/// to at most one peer, and granting it to one peer silently takes it from another. An address that is
/// granted to another peer is therefore removed by that grant, and only the remaining ones require a
/// replacement of the list. A peer with the interface's own key is never mentioned, because the kernel
/// ignores it.
#[must_use]
pub fn plan(desired: &DesiredDevice, actual: &Device, scope: &Scope<'_>) -> Plan {
    // All fields are listed, here and below, so that a new setting cannot be forgotten.
    let DesiredDevice {
        private_key,
        listen_port,
        fwmark,
        peers: _,
    } = desired;
    let own = private_key.public_key();
    let mut steps = Steps::default();
    match scope {
        Scope::All => {
            let gone = actual.peers.keys().filter(|key| !desired.peers.contains_key(key));
            let considered = gone.chain(desired.peers.keys()).filter(|key| **key != own);
            considered.for_each(|key| steps.consider(key, desired, actual));
        }
        Scope::Peers(keys) => {
            let distinct: BTreeSet<&PublicKey> = keys.iter().filter(|key| **key != own).collect();
            distinct
                .into_iter()
                .for_each(|key| steps.consider(key, desired, actual));
        }
    }
    Plan {
        private_key: (actual.private_key.as_ref() != Some(private_key)).then(|| private_key.clone()),
        listen_port: listen_port.filter(|port| *port != actual.listen_port),
        fwmark: fwmark.filter(|mark| *mark != actual.fwmark),
        peers: steps.in_order(),
    }
}

/// The steps, collected by kind until all granted addresses are known.
#[derive(Default)]
struct Steps<'a> {
    removals: Vec<PeerChange>,
    updates: Vec<Update<'a>>,
    creations: Vec<PeerChange>,
}

/// A change to an existing peer, for which it is not yet decided how the surplus addresses are removed.
struct Update<'a> {
    change: PeerChange,
    surplus: Vec<&'a IpNet>,
    wanted: &'a BTreeSet<IpNet>,
}

impl<'a> Steps<'a> {
    fn consider(&mut self, key: &PublicKey, desired: &'a DesiredDevice, actual: &'a Device) {
        match (desired.peers.get(key), actual.peers.get(key)) {
            (Some(wanted), None) => self.creations.push(creation(*key, wanted)),
            (Some(wanted), Some(present)) => self.updates.extend(update(*key, wanted, present)),
            (None, Some(_)) => self.removals.push(unchanged(*key, ChangeKind::Remove)),
            (None, None) => {}
        }
    }

    fn in_order(self) -> Vec<PeerChange> {
        let granted: HashSet<IpNet> = {
            let by_update = self.updates.iter().flat_map(|update| &update.change.allowed_ips);
            let by_creation = self.creations.iter().flat_map(|change| &change.allowed_ips);
            by_update.chain(by_creation).copied().collect()
        };
        let mut losses = Vec::new();
        let mut rest = Vec::new();
        for Update {
            mut change,
            surplus,
            wanted,
        } in self.updates
        {
            if surplus.iter().any(|net| !granted.contains(net)) {
                change.replace_allowed_ips = true;
                change.allowed_ips = wanted.iter().copied().collect();
                losses.push(change);
            } else if change != unchanged(change.public_key, ChangeKind::Update) {
                rest.push(change);
            }
        }
        let mut peers = self.removals;
        peers.append(&mut losses);
        peers.append(&mut rest);
        peers.extend(self.creations);
        peers
    }
}

const fn unchanged(public_key: PublicKey, kind: ChangeKind) -> PeerChange {
    PeerChange {
        public_key,
        kind,
        preshared_key: None,
        persistent_keepalive: None,
        endpoint: None,
        replace_allowed_ips: false,
        allowed_ips: Vec::new(),
    }
}

fn creation(key: PublicKey, wanted: &DesiredPeer) -> PeerChange {
    let DesiredPeer {
        preshared_key,
        persistent_keepalive,
        allowed_ips,
        endpoint,
    } = wanted;
    PeerChange {
        public_key: key,
        kind: ChangeKind::Create,
        preshared_key: preshared_key.clone().map(Some),
        persistent_keepalive: (*persistent_keepalive != 0).then_some(*persistent_keepalive),
        endpoint: *endpoint,
        replace_allowed_ips: false,
        allowed_ips: allowed_ips.iter().copied().collect(),
    }
}

fn update<'a>(key: PublicKey, wanted: &'a DesiredPeer, present: &'a Peer) -> Option<Update<'a>> {
    let DesiredPeer {
        preshared_key,
        persistent_keepalive,
        allowed_ips,
        endpoint,
    } = wanted;
    let change = PeerChange {
        public_key: key,
        kind: ChangeKind::Update,
        preshared_key: (*preshared_key != present.preshared_key).then(|| preshared_key.clone()),
        persistent_keepalive: Some(*persistent_keepalive).filter(|seconds| *seconds != present.persistent_keepalive),
        endpoint: endpoint.filter(|endpoint| Some(*endpoint) != present.endpoint),
        replace_allowed_ips: false,
        allowed_ips: allowed_ips.difference(&present.allowed_ips).copied().collect(),
    };
    let surplus: Vec<&IpNet> = present.allowed_ips.difference(allowed_ips).collect();
    let nothing = surplus.is_empty() && change == unchanged(key, ChangeKind::Update);
    (!nothing).then_some(Update {
        change,
        surplus,
        wanted: allowed_ips,
    })
}

#[cfg(test)]
mod tests;
