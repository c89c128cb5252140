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
    /// The server's id.
    pub id: ServerId,
    /// The host and port that clients connect to.
    pub endpoint: Endpoint,
    /// The address pool: one IPv4 network, one IPv6 network, or one of each. The server itself has the first host
    /// address of each network.
    pub address_pool: Vec<IpNet>,
    /// The server's own addresses in the pool.
    pub addresses: Vec<IpAddr>,
    /// The DNS servers for clients.
    pub dns: Vec<IpAddr>,
    /// The destinations that clients route into the tunnel.
    pub allowed_ips: Vec<IpNet>,
    /// The MTU for the interface and for clients, in bytes; null leaves the choice to the kernel.
    pub mtu: Option<u16>,
    /// The interval in seconds between clients' keepalives; null if they are off.
    pub persistent_keepalive: Option<u16>,
    /// The name of the interface on the host.
    pub interface: InterfaceName,
    /// The UDP port on the host.
    pub listen_port: u16,
    /// True if the host masquerades traffic from the pool.
    pub masquerade: bool,
    /// The `host:port` to which the TCP connect time is measured for `ping_ms`; null selects the plane.
    pub ping_target: Option<Endpoint>,
    /// True if the host's existing interface is to be adopted when the host is enrolled; false afterwards.
    #[serde(default)]
    pub adopt: bool,
    /// The host's public key; null until its agent connects for the first time.
    pub public_key: Option<PublicKey>,
    /// The number of recorded peers.
    pub peers: u64,
    /// The time at which the server was created.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
    /// The recorded revision.
    pub desired_revision: u64,
    /// The revision that the agent last confirmed; null if it has not confirmed any.
    pub applied_revision: Option<u64>,
    /// The reason why the agent could not set up the interface; null if it is set up.
    pub failed: Option<String>,
    /// The agent's policy for drift.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// Drift that is currently left in place, limited to the oldest 64 entries.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// The number of external changes that have been repaired over the server's lifetime.
    #[serde(default)]
    pub drift_repaired: u64,
}

/// A new server (`POST /api/servers`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewServer {
    /// The server's id, which never changes.
    pub id: ServerId,
    /// The host and port that clients connect to.
    pub endpoint: Endpoint,
    /// The address pool: one IPv4 network, one IPv6 network, or one of each.
    #[cfg_attr(feature = "openapi", schemars(length(min = 1, max = 2)))]
    pub address_pool: Vec<IpNet>,
    /// The DNS servers for clients. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 16)))]
    pub dns: Vec<IpAddr>,
    /// The destinations that clients route into the tunnel. Default: everything (`0.0.0.0/0`, `::/0`) in the
    /// address families of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 1024)))]
    pub allowed_ips: Option<Vec<IpNet>>,
    /// The MTU in bytes, from 1280 to 9000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1280, max = 9000)))]
    pub mtu: Option<u16>,
    /// The interval in seconds between clients' keepalives; 0 turns them off. Default: 25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_keepalive: Option<u16>,
    /// The name of the interface on the host. Default: `wg0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// The UDP port on the host. Default: the endpoint's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1)))]
    pub listen_port: Option<u16>,
    /// True if the host masquerades traffic from the pool. Default: false.
    #[serde(default)]
    pub masquerade: bool,
    /// The `host:port` to which the TCP connect time is measured for `ping_ms`. Default: the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_target: Option<Endpoint>,
    /// The agent's policy for drift. Default: `enforce`.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// True to adopt the host's existing interface with its key and peers. Default: false.
    #[serde(default)]
    pub adopt: bool,
}

/// A change to a server (`PATCH /api/servers/{id}`). Absent fields are not changed; null clears a field for
/// which null has a meaning.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ServerPatch {
    /// The host and port that clients connect to.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "Endpoint"))]
    pub endpoint: Option<Endpoint>,
    /// The DNS servers for clients.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "Vec<IpAddr>", length(max = 16)))]
    pub dns: Option<Vec<IpAddr>>,
    /// The destinations that clients route into the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "Vec<IpNet>", length(max = 1024)))]
    pub allowed_ips: Option<Vec<IpNet>>,
    /// The MTU in bytes; null leaves the choice to the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1280, max = 9000)))]
    pub mtu: Option<Option<u16>>,
    /// The interval in seconds between clients' keepalives; null or 0 turns them off.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub persistent_keepalive: Option<Option<u16>>,
    /// The UDP port on the host.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "u16", range(min = 1)))]
    pub listen_port: Option<u16>,
    /// True if the host masquerades traffic from the pool.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "bool"))]
    pub masquerade: Option<bool>,
    /// The `host:port` to which the TCP connect time is measured for `ping_ms`; null selects the plane.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub ping_target: Option<Option<Endpoint>>,
    /// The agent's policy for drift.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "DriftPolicy"))]
    pub drift_policy: Option<DriftPolicy>,
    /// True to adopt the host's existing interface when the host is next enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[cfg_attr(feature = "openapi", schemars(with = "bool"))]
    pub adopt: Option<bool>,
}

/// A new server and its agent token, which is shown only once.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ServerCreated {
    /// The server.
    #[serde(flatten)]
    pub server: Server,
    /// The agent token, which is secret.
    pub agent_token: String,
    /// The pin of the plane's key, by which the host recognizes the plane; absent if a certificate authority vouches
    /// for the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
}

/// A new agent token (`POST /api/servers/{id}/token`).
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AgentToken {
    /// The agent token, which is secret.
    pub agent_token: String,
    /// The pin of the plane's key, as in [`ServerCreated`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// The time until which the old token is valid, unless the agent uses the new one earlier; null if the old
    /// token is no longer valid.
    #[serde(default)]
    pub previous_valid_until: Option<Timestamp>,
}
