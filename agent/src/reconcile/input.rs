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

/// What the loop is told.
pub enum Input {
    /// The plane's answer, and where to say what is known now.
    Desired {
        /// Whose it is.
        server: ServerId,
        /// What it says.
        desired: Box<Desired>,
        /// What it builds on.
        base: Base,
        /// Told when it was carried out.
        done: oneshot::Sender<Result<(), StepError>>,
    },
    /// Compare everything, and say what is there.
    Inspect {
        /// Told what is there.
        reading: oneshot::Sender<Reading>,
    },
    /// The plane has counted this batch.
    CountersAcknowledged {
        /// Its number.
        sequence: u64,
    },
    /// A report got through.
    ReportDelivered,
    /// No report got through.
    ReportLost {
        /// When the interface was looked at for it.
        at: Timestamp,
        /// The round trip measured meanwhile, milliseconds.
        ping_ms: Option<f64>,
        /// How long after that the next one is tried.
        next: Duration,
    },
    /// What came of telling the plane of drift.
    DriftReceipt(DriftReceipt),
    /// Something happened to the interface: compare everything.
    InterfaceChanged,
    /// Leave everything as it is and end.
    Stop,
}

/// What a look at the interface showed.
#[derive(Debug, Default)]
pub struct Reading {
    /// When.
    pub at: Timestamp,
    /// Peers that should be on the interface and are.
    pub peers: u64,
    /// Bytes received, as the interface counts.
    pub transfer_rx: u64,
    /// Bytes sent, as the interface counts.
    pub transfer_tx: u64,
    /// What the plane should count.
    pub counters: Option<Batch>,
    /// Whether more waits than these carry.
    pub backlog: bool,
    /// `host:port` to measure instead of the plane.
    pub ping_target: Option<wgctl::address::Endpoint>,
}

/// Where the next poll begins: incarnation and revision of the state that is here.
pub type Position = Option<(Incarnation, u64)>;

/// The loop, as others see it.
#[derive(Clone)]
pub struct Handle {
    /// Its inbox.
    pub inbox: UnboundedSender<Input>,
    /// What came of it, whenever that changes.
    pub verdict: watch::Receiver<Verdict>,
    /// Where the next poll begins.
    pub position: watch::Receiver<Position>,
    /// What the plane should be told of drift.
    pub reports: watch::Receiver<Option<DriftReport>>,
    /// What is to be watched.
    pub target: watch::Receiver<Option<Target>>,
    /// What is measured.
    pub metrics: Metrics,
}
