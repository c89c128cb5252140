//! The model of a WireGuard interface: its actual and its desired state.
//!
//! Owns these values. It must not compare them (`plan` does so) or know their origin.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipnet::IpNet;

use crate::key::{PresharedKey, PrivateKey, PublicKey};
use crate::time::Timestamp;

/// An interface as the backend reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Its private key, if it has one.
    pub private_key: Option<PrivateKey>,
    /// The UDP port; 0 if none has been set and the interface has not been up yet.
    pub listen_port: u16,
    /// The firewall mark of its packets; 0 for none.
    pub fwmark: u32,
    /// Its peers.
    pub peers: BTreeMap<PublicKey, Peer>,
}

/// A peer as the backend reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its preshared key, if it has one.
    pub preshared_key: Option<PresharedKey>,
    /// The interval between keepalives, in seconds; 0 if they are off.
    pub persistent_keepalive: u16,
    /// The networks that it may send from, in normal form (`address::normal`).
    pub allowed_ips: BTreeSet<IpNet>,
    /// The address from which it was last heard.
    pub endpoint: Option<SocketAddr>,
    /// The time of its latest handshake; `None` if there has been none.
    pub latest_handshake: Option<Timestamp>,
    /// The number of bytes received from it since it was added.
    pub rx_bytes: u64,
    /// The number of bytes sent to it since it was added.
    pub tx_bytes: u64,
}

/// The desired state of an interface. Peers that are not listed must not be on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredDevice {
    /// Its private key.
    pub private_key: PrivateKey,
    /// The UDP port; `None` leaves it as it is.
    pub listen_port: Option<u16>,
    /// The firewall mark; `None` leaves it as it is.
    pub fwmark: Option<u32>,
    /// Its peers.
    pub peers: BTreeMap<PublicKey, DesiredPeer>,
}

/// The desired state of a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredPeer {
    /// Its preshared key; `None` for none.
    pub preshared_key: Option<PresharedKey>,
    /// The interval between keepalives, in seconds; 0 turns them off.
    pub persistent_keepalive: u16,
    /// The networks that it may send from, in normal form (`address::normal`).
    pub allowed_ips: BTreeSet<IpNet>,
    /// The address at which to reach it; `None` leaves the one that the kernel has learned.
    pub endpoint: Option<SocketAddr>,
}
