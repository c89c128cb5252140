//! Standing drift that is superseded by a change to the server's record: the record is applied as usual.
//!
//! Owns the comparison of the record with the previous one. It must not touch the interface.

use std::collections::BTreeMap;

use wgctl::PeerId;
use wgctl::device::Backend;
use wgctl::drift::DriftKind;
use wgctl::protocol::v1::{Interface, Peer};

use super::detection::Baseline;
use crate::drift::Subject;
use crate::host::Host;
use crate::reconcile::reconciler::Reconciler;

/// The previous record of the interface and of the peers with standing drift.
pub(crate) struct PreviousRecord {
    interface: Option<Interface>,
    peers: BTreeMap<PeerId, Peer>,
}

impl<B: Backend, H: Host> Reconciler<B, H> {
    /// Returns a copy of the record. Call this before the record changes.
    pub(crate) fn recorded(&self) -> PreviousRecord {
        let peer = |id: &PeerId| self.state.as_ref()?.peers.get(id).cloned();
        let standing = self.ledger.standing().filter_map(|(_, drift)| drift.peer);
        PreviousRecord {
            interface: self.state.as_ref().map(|state| state.interface.clone()),
            peers: standing.filter_map(|id| Some((id, peer(&id)?))).collect(),
        }
    }

    /// Removes standing drift that a change to the interface or a snapshot has superseded.
    pub(crate) fn record_was_changed(&mut self, recorded: &PreviousRecord) {
        let Some(state) = &self.state else { return };
        let now = &state.interface;
        let Some(before) = &recorded.interface else { return };
        if now.name != before.name {
            return self.another_interface();
        }
        self.mtu_was_set = now.mtu.is_none() && (before.mtu.is_some() || self.mtu_was_set);
        let index = &self.index;
        self.ledger.forget(|id, drift| match (id.subject, drift.peer) {
            (Subject::Peer(_), Some(peer)) => recorded.peers.get(&peer) != state.peers.get(&peer),
            (Subject::Peer(key), None) => index.owner(&key).is_some(),
            (Subject::Interface | Subject::Network(_), _) => supersedes(now, before, id.kind),
        });
    }

    /// Clears all remembered state, because it belongs to another interface.
    fn another_interface(&mut self) {
        self.actual = None;
        self.remembered = Baseline::Unknown;
        self.host_left = Baseline::Unknown;
        self.link = None;
        self.mtu_was_set = false;
        self.ledger.forget(|_, _| true);
    }
}

/// Returns whether the record's change affects the setting that this kind of drift concerns.
fn supersedes(now: &Interface, before: &Interface, kind: DriftKind) -> bool {
    match kind {
        DriftKind::ListenPortChanged => now.listen_port != before.listen_port,
        DriftKind::MtuChanged => now.mtu != before.mtu,
        DriftKind::AddressAdded | DriftKind::AddressRemoved => now.addresses != before.addresses,
        DriftKind::MasqueradeChanged => (now.masquerade, &now.addresses) != (before.masquerade, &before.addresses),
        // The record has no such setting, or the setting belongs to a peer.
        DriftKind::PrivateKeyChanged
        | DriftKind::PeerRemoved
        | DriftKind::PeerAdded
        | DriftKind::PeerChanged
        | DriftKind::AllowedIpsChanged
        | DriftKind::LinkDeleted
        | DriftKind::LinkDown
        | DriftKind::RouteRemoved => false,
    }
}
