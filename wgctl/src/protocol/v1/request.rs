//! Requests that only the agent can answer, and the agent's replies.
//!
//! Owns these messages of protocol version 1. They must not change, except for new optional fields.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::sealed::Sealed;
use crate::address::Endpoint;
use crate::key::PublicKey;
use crate::name::{PeerId, PeerName, RequestId};

/// A request that only the agent can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Request {
    /// Its id, which is part of the path of the reply.
    pub id: RequestId,
    /// The request itself.
    pub ask: Ask,
}

/// The kinds of request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ask {
    /// A request to open the peer's sealed keys and to write its wg-quick configuration.
    Configuration(PeerConfiguration),
}

/// Everything that a client's configuration contains, except for the host's public key; the secrets are sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "ClientConfiguration")
)]
pub struct PeerConfiguration {
    /// The peer.
    pub id: PeerId,
    /// Its name, which becomes a comment.
    pub name: PeerName,
    /// Its public key, which the opened private key must match.
    pub public_key: PublicKey,
    /// Its private key, sealed; absent if the peer has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<Sealed>,
    /// Its preshared key, sealed; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preshared_key: Option<Sealed>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Its DNS servers.
    #[serde(default)]
    pub dns: Vec<IpAddr>,
    /// Its MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// The destinations that it routes into the tunnel.
    pub allowed_ips: Vec<IpNet>,
    /// The endpoint that it connects to.
    pub endpoint: Endpoint,
    /// The interval between its keepalives, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_keepalive: Option<u16>,
}

/// The answer to a [`Request`].
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reply {
    /// The wg-quick text. It is secret: the plane passes it on and does not store it.
    Configuration {
        /// The text itself.
        text: String,
    },
    /// The request could not be answered.
    Failed {
        /// The reason, for the person who made the request.
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
