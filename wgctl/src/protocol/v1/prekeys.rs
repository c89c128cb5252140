//! The stock of sealed keys.
//!
//! Owns these messages of version 1, frozen like the others.

use serde::{Deserialize, Serialize};

use super::sealed::Sealed;
use crate::key::PublicKey;
use crate::name::PeerId;

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
