//! The stock of sealed keys for future peers.
//!
//! Owns these messages of protocol version 1. They must not change, except for new optional fields.

use serde::{Deserialize, Serialize};

use super::sealed::Sealed;
use crate::key::PublicKey;
use crate::name::PeerId;

/// New sealed keys for future peers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Prekeys {
    /// The new keys; at most 256 at a time.
    #[cfg_attr(feature = "openapi", schemars(length(max = 256)))]
    pub prekeys: Vec<Prekey>,
}

/// The keys of one peer, generated and sealed by the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Prekey {
    /// The id of the peer that will use the keys. The seal is bound to this id.
    pub id: PeerId,
    /// The public key.
    pub public_key: PublicKey,
    /// The private key, sealed.
    pub private_key: Sealed,
    /// A preshared key, sealed.
    pub preshared_key: Sealed,
}
