//! The messages of an enrolment: what the host is to become, and the interface that it has already.
//!
//! Owns these messages of version 1, frozen like the others.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::interface::{Interface, Peer};
use super::sealed::Sealed;
use crate::address::Endpoint;
use crate::key::PublicKey;
use crate::name::{Incarnation, PeerId, PeerName, ServerId};

/// The role that a host is enrolled for; the first question of an enrolment. Asking changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Terms {
    /// The server of the token.
    pub server_id: ServerId,
    /// True if the record awaits the adoption of the interface as it is on the host.
    pub adopt: bool,
    /// The host's public key as it is recorded; absent before there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// Where devices dial.
    pub endpoint: Endpoint,
    /// The recorded state.
    pub recorded: Recorded,
}

/// All that is recorded of a server's interface, at a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Recorded {
    /// The database's life that `revision` is of.
    pub incarnation: Incarnation,
    /// Its revision.
    pub revision: u64,
    /// The interface.
    pub interface: Interface,
    /// All enabled peers.
    pub peers: Vec<Peer>,
}

/// The query of `POST /api/agent/adoption`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct AdoptionQuery {
    /// Only say what would become of it.
    #[serde(default)]
    pub dry_run: bool,
}

/// An interface that is to be taken over as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Adoption {
    /// Its public key.
    pub public_key: PublicKey,
    /// Its UDP port; absent where none is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1)))]
    pub listen_port: Option<u16>,
    /// Its peers.
    pub peers: Vec<FoundPeer>,
}

/// A peer of an interface that is to be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema), schemars(rename = "AdoptedPeer"))]
pub struct FoundPeer {
    /// The id it gets if it is not recorded yet: its preshared key is sealed to it.
    pub id: PeerId,
    /// Its key.
    pub public_key: PublicKey,
    /// Its name on the host; absent where nothing says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PeerName>,
    /// Its preshared key, sealed; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preshared_key: Option<Sealed>,
    /// Networks it may send from.
    pub allowed_ips: Vec<IpNet>,
    /// Seconds between the host's own keepalives to it; absent for off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_keepalive: Option<u16>,
}

/// The outcome, real or in a dry run, of an [`Adoption`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Adopted {
    /// The record afterwards.
    pub recorded: Recorded,
    /// The interface's peers as clients, in the adoption's order.
    #[serde(default)]
    pub clients: Vec<AdoptedPeer>,
    /// The obstacles; while there are any, nothing is changed.
    #[serde(default)]
    pub obstacles: Vec<Obstacle>,
}

/// A peer of an adopted interface, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "AdoptedClient")
)]
pub struct AdoptedPeer {
    /// Its id.
    pub id: PeerId,
    /// Its key.
    pub public_key: PublicKey,
    /// Its name.
    pub name: PeerName,
    /// Its addresses of the pool.
    pub addresses: Vec<IpAddr>,
    /// The networks behind it.
    #[serde(default)]
    pub networks: Vec<IpNet>,
}

/// A reason why an interface cannot be adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Obstacle {
    /// The peer it is about; absent for the interface itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// The problem, and what to do about it.
    pub reason: String,
}
