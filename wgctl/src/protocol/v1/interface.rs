//! The desired state of an interface and its peers.
//!
//! Owns these messages of protocol version 1. They must not change, except for new optional fields.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::sealed::Sealed;
use crate::address::Endpoint;
use crate::drift::DriftPolicy;
use crate::key::PublicKey;
use crate::name::{InterfaceName, PeerId};
use crate::time::Timestamp;

/// The desired state of the interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Interface {
    /// Its name.
    pub name: InterfaceName,
    /// The UDP port.
    pub listen_port: u16,
    /// The server's addresses, with the pool's prefix length.
    pub addresses: Vec<IpNet>,
    /// The MTU in bytes; absent to leave the choice to the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// True to masquerade packets that come from the networks of `addresses` and leave through another interface.
    #[serde(default)]
    pub masquerade: bool,
    /// The `host:port` to which the agent measures and reports the TCP connect time; absent to select the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_target: Option<Endpoint>,
    /// The policy for drift; absent to repair it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drift: DriftPolicy,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The desired state of a peer on the interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Peer {
    /// Its id.
    pub id: PeerId,
    /// Its public key.
    pub public_key: PublicKey,
    /// Its preshared key, sealed; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preshared_key: Option<Sealed>,
    /// Its addresses and the networks behind it.
    pub allowed_ips: Vec<IpNet>,
    /// The interval in seconds between the host's keepalives to it, if an adopted interface had them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_keepalive: Option<u16>,
    /// The time at which the agent removes the peer, according to the agent's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}
