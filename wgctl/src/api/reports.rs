//! Statuses, history, health checks and agent reports.
//!
//! Owns the bodies of `/api/statuses`, `/api/history`, `/api/report` and the health checks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::drift::Drift;
use crate::name::{Incarnation, PeerId, ServerId};
use crate::time::Timestamp;

/// The latest state of one server (`GET /api/statuses`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Status {
    /// The server.
    pub server_id: ServerId,
    /// True if the plane has heard from the agent within the last three report intervals.
    pub online: bool,
    /// The smoothed round-trip time from the agent to the plane, or to the server's `ping_target`, in milliseconds.
    pub ping_ms: Option<f64>,
    /// The number of enabled peers on the interface.
    pub peers: u64,
    /// The number of bytes received from all peers over the server's lifetime.
    pub transfer_rx: u64,
    /// The number of bytes sent to all peers over the server's lifetime.
    pub transfer_tx: u64,
    /// The time of the agent's last report; null if there has been none.
    pub reported_at: Option<Timestamp>,
    /// The recorded revision.
    pub desired_revision: u64,
    /// The revision that the agent last confirmed; null if it has not confirmed any.
    pub applied_revision: Option<u64>,
    /// The reason why the agent could not set up the interface; null if it is set up.
    #[serde(default)]
    pub failed: Option<String>,
    /// Drift that is currently left in place, limited to the oldest 64 entries.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// The number of external changes that have been repaired over the server's lifetime.
    #[serde(default)]
    pub drift_repaired: u64,
}

/// One point in a server's history (`GET /api/history`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct HistoryPoint {
    /// The server.
    pub server_id: ServerId,
    /// The mean round-trip time in the step, in milliseconds; null if none was measured.
    pub ping_ms: Option<f64>,
    /// The cumulative number of bytes received, as last recorded in the step.
    pub transfer_rx: u64,
    /// The cumulative number of bytes sent, as last recorded in the step.
    pub transfer_tx: u64,
    /// The start of the step.
    pub recorded_at: Timestamp,
}

/// A report from an agent (`POST /api/report`). The first five fields come from the original API, and a report that
/// contains only those is complete. Unknown fields are ignored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Report {
    /// The server, which must be the one that the token belongs to.
    pub server_id: ServerId,
    /// The round-trip time in milliseconds; null if none was measured.
    #[serde(default)]
    pub ping_ms: Option<f64>,
    /// The number of enabled peers on the interface.
    pub peers: u64,
    /// The cumulative number of bytes received. Ignored if `counters` or `sent_at` is sent, because the plane
    /// then keeps the totals.
    pub transfer_rx: u64,
    /// The cumulative number of bytes sent. Ignored under the same conditions.
    pub transfer_tx: u64,
    /// The increments to the peers' counters since the last acknowledged report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<Counters>,
    /// The number of seconds until the next report; default 15. The plane uses it to determine whether the
    /// agent is online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_interval: Option<u32>,
    /// The time at which the report was sent, according to the agent's clock. It is the reference for the times in
    /// `counters.samples`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

/// Increments to the peers' counters. A batch is sent again unchanged until it is acknowledged, and it is
/// counted only once: the plane remembers the last `sequence` of an `incarnation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Counters {
    /// The incarnation of the agent's counters, which is stored in the agent's state directory.
    pub incarnation: Incarnation,
    /// The number of the batch, which starts at 1 and increases by one with each batch.
    pub sequence: u64,
    /// The peers with new data.
    pub peers: BTreeMap<PeerId, PeerCounters>,
    /// The total that this incarnation has counted, including this batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Transfer>,
    /// Samples from the time during which no report could be delivered, oldest first; at most [`SAMPLES_AT_ONCE`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(length(max = 1440)))]
    pub samples: Vec<PastSample>,
}

/// The maximum number of samples in one batch.
pub const SAMPLES_AT_ONCE: usize = 1440;

/// Byte counts for both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Transfer {
    /// The number of bytes received.
    pub rx: u64,
    /// The number of bytes sent.
    pub tx: u64,
}

/// A sample from a time at which no report could be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PastSample {
    /// The time of the sample, according to the agent's clock.
    pub at: Timestamp,
    /// The round-trip time in milliseconds; absent if none was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_ms: Option<f64>,
    /// The number of bytes received that the incarnation had counted by then.
    pub rx: u64,
    /// The number of bytes sent that the incarnation had counted by then.
    pub tx: u64,
}

/// The increments to a peer's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PeerCounters {
    /// The number of bytes received from the peer since the last batch.
    pub rx: u64,
    /// The number of bytes sent to the peer since the last batch.
    pub tx: u64,
    /// The time of its latest handshake, if there has been one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_handshake_at: Option<Timestamp>,
}

/// The response to `GET /readyz` and `GET /healthz`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Health {
    /// Always `ok`: a plane that is not ready responds with a problem report instead.
    pub status: String,
}
