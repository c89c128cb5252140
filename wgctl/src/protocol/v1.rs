//! Version 1 of the agent protocol. Frozen: see the parent module.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::address::Endpoint;
use crate::drift::{Drift, DriftPolicy};
use crate::key::PublicKey;
use crate::name::{Incarnation, InterfaceName, PeerId, PeerName, RequestId, ServerId};
use crate::time::Timestamp;

mod adoption;

pub use adoption::{Adopted, AdoptedClient, AdoptedPeer, Adoption, AdoptionQuery, Obstacle, Recorded, Terms};

/// This version's number.
pub const VERSION: u32 = 1;

/// A secret under the agent's sealing key: nonce and ciphertext, bound to server and peer. The
/// plane keeps it and cannot open it. Base64 in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl Serialize for Sealed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        BASE64
            .decode(text.as_bytes())
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// The agent introduces itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Hello {
    /// The highest protocol version the agent speaks.
    #[cfg_attr(feature = "openapi", schemars(range(min = 1)))]
    pub version: u32,
    /// The agent's software version, for people.
    pub agent_version: String,
    /// The host's public key.
    pub public_key: PublicKey,
}

/// The plane's answer to a [`Hello`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Welcome {
    /// The version both will speak.
    pub version: u32,
    /// Whose token it was.
    pub server_id: ServerId,
    /// The database's life.
    pub incarnation: Incarnation,
}

/// What the long poll asks: the query of `GET /api/agent/desired`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DesiredQuery {
    /// The revision the agent has; 0 for none.
    #[serde(default)]
    pub revision: u64,
    /// The incarnation that revision is of; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// How long the answer may wait for news, seconds; at most 60.
    #[serde(default)]
    pub wait: u32,
}

/// The long poll's answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Desired {
    /// The protocol version.
    pub version: u32,
    /// The database's life that `revision` is of.
    pub incarnation: Incarnation,
    /// The revision that `change` leads to.
    pub revision: u64,
    /// What is to be.
    pub change: Change,
    /// The REST requests that led to `change`, by their `X-Request-Id`: for the agent's log, so that its
    /// lines join the plane's. The latest of them, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caused_by: Vec<Uuid>,
    /// What only the agent can answer, each once a poll until replied to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
    /// How many prekeys the stock lacks.
    #[serde(default)]
    pub prekeys_wanted: u32,
    /// The host's public key on record. An agent whose host has another key introduces itself again.
    /// Absent when no key is recorded, and from planes that do not send it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
}

/// From what the agent has to what is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// Nothing is new.
    Unchanged,
    /// The changes since the revision the agent named.
    Delta {
        /// The interface, where it changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<Interface>,
        /// Peers that are new or changed.
        #[serde(default)]
        upsert: Vec<Peer>,
        /// Peers that must not be on the interface (any more).
        #[serde(default)]
        remove: Vec<PeerId>,
    },
    /// Everything: what is not in it must not be on the interface.
    Snapshot {
        /// The interface.
        interface: Interface,
        /// All enabled peers.
        peers: Vec<Peer>,
    },
}

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
    /// Whether to masquerade what comes from `addresses`' networks and leaves by another interface.
    #[serde(default)]
    pub masquerade: bool,
    /// `host:port` whose TCP connect time to report; absent for the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_target: Option<Endpoint>,
    /// What to do about changes that others make; absent to repair them.
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

/// The agent confirms a revision.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Applied {
    /// The database's life that `revision` is of.
    pub incarnation: Incarnation,
    /// What the kernel now has, but for `failed`.
    pub revision: u64,
    /// Peers the kernel refused.
    #[serde(default)]
    pub failed: Vec<Failure>,
    /// Why the interface itself could not be set up; absent when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_failed: Option<String>,
}

/// A peer that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Failure {
    /// The peer.
    pub client: PeerId,
    /// The kernel's or the agent's reason.
    pub reason: String,
}

/// What others did to the interface: `POST /api/agent/drift`. Sent again unchanged until it is
/// acknowledged, and counted once, like a batch of counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct DriftReport {
    /// One life of the agent's counting (its state directory's).
    pub incarnation: Incarnation,
    /// Counts up by one a message, from 1.
    pub sequence: u64,
    /// Seen and repaired since the last message; at most 64.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(length(max = 64)))]
    pub repaired: Vec<Drift>,
    /// Seen since the last message and left as it is; at most 64.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(length(max = 64)))]
    pub seen: Vec<Drift>,
    /// All that is left as it is now, the 64 oldest of it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(length(max = 64)))]
    pub standing: Vec<Drift>,
}

/// Fresh sealed keys for peers to come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Prekeys {
    /// At most 256 at a time.
    #[cfg_attr(feature = "openapi", schemars(length(max = 256)))]
    pub prekeys: Vec<Prekey>,
}

/// One peer's keys, made and sealed by the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Prekey {
    /// The id of the peer that will use it: the keys are sealed to it.
    pub id: PeerId,
    /// The public half.
    pub public_key: PublicKey,
    /// The private half, sealed.
    pub private_key: Sealed,
    /// A preshared key, sealed.
    pub preshared_key: Sealed,
}

/// Something only the agent can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Request {
    /// Its id, named in the reply's path.
    pub id: RequestId,
    /// What is asked.
    pub ask: Ask,
}

/// The kinds of request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ask {
    /// Open the peer's sealed keys and write its wg-quick configuration.
    Configuration(ClientConfiguration),
}

/// All that goes into a client's configuration but the secrets and the host's public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ClientConfiguration {
    /// The peer.
    pub id: PeerId,
    /// Its name, for the comment.
    pub name: PeerName,
    /// Its public key, which the opened private key must match.
    pub public_key: PublicKey,
    /// Its private key, sealed; absent for a peer that brought its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<Sealed>,
    /// Its preshared key, sealed; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preshared_key: Option<Sealed>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// DNS servers.
    #[serde(default)]
    pub dns: Vec<IpAddr>,
    /// MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// What it sends into the tunnel.
    pub allowed_ips: Vec<IpNet>,
    /// Where it dials.
    pub endpoint: Endpoint,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_keepalive: Option<u16>,
}

/// The answer to a [`Request`].
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reply {
    /// wg-quick text. Secret: the plane passes it on and forgets it.
    Configuration {
        /// The text.
        text: String,
    },
    /// It could not be answered.
    Failed {
        /// Why, for the person who asked.
        reason: String,
    },
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration { .. } => f.write_str("Configuration(redacted)"),
            Self::Failed { reason } => write!(f, "Failed({reason:?})"),
        }
    }
}
