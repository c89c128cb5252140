//! An index of the desired peers by key, and of the networks behind them that need routes.
//!
//! Owns the consistency of the index. It must not decide what is desired.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use wgctl::protocol::v1::{Interface, Peer};
use wgctl::{PeerId, PublicKey};

use crate::desired;

/// The peer that has each key, and the networks that need routes. The index is stored alongside the state so that no
/// search through all peers is needed.
#[derive(Default)]
pub(crate) struct Index {
    by_key: BTreeMap<PublicKey, PeerId>,
    routed: BTreeMap<PeerId, Vec<IpNet>>,
}

impl Index {
    /// Creates an index of these peers.
    pub(crate) fn new<'a>(interface: &Interface, peers: impl Iterator<Item = &'a Peer>) -> Self {
        let mut index = Self::default();
        peers.for_each(|peer| index.insert(interface, peer));
        index
    }

    pub(super) fn insert(&mut self, interface: &Interface, peer: &Peer) {
        self.by_key.insert(peer.public_key, peer.id);
        let routed: Vec<IpNet> = desired::routed(interface, peer).collect();
        if routed.is_empty() {
            self.routed.remove(&peer.id);
        } else {
            self.routed.insert(peer.id, routed);
        }
    }

    pub(super) fn remove(&mut self, key: &PublicKey) {
        if let Some(id) = self.by_key.remove(key) {
            self.routed.remove(&id);
        }
    }

    pub(crate) fn owner(&self, key: &PublicKey) -> Option<PeerId> {
        self.by_key.get(key).copied()
    }

    /// Returns the networks behind these peers that need routes.
    pub(crate) fn routed(&self, ids: &BTreeSet<PeerId>) -> BTreeSet<IpNet> {
        let networks = ids.iter().filter_map(|id| self.routed.get(id));
        networks.flatten().copied().collect()
    }

    /// Returns the networks that need routes and are behind peers for which `there` returns true.
    pub(crate) fn routes(&self, there: impl Fn(&PeerId) -> bool) -> BTreeSet<IpNet> {
        let routed = self.routed.iter().filter(|(id, _)| there(id));
        routed.flat_map(|(_, networks)| networks).copied().collect()
    }
}
