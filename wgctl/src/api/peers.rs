//! Peers, which the API calls clients.
//!
//! Owns the bodies of `/api/wg-clients/…`, in camelCase as in the original API.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::optional::{given, nullable};
use crate::key::PublicKey;
use crate::name::{PeerId, PeerName};
use crate::time::Timestamp;

/// A peer (`/api/wg-clients/…`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema), schemars(rename = "Client"))]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// The peer's id.
    pub id: PeerId,
    /// Its name, unique on its server.
    pub name: PeerName,
    /// True if it may connect.
    pub enabled: bool,
    /// Its IPv4 address without a prefix length, or its IPv6 address if the pool has no IPv4 network.
    pub address: IpAddr,
    /// All its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its public key.
    pub public_key: PublicKey,
    /// True if the agent holds its private key (sealed); false if the peer keeps its own.
    pub private_key_held: bool,
    /// True if it has a preshared key.
    pub preshared_key: bool,
    /// The time of the latest handshake; null if there has been none.
    pub latest_handshake_at: Option<Timestamp>,
    /// The number of bytes received from it over its lifetime.
    pub transfer_rx: u64,
    /// The number of bytes sent to it over its lifetime.
    pub transfer_tx: u64,
    /// The destinations that the device routes into the tunnel.
    #[serde(rename = "allowedIPs")]
    pub allowed_ips: Vec<IpNet>,
    /// The networks behind the device that the server accepts and routes.
    #[serde(rename = "serverAllowedIPs")]
    pub server_allowed_ips: Vec<IpNet>,
    /// The DNS servers for the device.
    pub dns: Vec<IpAddr>,
    /// The interval in seconds between the device's keepalives; null if they are off.
    pub persistent_keepalive: Option<u16>,
    /// The MTU of the device's interface in bytes; null leaves the choice to the device.
    pub mtu: Option<u16>,
    /// The time at which the peer expires.
    pub expires_at: Option<Timestamp>,
    /// True if `expires_at` has passed. The host removes an expired peer according to its own clock, even if it
    /// cannot reach the plane.
    #[serde(default)]
    pub expired: bool,
    /// The time at which the peer was created.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
    /// True if the peer in the kernel matches the record.
    pub applied: bool,
    /// The time since which a change has been waiting to be applied; null if none is waiting.
    pub pending_since: Option<Timestamp>,
    /// The reason why the kernel refused the peer, as reported by the agent; null if it did not.
    pub failed: Option<String>,
}

/// A new peer (`POST /api/wg-clients/{serverID}`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema), schemars(rename = "NewClient"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPeer {
    /// Its name: 1 to 64 characters, unique on its server. Required.
    // An `Option` only so that the body can be built step by step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(required, with = "PeerName"))]
    pub name: Option<PeerName>,
    /// The device's own public key. The device then keeps its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// A requested address from the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The requested addresses, at most one per address family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 2)))]
    pub addresses: Option<Vec<IpAddr>>,
    /// The time at which the peer expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The destinations that the device routes into the tunnel. Default: the server's.
    #[serde(rename = "allowedIPs", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 1024)))]
    pub allowed_ips: Option<Vec<IpNet>>,
    /// The networks behind the device that the server accepts and routes. Default: none.
    #[serde(rename = "serverAllowedIPs", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 1024)))]
    pub server_allowed_ips: Option<Vec<IpNet>>,
    /// The DNS servers for the device. Default: the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 16)))]
    pub dns: Option<Vec<IpAddr>>,
    /// The interval in seconds between the device's keepalives; 0 turns them off. Default: the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_keepalive: Option<u16>,
    /// The MTU in bytes, from 1280 to 9000. Default: the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1280, max = 9000)))]
    pub mtu: Option<u16>,
    /// False to create the peer without a preshared key. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preshared_key: Option<bool>,
}

/// A change to a peer (`PATCH /api/wg-clients/{serverID}/{clientID}`). Absent fields are not changed. Null
/// clears the fields for which it has a meaning (`expiresAt`, `mtu`, `persistentKeepalive`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema), schemars(rename = "ClientPatch"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerPatch {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "PeerName"))]
    pub name: Option<PeerName>,
    /// True to enable the peer, false to disable it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "bool"))]
    pub enabled: Option<bool>,
    /// The new time at which the peer expires; null for never.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub expires_at: Option<Option<Timestamp>>,
    /// The destinations that the device routes into the tunnel.
    #[serde(
        rename = "allowedIPs",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[cfg_attr(feature = "openapi", schemars(with = "Vec<IpNet>", length(max = 1024)))]
    pub allowed_ips: Option<Vec<IpNet>>,
    /// The networks behind the device that the server accepts and routes.
    #[serde(
        rename = "serverAllowedIPs",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[cfg_attr(feature = "openapi", schemars(with = "Vec<IpNet>", length(max = 1024)))]
    pub server_allowed_ips: Option<Vec<IpNet>>,
    /// The DNS servers for the device.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "Vec<IpAddr>", length(max = 16)))]
    pub dns: Option<Vec<IpAddr>>,
    /// The interval in seconds between the device's keepalives; null or 0 turns them off.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub persistent_keepalive: Option<Option<u16>>,
    /// The MTU in bytes; null leaves the choice to the device.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1280, max = 9000)))]
    pub mtu: Option<Option<u16>>,
}
