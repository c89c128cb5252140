//! The first request from an agent.
//!
//! Owns these messages of protocol version 1. They must not change, except for new optional fields.

use serde::{Deserialize, Serialize};

use crate::key::PublicKey;
use crate::name::{Incarnation, ServerId};

/// The introduction of an agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Hello {
    /// The highest protocol version that the agent supports.
    #[cfg_attr(feature = "openapi", schemars(range(min = 1)))]
    pub version: u32,
    /// The agent's software version, for display.
    pub agent_version: String,
    /// The host's public key.
    pub public_key: PublicKey,
}

/// The plane's response to a [`Hello`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Welcome {
    /// The protocol version that both sides will use.
    pub version: u32,
    /// The server that the token belongs to.
    pub server_id: ServerId,
    /// The incarnation of the plane's database.
    pub incarnation: Incarnation,
}
