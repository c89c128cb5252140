//! Peers, as the API calls them: clients.
//!
//! Owns the bodies of `/api/wg-clients/…`, in camelCase as in the original.

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
    /// The bare IPv4 address; the IPv6 one where the pool has no IPv4.
    pub address: IpAddr,
    /// All addresses.
    pub addresses: Vec<IpAddr>,
    /// Its public key.
    pub public_key: PublicKey,
    /// True if the agent holds its private key (sealed); false for a peer that brought its own.
    pub private_key_held: bool,
    /// True if it has a preshared key.
    pub preshared_key: bool,
    /// The latest handshake; null before the first.
    pub latest_handshake_at: Option<Timestamp>,
    /// Bytes received from it over its life.
    pub transfer_rx: u64,
    /// Bytes sent to it over its life.
    pub transfer_tx: u64,
    /// Destinations that the device sends into the tunnel.
    #[serde(rename = "allowedIPs")]
    pub allowed_ips: Vec<IpNet>,
    /// Networks behind the device that the server accepts and routes.
    #[serde(rename = "serverAllowedIPs")]
    pub server_allowed_ips: Vec<IpNet>,
    /// DNS servers of the device.
    pub dns: Vec<IpAddr>,
    /// Seconds between keepalives of the device; null for none.
    pub persistent_keepalive: Option<u16>,
    /// MTU of the device's interface, bytes; null for its own choice.
    pub mtu: Option<u16>,
    /// When it stops working by itself.
    pub expires_at: Option<Timestamp>,
    /// True if that moment is past: its host has taken it off by its own clock, with or without the
    /// plane.
    #[serde(default)]
    pub expired: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// True if the kernel has it as recorded.
    pub applied: bool,
    /// Since when a change waits to be applied; null when nothing waits.
    pub pending_since: Option<Timestamp>,
    /// The agent's reason when the kernel refused it.
    pub failed: Option<String>,
}

/// `POST /api/wg-clients/{serverID}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema), schemars(rename = "NewClient"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPeer {
    /// 1 to 64 characters, unique on its server. Required.
    // An `Option` only so that the body can be built up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(required, with = "PeerName"))]
    pub name: Option<PeerName>,
    /// The device's own public key; it then keeps its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// One wanted address of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Wanted addresses, at most one of each family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 2)))]
    pub addresses: Option<Vec<IpAddr>>,
    /// When it stops working by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Destinations that the device sends into the tunnel; default the server's.
    #[serde(rename = "allowedIPs", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 1024)))]
    pub allowed_ips: Option<Vec<IpNet>>,
    /// Networks behind the device that the server accepts and routes; default none.
    #[serde(rename = "serverAllowedIPs", default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 1024)))]
    pub server_allowed_ips: Option<Vec<IpNet>>,
    /// DNS servers of the device; default the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 16)))]
    pub dns: Option<Vec<IpAddr>>,
    /// Seconds, 0 for off; default the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_keepalive: Option<u16>,
    /// Bytes, 1280 to 9000; default the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1280, max = 9000)))]
    pub mtu: Option<u16>,
    /// False to do without a preshared key; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preshared_key: Option<bool>,
}

/// `PATCH /api/wg-clients/{serverID}/{clientID}`: what is absent stays. Where null means something
/// (`expiresAt`, `mtu`, `persistentKeepalive`), null clears it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema), schemars(rename = "ClientPatch"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerPatch {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "PeerName"))]
    pub name: Option<PeerName>,
    /// Enable or disable.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "bool"))]
    pub enabled: Option<bool>,
    /// A new end; null for none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub expires_at: Option<Option<Timestamp>>,
    /// Destinations that the device sends into the tunnel.
    #[serde(
        rename = "allowedIPs",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[cfg_attr(feature = "openapi", schemars(with = "Vec<IpNet>", length(max = 1024)))]
    pub allowed_ips: Option<Vec<IpNet>>,
    /// Networks behind the device.
    #[serde(
        rename = "serverAllowedIPs",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    #[cfg_attr(feature = "openapi", schemars(with = "Vec<IpNet>", length(max = 1024)))]
    pub server_allowed_ips: Option<Vec<IpNet>>,
    /// DNS servers of the device.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "Vec<IpAddr>", length(max = 16)))]
    pub dns: Option<Vec<IpAddr>>,
    /// Seconds; null or 0 for off.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub persistent_keepalive: Option<Option<u16>>,
    /// Bytes; null for the device's own choice.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1280, max = 9000)))]
    pub mtu: Option<Option<u16>>,
}
