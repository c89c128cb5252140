//! The periodic report to the plane: round-trip time, peers and transfers.
//!
//! Owns the times at which a report is sent, and the measurement of the round trip. It must not depend on a
//! reachable plane: each report begins with an inspection of the interface, which also repairs drift.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use wgctl::ServerId;
use wgctl::address::{Endpoint, leads_off_host};
use wgctl::api::Report;
use wgctl::client::Error;

use super::plane_calls::Plane;
use super::planes::Planes;
use crate::metrics::Metrics;
use crate::reconcile::{Input, Reading};

/// The longest round trip that is measured.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// The minimum time limit for a report.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(5);
/// The weight of the newest measurement in the smoothed round trip.
const SMOOTHING: f64 = 0.2;
/// The reporting side of the agent.
pub(super) struct Reporter<P> {
    /// The planes to report to.
    pub planes: Planes<P>,
    /// The reconciler's inbox.
    pub inbox: UnboundedSender<Input>,
    /// The interval between reports, in seconds.
    pub every: u32,
    /// The number of connections so far. A report is sent immediately after each connection.
    pub connected: watch::Receiver<u64>,
    /// The server that this host is enrolled as, once it is known.
    pub server: watch::Receiver<Option<ServerId>>,
    /// The agent's metrics.
    pub metrics: Metrics,
}

impl<P: Plane> Reporter<P> {
    /// Inspects the interface and reports until the reconciler ends.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(Duration::from_secs(u64::from(self.every)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut smoothed = None;
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {}
                changed = self.connected.changed() => if changed.is_err() { return },
            }
            let Some(mut reading) = self.wait_for_inspection().await else {
                return;
            };
            let begin = Instant::now();
            smoothed = smooth(smoothed, self.measure(reading.ping_target.as_ref()).await);
            // Samples that accumulated while no plane was reachable are sent in further reports, without waiting.
            loop {
                let (at, backlog) = (reading.at, reading.backlog);
                if !self.deliver(reading, smoothed).await {
                    let next = Duration::from_secs(self.every.into()).max(begin.elapsed());
                    let ping_ms = smoothed;
                    // The reconciler may have ended in the meantime; the next inspection detects that.
                    let _ = self.inbox.send(Input::ReportLost { at, ping_ms, next });
                    break;
                }
                let _ = self.inbox.send(Input::ReportDelivered);
                if !backlog {
                    break;
                }
                let Some(more) = self.wait_for_inspection().await else {
                    return;
                };
                reading = more;
            }
        }
    }

    /// Returns the plane to report to and the server to report for; `None` before the first connection.
    fn dialled(&self) -> Option<(P, ServerId)> {
        let server = self.server.borrow().clone()?;
        let known = *self.connected.borrow() > 0;
        self.planes.current().filter(|_| known).map(|plane| (plane, server))
    }

    /// Sends a report, and returns whether it was delivered. A stalled report is abandoned in favour of the next one
    /// on a new connection: with each lost packet, TCP's retransmission interval grows, until the plane would
    /// consider the host offline. A report with a backlog has no time limit.
    async fn deliver(&self, reading: Reading, ping_ms: Option<f64>) -> bool {
        let Some((plane, server)) = self.dialled() else {
            return false;
        };
        let patience = match reading.backlog {
            true => Duration::MAX,
            false => Duration::from_secs(self.every.into()).max(SHORTEST_PATIENCE),
        };
        let told = timeout(patience, self.report(&plane, server, reading, ping_ms)).await;
        let told = told.unwrap_or_else(|_| {
            Err(Error::Unreachable {
                target: plane.target().to_string(),
                reason: format!("no response for {} s", patience.as_secs()),
            })
        });
        self.metrics.reported(told.is_ok());
        if let Err(error) = &told {
            tracing::debug!("the report was not delivered: {error}");
        }
        told.is_ok()
    }

    /// Returns the round-trip time to the plane, or the time to open a TCP connection to the target, in
    /// milliseconds.
    async fn measure(&self, target: Option<&Endpoint>) -> Option<f64> {
        let begin = Instant::now();
        let answered = match (target, self.dialled()) {
            (Some(target), _) => timeout(PING_TIMEOUT, connect(target)).await.unwrap_or(false),
            (None, Some((plane, _))) => timeout(PING_TIMEOUT, plane.health())
                .await
                .is_ok_and(|answer| answer.is_ok()),
            (None, None) => false,
        };
        answered.then(|| begin.elapsed().as_secs_f64() * 1000.0)
    }

    async fn wait_for_inspection(&self) -> Option<Reading> {
        let (sender, reading) = oneshot::channel();
        self.inbox.send(Input::Inspect { reading: sender }).ok()?;
        reading.await.ok()
    }

    async fn report(
        &self,
        plane: &P,
        server_id: ServerId,
        reading: Reading,
        ping_ms: Option<f64>,
    ) -> Result<(), Error> {
        let Reading {
            at,
            peers,
            transfer_rx,
            transfer_tx,
            counters,
            backlog: _,
            ping_target: _,
        } = reading;
        let sequence = counters.as_ref().map(|batch| batch.sequence);
        let report = Report {
            server_id,
            ping_ms,
            peers,
            transfer_rx,
            transfer_tx,
            counters,
            report_interval: Some(self.every),
            sent_at: Some(at),
        };
        plane.report(&report).await?;
        if let Some(sequence) = sequence {
            // The reconciler may have ended in the meantime. The batch is then sent again, and the plane counts
            // it once.
            let _ = self.inbox.send(Input::CountersAcknowledged { sequence });
        }
        Ok(())
    }
}

/// Returns whether one of the target's addresses accepts a TCP connection.
async fn connect(target: &Endpoint) -> bool {
    let Ok(addresses) = lookup_host((target.host(), target.port())).await else {
        return false;
    };
    // A name may resolve to any address, including addresses that a record must not name.
    let addresses: Vec<SocketAddr> = addresses.filter(|address| leads_off_host(address.ip())).collect();
    TcpStream::connect(&*addresses).await.is_ok()
}

/// Returns an exponentially weighted mean; `None` without a measurement.
fn smooth(before: Option<f64>, measured: Option<f64>) -> Option<f64> {
    let measured = measured?;
    // Microseconds are precise enough and keep the text short.
    let mean = before.map_or(measured, |before| (measured - before).mul_add(SMOOTHING, before));
    Some((mean * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_times_are_smoothed_and_a_lost_one_is_not_replaced_by_a_guess() {
        assert_eq!(smooth(None, Some(10.0)), Some(10.0));
        assert_eq!(smooth(Some(10.0), Some(20.0)), Some(12.0));
        assert_eq!(smooth(Some(10.0), None), None);
    }

    #[tokio::test]
    async fn a_ping_target_on_this_host_is_not_contacted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let target = listener.local_addr().unwrap().to_string();
        assert!(!connect(&target.parse().unwrap()).await);
        let called = listener.accept().map(drop).unwrap_err();
        assert_eq!(called.kind(), std::io::ErrorKind::WouldBlock);
    }
}
