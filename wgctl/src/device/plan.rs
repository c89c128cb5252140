//! The pure diff: from what an interface is and should be to the least that must be said to it.
//!
//! Owns the plan's types and the order of its steps. It must not do I/O.

use ipnet::IpNet;

use super::{DesiredDevice, Device};
use crate::key::{PresharedKey, PrivateKey, PublicKey};

/// Which peers a plan is about.
#[derive(Debug, Clone)]
pub enum Scope<'a> {
    /// The whole interface: peers that are not desired go.
    All,
    /// These peers alone, others stay unmentioned; the device's own settings too.
    Peers(&'a [PublicKey]),
}

/// What to tell an interface, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// A private key to set.
    pub private_key: Option<PrivateKey>,
    /// A port to set.
    pub listen_port: Option<u16>,
    /// A mark to set.
    pub fwmark: Option<u32>,
    /// Peers to change: removals first, then losses of addresses, then gains and new peers.
    pub peers: Vec<PeerChange>,
}

/// What to tell about one peer. Absent parts stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerChange {
    /// Who.
    pub public_key: PublicKey,
    /// Made, changed or removed.
    pub kind: ChangeKind,
    /// A preshared key to set; the inner none clears it.
    pub preshared_key: Option<Option<PresharedKey>>,
    /// Seconds; 0 turns it off.
    pub persistent_keepalive: Option<u16>,
    /// Where to reach it.
    pub endpoint: Option<std::net::SocketAddr>,
    /// Whether `allowed_ips` replaces the peer's list (and opens a short loss window) or adds to it.
    pub replace_allowed_ips: bool,
    /// Networks to add.
    pub allowed_ips: Vec<IpNet>,
}

/// What happens to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is not there and shall be.
    Create,
    /// It is there and changes (`WGPEER_F_UPDATE_ONLY`).
    Update,
    /// It goes (`WGPEER_F_REMOVE_ME`).
    Remove,
}

impl Plan {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.private_key.is_none() && self.listen_port.is_none() && self.fwmark.is_none() && self.peers.is_empty()
    }
}

/// The least that turns `actual` into `desired` within `scope`.
#[must_use]
pub fn plan(_desired: &DesiredDevice, _actual: &Device, _scope: &Scope<'_>) -> Plan {
    Plan::default()
}
