//! The messages between the reconciler's event loop and the rest of the agent.
//!
//! Owns the types of the messages, which are plain data. It must not contain logic.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
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
    /// A response from the plane.
    Desired {
        /// The server that the response concerns.
        server: ServerId,
        /// The response.
        desired: Box<Desired>,
        /// The state on which the response builds.
        base: Base,
        /// Receives the outcome once the response has been applied.
        done: oneshot::Sender<Result<(), StepError>>,
    },
    /// A request to compare everything and return a reading.
    Inspect {
        /// Receives the reading.
        reading: oneshot::Sender<Reading>,
    },
    /// The plane has counted this batch.
    CountersAcknowledged {
        /// The sequence number of the batch.
        sequence: u64,
    },
    /// A report has been delivered.
    ReportDelivered,
    /// A report has not been delivered.
    ReportLost {
        /// The time of the inspection for the report.
        at: Timestamp,
        /// The round trip measured for the report, in milliseconds.
        ping_ms: Option<f64>,
        /// The time until the next attempt.
        next: Duration,
    },
    /// A message from the plane that concerns drift reports.
    DriftReceipt(DriftReceipt),
    /// The planes' names have been resolved to these addresses, by the host in the URL.
    PlanesResolved(BTreeMap<String, BTreeSet<IpAddr>>),
    /// A plane has been reached at this address.
    PlaneReached(IpAddr),
    /// The interface has changed: compare everything.
    InterfaceChanged,
    /// A request to stop and leave everything as it is.
    Stop,
}

/// The outcome of an inspection of the interface.
#[derive(Debug, Default)]
pub struct Reading {
    /// The time of the inspection.
    pub at: Timestamp,
    /// The number of desired peers that are on the interface.
    pub peers: u64,
    /// The bytes received, according to the interface's counters.
    pub transfer_rx: u64,
    /// The bytes sent, according to the interface's counters.
    pub transfer_tx: u64,
    /// The batch that the plane should count.
    pub counters: Option<Batch>,
    /// True if there are more samples than the batch carries.
    pub backlog: bool,
    /// The target whose round trip is measured instead of the plane's.
    pub ping_target: Option<wgctl::address::Endpoint>,
}

/// The position from which the next poll starts: the incarnation and revision of the current state.
pub type Position = Option<(Incarnation, u64)>;

/// A handle through which other tasks use the event loop.
#[derive(Clone)]
pub struct Handle {
    /// The inbox of the event loop.
    pub inbox: UnboundedSender<Input>,
    /// The latest verdict.
    pub verdict: watch::Receiver<Verdict>,
    /// The position from which the next poll starts.
    pub position: watch::Receiver<Position>,
    /// The drift report to send to the plane.
    pub reports: watch::Receiver<Option<DriftReport>>,
    /// The interface to watch.
    pub target: watch::Receiver<Option<Target>>,
    /// The agent's metrics.
    pub metrics: Metrics,
}
