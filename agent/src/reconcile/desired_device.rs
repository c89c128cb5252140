//! The desired interface and host, derived from the state that the plane sent.
//!
//! Owns the conversion into the device's types. The goal of a single peer belongs to `peers::goal`. It must not
//! communicate with the kernel.

use std::collections::BTreeMap;

use wgctl::device::{Backend, DesiredDevice, DesiredPeer, Device};
use wgctl::protocol::v1::Recorded;
use wgctl::{PeerId, PublicKey, ServerId, Timestamp};

use super::peers::difference::as_it_is;
use super::peers::goal::{PeerGoal, PresharedKeyCache};
use super::peers::index::Index;
use super::reconciler::Reconciler;
use crate::desired::State;
use crate::host::{Host, Spec};
use crate::secrets::Secrets;

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// Returns the desired settings of these peers, and the reasons why some of them cannot be set up.
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
                PeerGoal::Present(mut wanted) => {
                    let refused = self.remove_refused(peer, &mut wanted.allowed_ips);
                    failed.extend(refused.map(|reason| (peer.id, reason)));
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

/// The desired state of an interface and of its host.
pub(crate) struct DesiredHost {
    pub(crate) device: DesiredDevice,
    pub(crate) spec: Spec,
    /// The peers whose goal is unknown, with the reasons. Such a peer is left on the interface as it is.
    pub(crate) unknown: BTreeMap<PublicKey, String>,
}

/// Returns the desired state at `now`.
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
