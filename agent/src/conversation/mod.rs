//! The conversation with the planes: all requests that the agent sends.
//!
//! Owns the choice of the plane, the long poll, the reports and the replies. It must not touch the interface:
//! that belongs to `reconcile`.

mod backoff;
mod confirmations;
mod drift_reports;
#[cfg(test)]
mod fake_plane;
mod key_claim;
mod plane_addresses;
mod plane_calls;
mod planes;
mod poll;
mod replies;
mod report;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use wgctl::ServerId;

pub use backoff::Jitter;
pub(crate) use plane_addresses::follow as follow_plane_addresses;
pub use plane_addresses::resolve as resolve_planes;
pub use plane_calls::Plane;
pub use planes::{Planes, SetupError, check_files};

use crate::reconcile::Handle;
use crate::secrets::Secrets;
use poll::Poller;
use report::Reporter;

/// Starts the tasks that communicate with the planes; each runs until the reconciler ends. `server` is the server
/// whose state is cached. `every` is the interval between reports, in seconds.
pub fn start<P: Plane>(
    planes: Planes<P>,
    secrets: Arc<Secrets>,
    reconcile: Handle,
    server: Option<ServerId>,
    every: u32,
) -> JoinSet<()> {
    let Handle {
        inbox,
        verdict,
        position,
        reports,
        target: _,
        metrics,
    } = reconcile;
    let (connected, connections) = watch::channel(0);
    let server = watch::Sender::new(server);
    let reporter = Reporter {
        planes: planes.clone(),
        inbox: inbox.clone(),
        every,
        connected: connections.clone(),
        server: server.subscribe(),
        metrics: metrics.clone(),
    };
    let source = Poller {
        planes: planes.clone(),
        secrets,
        inbox: inbox.clone(),
        position,
        server,
        connected,
        metrics,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(source.run());
    tasks.spawn(reporter.run());
    tasks.spawn(confirmations::deliver_confirmations(
        planes.clone(),
        verdict,
        connections.clone(),
    ));
    tasks.spawn(drift_reports::deliver_drift_reports(
        planes,
        reports,
        inbox,
        connections,
    ));
    tasks
}
