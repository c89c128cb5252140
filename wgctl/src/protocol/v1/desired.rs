//! The long poll: the desired state as changes or as a whole, and its confirmation.
//!
//! Owns these messages of version 1, frozen like the others.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::interface::{Interface, Peer};
use super::request::Request;
use crate::PublicKey;
use crate::name::{Incarnation, PeerId};

/// The query of the long poll: `GET /api/agent/desired`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DesiredQuery {
    /// The revision the agent has; 0 for none.
    #[serde(default)]
    pub revision: u64,
    /// The incarnation that revision is of; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// The longest time to wait for news, in seconds; at most 60.
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
    /// The desired state, as a change.
    pub change: Change,
    /// The REST requests that led to `change`, by their `X-Request-Id`: for the agent's log, so that its
    /// lines join the plane's. The latest of them, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caused_by: Vec<Uuid>,
    /// Requests that only the agent can answer; each is repeated in every poll until it is answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
    /// The number of prekeys that the stock lacks.
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

/// The agent confirms a revision.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Applied {
    /// The database's life that `revision` is of.
    pub incarnation: Incarnation,
    /// The revision that the kernel has now, except for `failed`.
    pub revision: u64,
    /// Peers the kernel refused.
    #[serde(default)]
    pub failed: Vec<Failure>,
    /// The reason why the interface itself could not be set up; absent when it is up.
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
