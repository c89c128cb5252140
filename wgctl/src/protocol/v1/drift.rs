//! Reports of drift.
//!
//! Owns these messages of protocol version 1. They must not change, except for new optional fields.

use serde::{Deserialize, Serialize};

use crate::drift::Drift;
use crate::name::Incarnation;

/// Drift that the agent has found on the interface: `POST /api/agent/drift`. A report is sent again unchanged
/// until it is acknowledged, and it is counted only once, like a batch of counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct DriftReport {
    /// The incarnation of the agent's drift reports, which is stored in the agent's state directory.
    pub incarnation: Incarnation,
    /// The number of the message, which starts at 1 and increases by one with each message.
    pub sequence: u64,
    /// Drift that has been seen and repaired since the last message; at most 64 entries.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(length(max = 64)))]
    pub repaired: Vec<Drift>,
    /// Drift that has been seen since the last message and left in place; at most 64 entries.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(length(max = 64)))]
    pub seen: Vec<Drift>,
    /// All drift that is currently left in place, limited to the oldest 64 entries.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(length(max = 64)))]
    pub standing: Vec<Drift>,
}
