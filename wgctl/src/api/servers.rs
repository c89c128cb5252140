//! VPN servers.
//!
//! Owns the bodies of `/api/servers`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::optional::{given, nullable};
use crate::address::Endpoint;
use crate::drift::{Drift, DriftPolicy};
use crate::key::PublicKey;
use crate::name::{InterfaceName, ServerId};
use crate::pin::Pin;
use crate::time::Timestamp;

/// A VPN server (`/api/servers`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Server {
    /// Its id.
    pub id: ServerId,
    /// Host and port as clients dial it.
    pub endpoint: Endpoint,
    /// One IPv4 and/or one IPv6 network; the server has the first host address of each.
    pub address_pool: Vec<IpNet>,
    /// The server's own addresses in the pool.
    pub addresses: Vec<IpAddr>,
    /// DNS servers given to clients.
    pub dns: Vec<IpAddr>,
    /// Destinations that clients send into the tunnel.
    pub allowed_ips: Vec<IpNet>,
    /// MTU of interface and clients, bytes; null for the kernel's choice.
    pub mtu: Option<u16>,
    /// Seconds between keepalives of clients; null for none.
    pub persistent_keepalive: Option<u16>,
    /// The interface on the host.
    pub interface: InterfaceName,
    /// The UDP port on the host.
    pub listen_port: u16,
    /// True if the host masquerades the pool.
    pub masquerade: bool,
    /// `host:port` whose TCP connect time is reported as `ping_ms`, instead of the plane.
    pub ping_target: Option<Endpoint>,
    /// True if the interface that the host has is to be adopted when it is enrolled; false afterwards.
    #[serde(default)]
    pub adopt: bool,
    /// The host's public key; null before its agent first connected.
    pub public_key: Option<PublicKey>,
    /// Peers recorded.
    pub peers: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The revision that is recorded.
    pub desired_revision: u64,
    /// The revision the agent last confirmed; null before the first confirmation.
    pub applied_revision: Option<u64>,
    /// The agent's reason when it could not set up the interface.
    pub failed: Option<String>,
    /// The policy of the agent for changes that others make to the interface.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// Changes that others made and that are left as they are; the oldest 64.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// The number of changes by others that were repaired, over the server's life.
    #[serde(default)]
    pub drift_repaired: u64,
}

/// `POST /api/servers`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewServer {
    /// Its id, fixed for life.
    pub id: ServerId,
    /// Host and port as clients dial it.
    pub endpoint: Endpoint,
    /// One IPv4 and/or one IPv6 network.
    #[cfg_attr(feature = "openapi", schemars(length(min = 1, max = 2)))]
    pub address_pool: Vec<IpNet>,
    /// Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 16)))]
    pub dns: Vec<IpAddr>,
    /// Default everything: 0.0.0.0/0 and ::/0 as the pool has families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 1024)))]
    pub allowed_ips: Option<Vec<IpNet>>,
    /// Bytes, 1280 to 9000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1280, max = 9000)))]
    pub mtu: Option<u16>,
    /// Seconds; default 25, 0 for off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_keepalive: Option<u16>,
    /// Default `wg0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// Default the endpoint's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1)))]
    pub listen_port: Option<u16>,
    /// Default false.
    #[serde(default)]
    pub masquerade: bool,
    /// Default none: the plane itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_target: Option<Endpoint>,
    /// Default `enforce`.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// True to adopt the interface that the host has, with its key and peers. Default false.
    #[serde(default)]
    pub adopt: bool,
}

/// `PATCH /api/servers/{id}`: what is absent stays; null clears where null means something.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ServerPatch {
    /// Host and port as clients dial it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "Endpoint"))]
    pub endpoint: Option<Endpoint>,
    /// DNS servers given to clients.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "Vec<IpAddr>", length(max = 16)))]
    pub dns: Option<Vec<IpAddr>>,
    /// Destinations that clients send into the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "Vec<IpNet>", length(max = 1024)))]
    pub allowed_ips: Option<Vec<IpNet>>,
    /// Bytes; null for the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1280, max = 9000)))]
    pub mtu: Option<Option<u16>>,
    /// Seconds; null or 0 for off.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub persistent_keepalive: Option<Option<u16>>,
    /// The UDP port on the host.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "u16", range(min = 1)))]
    pub listen_port: Option<u16>,
    /// True if the host masquerades the pool.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "bool"))]
    pub masquerade: Option<bool>,
    /// Null for the plane itself.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub ping_target: Option<Option<Endpoint>>,
    /// The policy of the agent for changes that others make to the interface.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "DriftPolicy"))]
    pub drift_policy: Option<DriftPolicy>,
    /// True to adopt the host's interface as it is when the host is next enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "bool"))]
    pub adopt: Option<bool>,
}

/// A new server and its agent's token, which is shown once.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ServerCreated {
    /// The server.
    #[serde(flatten)]
    pub server: Server,
    /// Secret.
    pub agent_token: String,
    /// The plane's key, which the host pins; none where authorities vouch for the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
}

/// `POST /api/servers/{id}/token`: a new agent token.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AgentToken {
    /// Secret.
    pub agent_token: String,
    /// As in [`ServerCreated`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Until when the old one is good, unless the agent runs with the new one before; null when it is dead.
    #[serde(default)]
    pub previous_valid_until: Option<Timestamp>,
}
