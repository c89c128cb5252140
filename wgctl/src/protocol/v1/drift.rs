//! Reports of drift.
//!
//! Owns these messages of version 1, frozen like the others.

use serde::{Deserialize, Serialize};

use crate::drift::Drift;
use crate::name::Incarnation;

/// Changes that others made to the interface: `POST /api/agent/drift`. Sent again unchanged until it is
/// acknowledged, and counted once, like a batch of counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct DriftReport {
    /// One life of the agent's counting (its state directory's).
    pub incarnation: Incarnation,
    /// Counts up by one a message, from 1.
    pub sequence: u64,
    /// Seen and repaired since the last message; at most 64.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(length(max = 64)))]
    pub repaired: Vec<Drift>,
    /// Seen since the last message and left as it is; at most 64.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(length(max = 64)))]
    pub seen: Vec<Drift>,
    /// All that is left as it is now, the 64 oldest of it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(length(max = 64)))]
    pub standing: Vec<Drift>,
}
