//! The messages of an enrolment: the state that the host should have, and the interface that it already has.
//!
//! Owns these messages of protocol version 1. They must not change, except for new optional fields.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::interface::{Interface, Peer};
use super::sealed::Sealed;
use crate::address::Endpoint;
use crate::key::PublicKey;
use crate::name::{Incarnation, PeerId, PeerName, ServerId};

/// The terms of an enrolment, which the agent requests first. The request changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Terms {
    /// The server that the token belongs to.
    pub server_id: ServerId,
    /// True if the plane expects the host's existing interface to be adopted.
    pub adopt: bool,
    /// The recorded public key of the host; absent if none is recorded yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// The endpoint that devices connect to.
    pub endpoint: Endpoint,
    /// The recorded state.
    pub recorded: Recorded,
}

/// The recorded state of a server's interface at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Recorded {
    /// The incarnation of the database that `revision` belongs to.
    pub incarnation: Incarnation,
    /// The revision of this state.
    pub revision: u64,
    /// The interface.
    pub interface: Interface,
    /// All enabled peers.
    pub peers: Vec<Peer>,
}

/// The query parameters of `POST /api/agent/adoption`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct AdoptionQuery {
    /// True to report the outcome without changing anything.
    #[serde(default)]
    pub dry_run: bool,
}

/// An existing interface that is to be adopted unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Adoption {
    /// Its public key.
    pub public_key: PublicKey,
    /// Its UDP port; absent if none is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1)))]
    pub listen_port: Option<u16>,
    /// Its peers.
    pub peers: Vec<FoundPeer>,
}

/// A peer of an interface that is to be adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema), schemars(rename = "AdoptedPeer"))]
pub struct FoundPeer {
    /// The id that the peer gets if it is not recorded yet. Its preshared key is sealed to this id.
    pub id: PeerId,
    /// Its public key.
    pub public_key: PublicKey,
    /// Its name on the host; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PeerName>,
    /// Its preshared key, sealed; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preshared_key: Option<Sealed>,
    /// The networks that it may send from.
    pub allowed_ips: Vec<IpNet>,
    /// The interval in seconds between the host's keepalives to it; absent if they are off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_keepalive: Option<u16>,
}

/// The outcome of an [`Adoption`] or of its dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Adopted {
    /// The record after the adoption.
    pub recorded: Recorded,
    /// The interface's peers as clients, in the same order as in the request.
    #[serde(default)]
    pub clients: Vec<AdoptedPeer>,
    /// The obstacles to the adoption. If there are any, nothing is changed.
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
    /// Its public key.
    pub public_key: PublicKey,
    /// Its name.
    pub name: PeerName,
    /// Its addresses from the pool.
    pub addresses: Vec<IpAddr>,
    /// The networks behind it.
    #[serde(default)]
    pub networks: Vec<IpNet>,
}

/// A reason why an interface cannot be adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Obstacle {
    /// The peer that the obstacle concerns; absent if it concerns the interface itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// A description of the problem and of how to solve it.
    pub reason: String,
}
