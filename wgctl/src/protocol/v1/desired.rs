//! The long poll: the desired state as a change or a snapshot, and its confirmation.
//!
//! Owns these messages of protocol version 1. They must not change, except for new optional fields.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::interface::{Interface, Peer};
use super::request::Request;
use crate::PublicKey;
use crate::name::{Incarnation, PeerId};

/// The query parameters of the long poll: `GET /api/agent/desired`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DesiredQuery {
    /// The revision that the agent has; 0 for none.
    #[serde(default)]
    pub revision: u64,
    /// The incarnation that `revision` belongs to; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// The longest time to wait for a change, in seconds; at most 60.
    #[serde(default)]
    pub wait: u32,
}

/// The response to the long poll.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Desired {
    /// The protocol version.
    pub version: u32,
    /// The incarnation of the database that `revision` belongs to.
    pub incarnation: Incarnation,
    /// The revision that `change` leads to.
    pub revision: u64,
    /// The change that leads to the desired state.
    pub change: Change,
    /// The `X-Request-Id`s of the REST requests that led to `change`, limited to the latest 64. The agent logs them,
    /// so that its log can be correlated with the plane's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caused_by: Vec<Uuid>,
    /// Requests that only the agent can answer. Each one is repeated in every poll until it is answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
    /// The number of prekeys that are missing from the stock.
    #[serde(default)]
    pub prekeys_wanted: u32,
    /// The recorded public key of the host. An agent whose host has a different key introduces itself again.
    /// Absent if no key is recorded, or if the plane is older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
}

/// The change from the agent's state to the recorded state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// Nothing has changed.
    Unchanged,
    /// The changes since the revision that the agent named.
    Delta {
        /// The interface, if it has changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<Interface>,
        /// Peers that are new or have changed.
        #[serde(default)]
        upsert: Vec<Peer>,
        /// Peers that must not be on the interface.
        #[serde(default)]
        remove: Vec<PeerId>,
    },
    /// The whole state. Anything that is not in it must not be on the interface.
    Snapshot {
        /// The interface.
        interface: Interface,
        /// All enabled peers.
        peers: Vec<Peer>,
    },
}

/// The agent's confirmation of a revision.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Applied {
    /// The incarnation of the database that `revision` belongs to.
    pub incarnation: Incarnation,
    /// The revision that the kernel now has, except for the peers in `failed`.
    pub revision: u64,
    /// The peers that could not be applied.
    #[serde(default)]
    pub failed: Vec<Failure>,
    /// The reason why the interface itself could not be set up; absent if it is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_failed: Option<String>,
}

/// A peer that is not in its desired state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Failure {
    /// The peer.
    pub client: PeerId,
    /// The reason, from the kernel or from the agent.
    pub reason: String,
}
