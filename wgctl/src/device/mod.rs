//! A WireGuard interface: what it should be, what it is, and the least that leads from one to the other.
//!
//! Owns the model and the [`Backend`] trait. `plan` is the pure diff; `kernel`, `userspace` and
//! `memory` apply it. It must not know plane, agent or protocol.

#[cfg(feature = "kernel")]
pub mod kernel;
pub mod memory;
pub mod plan;
#[cfg(feature = "userspace")]
pub mod userspace;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipnet::IpNet;

use crate::key::{PresharedKey, PrivateKey, PublicKey};
use crate::name::InterfaceName;
use crate::time::Timestamp;

pub use plan::{Plan, Scope};

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

/// What a backend could not do. The message says on what and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no interface of that name.
    #[error("there is no WireGuard interface {0}")]
    NoInterface(InterfaceName),
    /// No userspace process has an interface of that name.
    #[error(
        "no userspace WireGuard has the interface {0}: start it with `wireguard-go {0}`, the agent takes it up then"
    )]
    NoUserspace(InterfaceName),
    /// An interface of that name exists and is of another kind.
    #[error(
        "interface {0} exists and is not a WireGuard interface: choose another name for the server's interface, or remove it"
    )]
    NotWireguard(InterfaceName),
    /// The kernel knows no WireGuard.
    #[error(
        "this kernel has no WireGuard: install a kernel with the module `wireguard` (every Debian and Ubuntu kernel has it; \
         in a container, load it on the host with `modprobe wireguard`), or run wireguard-go and set `backend = \"userspace\"`"
    )]
    NoWireguard,
    /// CAP_NET_ADMIN is missing.
    #[error(
        "no permission to change network interfaces: CAP_NET_ADMIN is needed (run as root, or as a unit with AmbientCapabilities=CAP_NET_ADMIN)"
    )]
    NoPermission,
    /// The kernel refused a request.
    #[error("{what}: {message}")]
    Refused {
        /// What was asked.
        what: String,
        /// The kernel's words (extended ACK) or the errno's.
        message: String,
        /// The errno, positive (`EADDRINUSE`, …).
        errno: i32,
    },
    /// The conversation with the backend failed.
    #[error("{what}: {source}")]
    Io {
        /// What was asked.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The backend answered something that makes no sense.
    #[error("{what}: unexpected answer: {message}")]
    Protocol {
        /// What was asked.
        what: String,
        /// What came.
        message: String,
    },
}

/// Something that holds WireGuard interfaces: the kernel, a userspace process, a model in memory.
///
/// Calls block; an implementation is used from one thread.
pub trait Backend: Send {
    /// Everything about the interface. `Ok(None)` when there is none of that name.
    fn read(&mut self, interface: &InterfaceName) -> Result<Option<Device>, Error>;

    /// Carries the plan out, in its order. Not atomic: after an error, read again and plan again.
    fn apply(&mut self, interface: &InterfaceName, plan: &Plan) -> Result<(), Error>;
}
