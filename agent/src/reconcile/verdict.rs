//! The verdict on a revision: what has been applied, what has not, and why.
//!
//! Owns the reasons that are sent to the plane. It must not perform I/O.

use std::collections::BTreeMap;

use wgctl::device::{DesiredDevice, Device};
use wgctl::drift::Drift;
use wgctl::name::Incarnation;
use wgctl::protocol::v1::{Applied, Failure};
use wgctl::{PeerId, PublicKey};

use super::peers::difference::PeerDifference;
use crate::desired::State;
use crate::drift::Id;

/// The outcome of applying a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The incarnation of the database to which `revision` belongs; `None` before there is a state.
    pub incarnation: Option<Incarnation>,
    /// The revision that is in the kernel, except for `failed`; 0 if there is none.
    pub revision: u64,
    /// The peers that differ from the desired state, with the reasons.
    pub failed: BTreeMap<PeerId, String>,
    /// The reason why the interface differs from the desired state.
    pub interface_failed: Option<String>,
}

impl Verdict {
    /// Returns the initial verdict on a state of which nothing has been applied yet.
    pub(super) fn of(state: Option<&State>) -> Self {
        Self {
            incarnation: state.map(|state| state.incarnation),
            revision: 0,
            failed: BTreeMap::new(),
            interface_failed: None,
        }
    }

    /// Prepares for applying a state. A verdict on another incarnation, or on a later revision of the same one,
    /// is discarded.
    pub(super) fn begin(&mut self, state: &State) {
        if self.incarnation != Some(state.incarnation) || self.revision > state.revision {
            *self = Self::of(Some(state));
        }
    }

    /// Returns whether the interface and all peers are in the desired state.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.interface_failed.is_none()
    }

    /// Returns whether the failures are equal, regardless of the revisions.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        let Self {
            incarnation: _,
            revision: _,
            failed,
            interface_failed,
        } = self;
        (failed, interface_failed) == (&other.failed, &other.interface_failed)
    }

    /// Writes the verdict to the log. Called when the verdict has changed.
    pub(super) fn log(&self) {
        if let Some(reason) = &self.interface_failed {
            tracing::error!("the interface is not in the desired state: {reason}");
        }
        if let Some((peer, reason)) = self.failed.first_key_value() {
            let failed = self.failed.len();
            tracing::warn!(
                failed,
                "peers are not in the desired state, for example {peer}: {reason}"
            );
        }
        if self.is_clean() {
            tracing::debug!(revision = self.revision, "everything is in the desired state");
        }
    }

    /// Returns the message for the plane; `None` before there is a state.
    #[must_use]
    pub fn message(&self) -> Option<Applied> {
        let failure = |(peer, reason): (&PeerId, &String)| Failure {
            client: *peer,
            reason: reason.clone(),
        };
        let Self {
            incarnation,
            revision,
            failed,
            interface_failed,
        } = self;
        Some(Applied {
            incarnation: (*incarnation)?,
            revision: *revision,
            failed: failed.iter().map(failure).collect(),
            interface_failed: interface_failed.clone(),
        })
    }
}

/// Returns the peers with external changes that are left in place, with reasons.
pub(super) fn only_reported<'a>(
    standing: impl Iterator<Item = (&'a Id, &'a Drift)>,
) -> impl Iterator<Item = (PeerId, String)> {
    standing.filter_map(|(_, drift)| {
        let reason = format!(
            "changed externally, and only reported: {}. Change the peer, or set the server's drift policy to enforce",
            drift.detail
        );
        Some((drift.peer?, reason))
    })
}

/// Returns the peers that differ from the desired state, with reasons. `refused` contains the kernel's reasons.
pub(super) fn reasons(
    desired: &DesiredDevice,
    actual: &Device,
    refused: &BTreeMap<PublicKey, String>,
    owner: impl Fn(&PublicKey) -> Option<PeerId>,
) -> BTreeMap<PeerId, String> {
    let differs = |key: &PublicKey| match (desired.peers.get(key), actual.peers.get(key)) {
        (Some(wanted), Some(there)) => PeerDifference::between(wanted, there).any(),
        (Some(_), None) => true,
        (None, _) => false,
    };
    let reason = |key: &PublicKey| {
        let unsaid =
            || "the kernel accepted the peer but reports different settings: this will be tried again".to_owned();
        refused.get(key).cloned().unwrap_or_else(unsaid)
    };
    let wrong = desired.peers.keys().filter(|key| differs(key));
    wrong.filter_map(|key| Some((owner(key)?, reason(key)))).collect()
}

#[cfg(test)]
mod tests {
    use wgctl::PresharedKey;
    use wgctl::device::{DesiredPeer, Peer};

    use super::*;

    #[test]
    fn any_difference_between_a_peer_and_its_desired_settings_is_reported() {
        let (key, id) = (PublicKey::from_bytes([1; 32]).unwrap(), PeerId::random());
        let networks = || ["10.8.0.2/32".parse().unwrap()].into();
        let mut desired = DesiredDevice {
            private_key: wgctl::PrivateKey::from_bytes([2; 32]),
            listen_port: None,
            fwmark: None,
            peers: BTreeMap::new(),
        };
        desired.peers.insert(
            key,
            DesiredPeer {
                allowed_ips: networks(),
                persistent_keepalive: 25,
                ..DesiredPeer::default()
            },
        );
        let whole = Peer {
            allowed_ips: networks(),
            persistent_keepalive: 25,
            // These fields are not settings.
            rx_bytes: 7,
            endpoint: "192.0.2.1:5000".parse().ok(),
            ..Peer::default()
        };
        let said = |there: Option<Peer>| {
            let actual = Device {
                peers: there.map(|peer| (key, peer)).into_iter().collect(),
                ..Device::default()
            };
            reasons(&desired, &actual, &BTreeMap::new(), |_| Some(id))
        };
        assert_eq!(said(Some(whole.clone())), BTreeMap::new());
        let otherwise: [fn(&mut Peer); 3] = [
            |peer| peer.allowed_ips.clear(),
            |peer| peer.preshared_key = PresharedKey::from_bytes([7; 32]).ok(),
            |peer| peer.persistent_keepalive = 0,
        ];
        let otherwise = otherwise.map(|change| {
            let mut peer = whole.clone();
            change(&mut peer);
            Some(peer)
        });
        for there in otherwise.into_iter().chain([None]) {
            let said = said(there);
            assert!(
                said.get(&id).is_some_and(|reason| reason.contains("tried again")),
                "{said:?}"
            );
        }
    }
}
