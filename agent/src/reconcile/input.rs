//! The messages between the reconciler's event loop and the rest of the agent.
//!
//! Plain data.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};
use wgctl::api::Counters as Batch;
use wgctl::name::Incarnation;
use wgctl::protocol::v1::{Desired, DriftReport};
use wgctl::{ServerId, Timestamp};

use super::{Target, Verdict};
use crate::desired::{Base, StepError};
use crate::drift::DriftReceipt;
use crate::metrics::Metrics;

/// A message to the event loop.
pub enum Input {
    /// An answer of the plane.
    Desired {
        /// The server it is for.
        server: ServerId,
        /// The answer.
        desired: Box<Desired>,
        /// The state that it builds on.
        base: Base,
        /// Receives the outcome once the answer was carried out.
        done: oneshot::Sender<Result<(), StepError>>,
    },
    /// Compare everything, and report the outcome.
    Inspect {
        /// Receives the outcome.
        reading: oneshot::Sender<Reading>,
    },
    /// The plane has counted this batch.
    CountersAcknowledged {
        /// Its number.
        sequence: u64,
    },
    /// A report was delivered.
    ReportDelivered,
    /// No report was delivered.
    ReportLost {
        /// The time of the inspection for the report.
        at: Timestamp,
        /// The round trip measured meanwhile, milliseconds.
        ping_ms: Option<f64>,
        /// The time until the next attempt.
        next: Duration,
    },
    /// The plane's side of the drift reports.
    DriftReceipt(DriftReceipt),
    /// Something happened to the interface: compare everything.
    InterfaceChanged,
    /// Leave everything as it is and end.
    Stop,
}

/// The outcome of an inspection of the interface.
#[derive(Debug, Default)]
pub struct Reading {
    /// The time of the inspection.
    pub at: Timestamp,
    /// Peers that should be on the interface and are.
    pub peers: u64,
    /// Bytes received, as the interface counts.
    pub transfer_rx: u64,
    /// Bytes sent, as the interface counts.
    pub transfer_tx: u64,
    /// The batch that the plane should count.
    pub counters: Option<Batch>,
    /// More samples wait than the batch carries.
    pub backlog: bool,
    /// `host:port` to measure instead of the plane.
    pub ping_target: Option<wgctl::address::Endpoint>,
}

/// The start of the next poll: incarnation and revision of the current state.
pub type Position = Option<(Incarnation, u64)>;

/// The event loop, as other tasks see it.
#[derive(Clone)]
pub struct Handle {
    /// Its inbox.
    pub inbox: UnboundedSender<Input>,
    /// The verdict, whenever it changes.
    pub verdict: watch::Receiver<Verdict>,
    /// The start of the next poll.
    pub position: watch::Receiver<Position>,
    /// The drift report for the plane.
    pub reports: watch::Receiver<Option<DriftReport>>,
    /// The interface to watch.
    pub target: watch::Receiver<Option<Target>>,
    /// The agent's metrics.
    pub metrics: Metrics,
}
