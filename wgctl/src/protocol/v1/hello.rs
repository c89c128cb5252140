//! The first call of an agent.
//!
//! Owns these messages of version 1, frozen like the others.

use serde::{Deserialize, Serialize};

use crate::key::PublicKey;
use crate::name::{Incarnation, ServerId};

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
    /// The server of the token.
    pub server_id: ServerId,
    /// The database's life.
    pub incarnation: Incarnation,
}
