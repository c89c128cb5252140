//! The REST API's bodies, as plane, command and tests share them.
//!
//! Owns field names and types of requests and answers. The original reference is law here: its
//! fields keep their names, types and case (peers camelCase, everything else snake_case); fields
//! may be added. It must not hold behaviour beyond parsing. Request types refuse unknown fields,
//! but for [`Report`], where newer agents may send more.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::address::Endpoint;
use crate::key::PublicKey;
use crate::name::{Email, Incarnation, InterfaceName, PeerId, PeerName, ServerId, UserId};
use crate::time::Timestamp;

/// A problem report (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable URI of the kind of problem: `urn:sentrazone:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in words.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// What was wrong here and what to do next.
    pub detail: String,
    /// A stable machine-readable name (`name_taken`, `pool_exhausted`, …).
    pub code: String,
    /// The request field that is wrong, as a path (`address_pool[0]`), where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees servers, statuses and history.
    Viewer,
    /// Does everything.
    Admin,
}

/// `POST /api/login`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user's email. Any text: an unknown one answers like a wrong password.
    pub email: String,
    /// The password. Secret.
    pub password: String,
}

/// The answer to a login. The token is secret.
#[derive(Serialize, Deserialize)]
pub struct Session {
    /// A JWT (HS256), good for 24 hours.
    pub token: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// One server's latest state (`GET /api/statuses`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The server.
    pub server_id: ServerId,
    /// Whether its agent was heard within the last three report intervals.
    pub online: bool,
    /// Smoothed round trip from the agent to the plane, or to the server's `ping_target`; milliseconds.
    pub ping_ms: Option<f64>,
    /// Enabled peers on the interface.
    pub peers: u64,
    /// Bytes received from all peers, cumulative over the server's life.
    pub transfer_rx: u64,
    /// Bytes sent to all peers, cumulative over the server's life.
    pub transfer_tx: u64,
    /// When the agent last reported; null before the first report.
    pub reported_at: Option<Timestamp>,
    /// The revision that is recorded.
    pub desired_revision: u64,
    /// The revision the agent last confirmed; null before the first confirmation.
    pub applied_revision: Option<u64>,
    /// The agent's reason when it could not set up the interface.
    #[serde(default)]
    pub failed: Option<String>,
}

/// One point of a server's history (`GET /api/history`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// The server.
    pub server_id: ServerId,
    /// The mean over the step, milliseconds; null where none was measured.
    pub ping_ms: Option<f64>,
    /// The last cumulative value in the step, bytes.
    pub transfer_rx: u64,
    /// The last cumulative value in the step, bytes.
    pub transfer_tx: u64,
    /// The beginning of the step.
    pub recorded_at: Timestamp,
}

/// A peer (`/api/wg-clients/…`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// The peer's id.
    pub id: PeerId,
    /// Its name, unique on its server.
    pub name: PeerName,
    /// Whether it should be able to connect.
    pub enabled: bool,
    /// The bare IPv4 address; the IPv6 one where the pool has no IPv4.
    pub address: IpAddr,
    /// All addresses.
    pub addresses: Vec<IpAddr>,
    /// Its public key.
    pub public_key: PublicKey,
    /// Whether the agent holds its private key (sealed): false for a peer that brought its own.
    pub private_key_held: bool,
    /// Whether it has a preshared key.
    pub preshared_key: bool,
    /// The latest handshake; null before the first.
    pub latest_handshake_at: Option<Timestamp>,
    /// Bytes received from it over its life.
    pub transfer_rx: u64,
    /// Bytes sent to it over its life.
    pub transfer_tx: u64,
    /// What the device sends into the tunnel.
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
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Whether the kernel has it as recorded.
    pub applied: bool,
    /// Since when a change waits to be applied; null when nothing waits.
    pub pending_since: Option<Timestamp>,
    /// The agent's reason when the kernel refused it.
    pub failed: Option<String>,
}

/// `POST /api/wg-clients/{serverID}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewClient {
    /// 1 to 64 characters, unique on its server. Required (an `Option` only so that it can be built up).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PeerName>,
    /// The device's own public key; it then keeps its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// One wanted address of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Wanted addresses, at most one of each family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<IpAddr>>,
    /// When it stops working by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What the device sends into the tunnel; default the server's.
    #[serde(rename = "allowedIPs", default, skip_serializing_if = "Option::is_none")]
    pub allowed_ips: Option<Vec<IpNet>>,
    /// Networks behind the device that the server accepts and routes; default none.
    #[serde(rename = "serverAllowedIPs", default, skip_serializing_if = "Option::is_none")]
    pub server_allowed_ips: Option<Vec<IpNet>>,
    /// DNS servers of the device; default the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Vec<IpAddr>>,
    /// Seconds, 0 for off; default the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_keepalive: Option<u16>,
    /// Bytes, 1280 to 9000; default the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Whether to use a preshared key; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preshared_key: Option<bool>,
}

/// `PATCH /api/wg-clients/{serverID}/{clientID}`: what is absent stays. Where null means something
/// (`expiresAt`, `mtu`, `persistentKeepalive`), null clears it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientPatch {
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub name: Option<PeerName>,
    /// Enable or disable.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub enabled: Option<bool>,
    /// A new end; null for none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub expires_at: Option<Option<Timestamp>>,
    /// What the device sends into the tunnel.
    #[serde(
        rename = "allowedIPs",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    pub allowed_ips: Option<Vec<IpNet>>,
    /// Networks behind the device.
    #[serde(
        rename = "serverAllowedIPs",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    pub server_allowed_ips: Option<Vec<IpNet>>,
    /// DNS servers of the device.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub dns: Option<Vec<IpAddr>>,
    /// Seconds; null or 0 for off.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub persistent_keepalive: Option<Option<u16>>,
    /// Bytes; null for the device's own choice.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub mtu: Option<Option<u16>>,
}

/// Tells an absent field (outer `None`) from one that is null (inner `None`).
fn nullable<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// A field that may be absent but not null: to take null for "stays" would be to ignore it silently.
fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// A VPN server (`/api/servers`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// What clients send into the tunnel.
    pub allowed_ips: Vec<IpNet>,
    /// MTU of interface and clients, bytes; null for the kernel's choice.
    pub mtu: Option<u16>,
    /// Seconds between keepalives of clients; null for none.
    pub persistent_keepalive: Option<u16>,
    /// The interface on the host.
    pub interface: InterfaceName,
    /// The UDP port on the host.
    pub listen_port: u16,
    /// Whether the host masquerades the pool.
    pub masquerade: bool,
    /// `host:port` whose TCP connect time is reported as `ping_ms`, instead of the plane.
    pub ping_target: Option<Endpoint>,
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
}

/// `POST /api/servers`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewServer {
    /// Its id, fixed for life.
    pub id: ServerId,
    /// Host and port as clients dial it.
    pub endpoint: Endpoint,
    /// One IPv4 and/or one IPv6 network.
    pub address_pool: Vec<IpNet>,
    /// Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// Default everything: 0.0.0.0/0 and ::/0 as the pool has families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_ips: Option<Vec<IpNet>>,
    /// Bytes, 1280 to 9000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Seconds; default 25, 0 for off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_keepalive: Option<u16>,
    /// Default `wg0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// Default the endpoint's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// Default false.
    #[serde(default)]
    pub masquerade: bool,
    /// Default none: the plane itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_target: Option<Endpoint>,
}

/// `PATCH /api/servers/{id}`: what is absent stays; null clears where null means something.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerPatch {
    /// Host and port as clients dial it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub endpoint: Option<Endpoint>,
    /// DNS servers given to clients.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub dns: Option<Vec<IpAddr>>,
    /// What clients send into the tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub allowed_ips: Option<Vec<IpNet>>,
    /// Bytes; null for the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub mtu: Option<Option<u16>>,
    /// Seconds; null or 0 for off.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub persistent_keepalive: Option<Option<u16>>,
    /// The UDP port on the host.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub listen_port: Option<u16>,
    /// Whether the host masquerades the pool.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub masquerade: Option<bool>,
    /// Null for the plane itself.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub ping_target: Option<Option<Endpoint>>,
}

/// A new server and its agent's token, which is shown once.
#[derive(Serialize, Deserialize)]
pub struct ServerCreated {
    /// The server.
    #[serde(flatten)]
    pub server: Server,
    /// Secret.
    pub agent_token: String,
}

/// `POST /api/servers/{id}/token`: a new agent token; the old one is dead.
#[derive(Serialize, Deserialize)]
pub struct AgentToken {
    /// Secret.
    pub agent_token: String,
}

/// A person (`/api/users`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// What they log in with.
    pub email: Email,
    /// What they may do.
    pub role: Role,
    /// Whether they may log in.
    pub enabled: bool,
    /// When they were made.
    pub created_at: Timestamp,
    /// When they last logged in.
    pub last_login_at: Option<Timestamp>,
}

/// `POST /api/users`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// What they log in with.
    pub email: Email,
    /// At least 12 characters, at most 1,024 bytes. Secret.
    pub password: String,
    /// What they may do.
    pub role: Role,
}

/// `PATCH /api/users/{id}`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// A new role.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub role: Option<Role>,
    /// Enable or disable.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub enabled: Option<bool>,
    /// A new password, set by an admin. Secret.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub password: Option<String>,
}

/// `POST /api/password`: one's own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The password that is valid now. Secret.
    pub current_password: String,
    /// The one to be. Secret.
    pub new_password: String,
}

/// One record of the audit log (`GET /api/audit`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Counts up by one from 1.
    pub id: u64,
    /// An email, `agent:<server>`, `token:<name>` or `local:<user>`.
    pub actor: String,
    /// What was done: `wg_client_created`, `login_failed`, …
    pub action: String,
    /// On what: `los-angeles/alice-iphone`, a server, a user.
    pub target: String,
    /// The caller's address; empty where there is none (the local socket).
    pub ip: String,
    /// When.
    pub created_at: Timestamp,
}

/// `POST /api/report`. The first five fields are the original's; a report of those alone is
/// complete. Fields nobody knows yet are let through.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Must be the token's server.
    pub server_id: ServerId,
    /// Milliseconds; null when nothing was measured.
    #[serde(default)]
    pub ping_ms: Option<f64>,
    /// Enabled peers on the interface.
    pub peers: u64,
    /// Bytes received, cumulative. Ignored where `counters` are sent: the plane then keeps the sums.
    pub transfer_rx: u64,
    /// Bytes sent, cumulative. Ignored where `counters` are sent.
    pub transfer_tx: u64,
    /// Per-peer increments since the last acknowledged report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<Counters>,
    /// Seconds until the next report; default 15. What "online" is measured by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_interval: Option<u32>,
}

/// Increments of the peers' counters. A batch is sent again unchanged until it is acknowledged,
/// and counted once: the plane remembers the last `sequence` of an `incarnation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// One life of the agent's counting (its state directory's).
    pub incarnation: Incarnation,
    /// Counts up by one a batch, from 1.
    pub sequence: u64,
    /// Only peers with something new.
    pub peers: BTreeMap<PeerId, PeerCounters>,
}

/// What a peer's counters grew by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerCounters {
    /// Bytes received from it since the last batch.
    pub rx: u64,
    /// Bytes sent to it since the last batch.
    pub tx: u64,
    /// Its latest handshake, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_handshake_at: Option<Timestamp>,
}

/// `GET /readyz` and `GET /healthz`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or what is missing.
    pub status: String,
}

/// The kind URI of a problem code.
#[must_use]
pub fn problem_kind(code: &str) -> String {
    format!("urn:sentrazone:problem:{code}")
}

/// A plane's address without a trailing slash, as configuration and command line give it.
pub fn base_url(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("{text:?} is not a URL ({error}): write https://HOST[:PORT]"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!(
            "{text:?} is not an http or https URL: write https://HOST[:PORT]"
        ));
    }
    Ok(url)
}
