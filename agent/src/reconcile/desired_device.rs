//! From the plane's words to the device's: which peers should be on the interface now, and how.
//!
//! Owns the opening of preshared keys (once each), expiry by the given time, and what makes a peer
//! impossible. It must not talk to the kernel.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use wgctl::device::{self, Backend, DesiredDevice, DesiredPeer, Device};
use wgctl::protocol::v1::{Interface, Peer, Recorded, Sealed};
use wgctl::{PeerId, PresharedKey, PublicKey, ServerId, Timestamp, address};

use super::reconciler::Reconciler;
use crate::desired::{self, State};
use crate::host::{Host, Spec};
use crate::secrets::Secrets;

/// What a peer should be right now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PeerGoal {
    /// On the interface, like this.
    Present(DesiredPeer),
    /// Not on it: it has expired.
    Expired,
    /// It cannot be known: whatever is there stays, and this is why.
    Unknown(String),
}

/// Opened preshared keys, kept so that a change costs what changed.
#[derive(Default)]
pub(super) struct PresharedKeyCache(BTreeMap<PeerId, (Sealed, PresharedKey)>);

impl PresharedKeyCache {
    /// What `peer` should be at `now`.
    pub(super) fn wanted(&mut self, secrets: &Secrets, server: &ServerId, peer: &Peer, now: Timestamp) -> PeerGoal {
        let Peer {
            id,
            public_key,
            preshared_key,
            allowed_ips,
            persistent_keepalive,
            expires_at,
        } = peer;
        if expires_at.is_some_and(|end| end <= now) {
            return PeerGoal::Expired;
        }
        if *public_key == secrets.private_key().public_key() {
            return PeerGoal::Unknown("its public key is the host's own: give the device another".to_owned());
        }
        let preshared_key = match preshared_key {
            None => None,
            Some(sealed) => match self.open(secrets, server, *id, sealed) {
                Ok(key) => Some(key),
                Err(error) => return PeerGoal::Unknown(error.to_string()),
            },
        };
        let allowed_ips = allowed_ips.iter().map(|net| address::normal(*net)).collect();
        PeerGoal::Present(DesiredPeer {
            preshared_key,
            persistent_keepalive: persistent_keepalive.unwrap_or(0),
            allowed_ips,
            endpoint: None,
        })
    }

    fn open(
        &mut self,
        secrets: &Secrets,
        server: &ServerId,
        peer: PeerId,
        sealed: &Sealed,
    ) -> Result<PresharedKey, crate::secrets::Error> {
        if let Some((_, key)) = self.0.get(&peer).filter(|(opened, _)| opened == sealed) {
            return Ok(key.clone());
        }
        let key = secrets.open_preshared_key(server, peer, sealed)?;
        self.0.insert(peer, (sealed.clone(), key.clone()));
        Ok(key)
    }

    /// Forgets the key of a peer that is no more.
    pub(super) fn forget(&mut self, id: &PeerId) {
        self.0.remove(id);
    }

    /// Forgets the keys of peers that are no more.
    pub(super) fn keep(&mut self, known: impl Fn(&PeerId) -> bool) {
        self.0.retain(|id, _| known(id));
    }
}

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// What these peers should be, and which of them cannot be.
    pub(super) fn desired_peers<'a>(
        &mut self,
        state: &State,
        ids: impl Iterator<Item = &'a PeerId>,
        actual: &Device,
        now: Timestamp,
    ) -> (BTreeMap<PublicKey, DesiredPeer>, BTreeMap<PeerId, String>) {
        let (mut peers, mut failed) = (BTreeMap::new(), BTreeMap::new());
        for peer in ids.filter_map(|id| state.peers.get(id)) {
            match self.opened.wanted(&self.secrets, &state.server_id, peer, now) {
                PeerGoal::Present(wanted) => {
                    peers.insert(peer.public_key, wanted);
                }
                PeerGoal::Expired => {}
                PeerGoal::Unknown(reason) => {
                    failed.insert(peer.id, reason);
                    peers.extend(
                        actual
                            .peers
                            .get(&peer.public_key)
                            .map(|there| (peer.public_key, as_it_is(there))),
                    );
                }
            }
        }
        (peers, failed)
    }

    pub(super) fn desired_device(&self, state: &State, peers: BTreeMap<PublicKey, DesiredPeer>) -> DesiredDevice {
        DesiredDevice {
            private_key: self.secrets.private_key().clone(),
            listen_port: Some(state.interface.listen_port),
            fwmark: None,
            peers,
        }
    }
}

/// The settings of a peer on the interface, as settings to want.
pub(super) fn as_it_is(peer: &device::Peer) -> DesiredPeer {
    let device::Peer {
        preshared_key,
        persistent_keepalive,
        allowed_ips,
        endpoint: _,
        latest_handshake: _,
        rx_bytes: _,
        tx_bytes: _,
    } = peer;
    DesiredPeer {
        preshared_key: preshared_key.clone(),
        persistent_keepalive: *persistent_keepalive,
        allowed_ips: allowed_ips.clone(),
        endpoint: None,
    }
}

/// The settings in which a peer on the interface differs from the desired one. The endpoint, where a
/// device roamed to, and counters are no settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerDifference {
    pub(super) preshared_key: bool,
    pub(super) persistent_keepalive: bool,
    pub(super) allowed_ips: bool,
}

impl PeerDifference {
    pub(super) fn between(desired: &DesiredPeer, actual: &device::Peer) -> Self {
        let DesiredPeer {
            preshared_key,
            persistent_keepalive,
            allowed_ips,
            endpoint: _,
        } = desired;
        Self {
            preshared_key: *preshared_key != actual.preshared_key,
            persistent_keepalive: *persistent_keepalive != actual.persistent_keepalive,
            allowed_ips: *allowed_ips != actual.allowed_ips,
        }
    }

    pub(super) const fn any(self) -> bool {
        let Self {
            preshared_key,
            persistent_keepalive,
            allowed_ips,
        } = self;
        preshared_key || persistent_keepalive || allowed_ips
    }
}

/// All that should be on an interface and on its host.
pub(crate) struct DesiredHost {
    pub(crate) device: DesiredDevice,
    pub(crate) spec: Spec,
    /// Peers that cannot be known, with the reason: whatever is there stays.
    pub(crate) unknown: BTreeMap<PublicKey, String>,
}

/// All that should be at `now`.
pub(crate) fn desired_host(secrets: &Secrets, server: &ServerId, recorded: &Recorded, now: Timestamp) -> DesiredHost {
    let Recorded {
        incarnation: _,
        revision: _,
        interface,
        peers,
    } = recorded;
    let (mut present, mut unknown) = (BTreeMap::new(), BTreeMap::new());
    let mut opened = PresharedKeyCache::default();
    for peer in peers {
        match opened.wanted(secrets, server, peer, now) {
            PeerGoal::Present(wanted) => drop(present.insert(peer.public_key, wanted)),
            PeerGoal::Expired => {}
            PeerGoal::Unknown(reason) => drop(unknown.insert(peer.public_key, reason)),
        }
    }
    let device = DesiredDevice {
        private_key: secrets.private_key().clone(),
        listen_port: Some(interface.listen_port),
        fwmark: None,
        peers: present,
    };
    let spec = Spec::of(interface, Index::new(interface, peers.iter()).routes(|_| true));
    DesiredHost { device, spec, unknown }
}

/// Which peer a key is, and which networks need routes: kept beside the state, so that neither is
/// searched for among all peers.
#[derive(Default)]
pub(super) struct Index {
    by_key: BTreeMap<PublicKey, PeerId>,
    routed: BTreeMap<PeerId, Vec<IpNet>>,
}

impl Index {
    /// The index of these peers.
    pub(super) fn new<'a>(interface: &Interface, peers: impl Iterator<Item = &'a Peer>) -> Self {
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

    pub(super) fn owner(&self, key: &PublicKey) -> Option<PeerId> {
        self.by_key.get(key).copied()
    }

    /// Which networks behind these peers need routes.
    pub(super) fn routed(&self, ids: &BTreeSet<PeerId>) -> BTreeSet<IpNet> {
        let networks = ids.iter().filter_map(|id| self.routed.get(id));
        networks.flatten().copied().collect()
    }

    /// Which networks behind the peers that are `there` need routes.
    pub(super) fn routes(&self, there: impl Fn(&PeerId) -> bool) -> BTreeSet<IpNet> {
        let routed = self.routed.iter().filter(|(id, _)| there(id));
        routed.flat_map(|(_, networks)| networks).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::tests::{peer, server};

    #[test]
    fn the_key_of_a_peer_that_is_no_more_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(folder.path()).unwrap();
        let mut opened = PresharedKeyCache::default();
        let now = Timestamp::from_unix(0);
        let ids = [2, 3, 4].map(|number| {
            let prekey = secrets.prekey(&server()).unwrap();
            let peer = Peer {
                id: prekey.id,
                public_key: prekey.public_key,
                preshared_key: Some(prekey.preshared_key),
                ..peer(number)
            };
            let wanted = opened.wanted(&secrets, &server(), &peer, now);
            assert!(matches!(wanted, PeerGoal::Present(peer) if peer.preshared_key.is_some()));
            peer.id
        });
        let known = |opened: &PresharedKeyCache| opened.0.keys().copied().collect::<BTreeSet<_>>();
        assert_eq!(known(&opened), ids.into());
        opened.forget(&ids[0]);
        assert_eq!(known(&opened), [ids[1], ids[2]].into());
        opened.keep(|id| *id == ids[2]);
        assert_eq!(known(&opened), [ids[2]].into());
    }
}
