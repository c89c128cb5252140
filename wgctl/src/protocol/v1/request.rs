//! Requests that only the agent can answer, and its replies.
//!
//! Owns these messages of version 1, frozen like the others.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::sealed::Sealed;
use crate::address::Endpoint;
use crate::key::PublicKey;
use crate::name::{PeerId, PeerName, RequestId};

/// Something only the agent can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Request {
    /// Its id, named in the reply's path.
    pub id: RequestId,
    /// The request itself.
    pub ask: Ask,
}

/// The kinds of request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ask {
    /// Open the peer's sealed keys and write its wg-quick configuration.
    Configuration(PeerConfiguration),
}

/// All that goes into a client's configuration but the secrets and the host's public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "ClientConfiguration")
)]
pub struct PeerConfiguration {
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
    /// Destinations that it sends into the tunnel.
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
        /// The reason, for the person who asked.
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
