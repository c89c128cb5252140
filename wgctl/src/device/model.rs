//! The model of a WireGuard interface: as it is, and as it should be.
//!
//! Owns these values. It must not compare them (`plan` does) or know where they come from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipnet::IpNet;

use crate::key::{PresharedKey, PrivateKey, PublicKey};
use crate::time::Timestamp;

/// An interface as the backend reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Its private key; none when it has none.
    pub private_key: Option<PrivateKey>,
    /// The UDP port; 0 before the interface is up and none was set.
    pub listen_port: u16,
    /// The firewall mark of its packets; 0 for none.
    pub fwmark: u32,
    /// Its peers.
    pub peers: BTreeMap<PublicKey, Peer>,
}

/// A peer as the backend reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its preshared key; none when it has none.
    pub preshared_key: Option<PresharedKey>,
    /// Seconds between keepalives; 0 for off.
    pub persistent_keepalive: u16,
    /// Networks it may send from, in normal form (`address::normal`).
    pub allowed_ips: BTreeSet<IpNet>,
    /// Where it was last heard.
    pub endpoint: Option<SocketAddr>,
    /// Its latest handshake; none before the first.
    pub latest_handshake: Option<Timestamp>,
    /// Bytes received from it since it was added.
    pub rx_bytes: u64,
    /// Bytes sent to it since it was added.
    pub tx_bytes: u64,
}

/// An interface as it should be. Peers not named must not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredDevice {
    /// Its private key.
    pub private_key: PrivateKey,
    /// The UDP port; none to leave it as it is.
    pub listen_port: Option<u16>,
    /// The firewall mark; none to leave it as it is.
    pub fwmark: Option<u32>,
    /// Its peers.
    pub peers: BTreeMap<PublicKey, DesiredPeer>,
}

/// A peer as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredPeer {
    /// Its preshared key; none for none.
    pub preshared_key: Option<PresharedKey>,
    /// Seconds between keepalives; 0 for off.
    pub persistent_keepalive: u16,
    /// Networks it may send from, in normal form (`address::normal`).
    pub allowed_ips: BTreeSet<IpNet>,
    /// Where to reach it; none to leave what the kernel learned.
    pub endpoint: Option<SocketAddr>,
}
