//! Statuses, history, health, and the reports of agents.
//!
//! Owns the bodies of `/api/statuses`, `/api/history`, `/api/report` and the health checks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::drift::Drift;
use crate::name::{Incarnation, PeerId, ServerId};
use crate::time::Timestamp;

/// One server's latest state (`GET /api/statuses`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Status {
    /// The server.
    pub server_id: ServerId,
    /// True if its agent was heard within the last three report intervals.
    pub online: bool,
    /// Smoothed round trip from the agent to the plane, or to the server's `ping_target`; milliseconds.
    pub ping_ms: Option<f64>,
    /// Enabled peers on the interface.
    pub peers: u64,
    /// Bytes received from all peers, cumulative over the server's life.
    pub transfer_rx: u64,
    /// Bytes sent to all peers, cumulative over the server's life.
    pub transfer_tx: u64,
    /// When the agent last reported; null before the first report.
    pub reported_at: Option<Timestamp>,
    /// The revision that is recorded.
    pub desired_revision: u64,
    /// The revision the agent last confirmed; null before the first confirmation.
    pub applied_revision: Option<u64>,
    /// The agent's reason when it could not set up the interface.
    #[serde(default)]
    pub failed: Option<String>,
    /// Changes that others made to the interface and that are left as they are; the oldest 64.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// The number of changes by others that were repaired, over the server's life.
    #[serde(default)]
    pub drift_repaired: u64,
}

/// One point of a server's history (`GET /api/history`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct HistoryPoint {
    /// The server.
    pub server_id: ServerId,
    /// The mean over the step, milliseconds; null where none was measured.
    pub ping_ms: Option<f64>,
    /// The last cumulative value in the step, bytes.
    pub transfer_rx: u64,
    /// The last cumulative value in the step, bytes.
    pub transfer_tx: u64,
    /// The beginning of the step.
    pub recorded_at: Timestamp,
}

/// `POST /api/report`. The first five fields are the original's; a report of those alone is
/// complete. Fields nobody knows yet are let through.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Report {
    /// Must be the token's server.
    pub server_id: ServerId,
    /// Milliseconds; null when nothing was measured.
    #[serde(default)]
    pub ping_ms: Option<f64>,
    /// Enabled peers on the interface.
    pub peers: u64,
    /// Bytes received, cumulative. Ignored where `counters` or `sent_at` are sent: the plane then
    /// keeps the sums.
    pub transfer_rx: u64,
    /// Bytes sent, cumulative. Ignored likewise.
    pub transfer_tx: u64,
    /// Per-peer increments since the last acknowledged report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<Counters>,
    /// Seconds until the next report; default 15. What "online" is measured by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_interval: Option<u32>,
    /// The agent's clock as this was sent: what the times of `counters.samples` are measured by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

/// Increments of the peers' counters. A batch is sent again unchanged until it is acknowledged,
/// and counted once: the plane remembers the last `sequence` of an `incarnation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Counters {
    /// One life of the agent's counting (its state directory's).
    pub incarnation: Incarnation,
    /// Counts up by one a batch, from 1.
    pub sequence: u64,
    /// Only peers with something new.
    pub peers: BTreeMap<PeerId, PeerCounters>,
    /// All that this life has counted, this batch included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Transfer>,
    /// Samples of the time in which no report got through, oldest first; at most [`SAMPLES_AT_ONCE`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 1440)))]
    pub samples: Vec<PastSample>,
}

/// The most samples in one batch.
pub const SAMPLES_AT_ONCE: usize = 1440;

/// Bytes in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Transfer {
    /// Bytes received.
    pub rx: u64,
    /// Bytes sent.
    pub tx: u64,
}

/// A sample of a moment whose report did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PastSample {
    /// When, by the agent's clock.
    pub at: Timestamp,
    /// Milliseconds; absent when nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_ms: Option<f64>,
    /// Bytes that the agent's life had counted as received by then.
    pub rx: u64,
    /// Bytes that it had counted as sent.
    pub tx: u64,
}

/// The increments of a peer's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PeerCounters {
    /// Bytes received from it since the last batch.
    pub rx: u64,
    /// Bytes sent to it since the last batch.
    pub tx: u64,
    /// Its latest handshake, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_handshake_at: Option<Timestamp>,
}

/// `GET /readyz` and `GET /healthz`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Health {
    /// `ok`, or what is missing.
    pub status: String,
}
