//! An interface and its peers as they should be.
//!
//! Owns these messages of version 1, frozen like the others.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::sealed::Sealed;
use crate::address::Endpoint;
use crate::drift::DriftPolicy;
use crate::key::PublicKey;
use crate::name::{InterfaceName, PeerId};
use crate::time::Timestamp;

/// The interface as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Interface {
    /// Its name.
    pub name: InterfaceName,
    /// The UDP port.
    pub listen_port: u16,
    /// The server's addresses, with the pool's prefix length.
    pub addresses: Vec<IpNet>,
    /// MTU in bytes; absent for the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// True to masquerade packets that come from the networks of `addresses` and leave by another interface.
    #[serde(default)]
    pub masquerade: bool,
    /// `host:port` whose TCP connect time to report; absent for the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_target: Option<Endpoint>,
    /// The policy for changes that others make; absent to repair them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drift: DriftPolicy,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A peer as it should be on the interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Peer {
    /// Its id.
    pub id: PeerId,
    /// Its key.
    pub public_key: PublicKey,
    /// Its preshared key, sealed; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preshared_key: Option<Sealed>,
    /// Its addresses and the networks behind it.
    pub allowed_ips: Vec<IpNet>,
    /// Seconds between the host's own keepalives to it, where an adopted interface had them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_keepalive: Option<u16>,
    /// When the agent takes it off by its own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}
