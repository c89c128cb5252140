//! The settings of a peer on the interface, and their comparison with the desired ones.
//!
//! Owns the list of fields that are settings: the endpoint, handshake and counters are not. It must not perform
//! I/O.

use wgctl::device::{self, DesiredPeer};

/// Returns the current settings of a peer as desired settings.
pub(crate) fn as_it_is(peer: &device::Peer) -> DesiredPeer {
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

/// The settings in which a peer on the interface differs from the desired one. The endpoint, which changes when a
/// device roams, and the counters are not settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerDifference {
    pub(crate) preshared_key: bool,
    pub(crate) persistent_keepalive: bool,
    pub(crate) allowed_ips: bool,
}

impl PeerDifference {
    pub(crate) fn between(desired: &DesiredPeer, actual: &device::Peer) -> Self {
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

    pub(crate) const fn any(self) -> bool {
        let Self {
            preshared_key,
            persistent_keepalive,
            allowed_ips,
        } = self;
        preshared_key || persistent_keepalive || allowed_ips
    }
}
