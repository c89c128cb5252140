//! What the plane is told without asking: what came of it, and how the host is doing.
//!
//! Owns the confirmations (whenever the verdict changes, after each connection, now and then) and the
//! reports (each interval: round trip, transfers). A look at the interface comes with each report,
//! whether the plane is there or not: it is also what repairs drift.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use wgctl::ServerId;
use wgctl::address::{Endpoint, leads_off_host};
use wgctl::api::Report;
use wgctl::client::Error;

use crate::conversation::plane::{Plane, Planes};
use crate::metrics::Metrics;
use crate::reconcile::{Input, Reading, Verdict};

/// How long a measured round trip may take.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a report may take at least.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(5);
/// The share of the newest measurement in the smoothed round trip.
const SMOOTHING: f64 = 0.2;
/// How long a confirmation is left alone. One that was overtaken on its way by an older one is put
/// right by then.
const CONFIRM_AGAIN: Duration = Duration::from_secs(60);

/// Confirms every verdict, and the latest again after each connection and now and then; until the reconciler ends.
pub async fn deliver_confirmations<P: Plane>(
    planes: Planes<P>,
    mut verdict: watch::Receiver<Verdict>,
    mut connected: watch::Receiver<u64>,
) {
    let mut backoff = planes.backoff();
    loop {
        let message = verdict.borrow_and_update().message();
        // A plane that has not taken the introduction may be another server's.
        let is_ours = *connected.borrow_and_update() > 0;
        if let (true, Some(message), Some(client)) = (is_ours, message, planes.current()) {
            if let Err(error) = client.applied(&message).await {
                tracing::debug!("not confirmed: {error}");
                if may_pass(&error) {
                    if !backoff.sleep_unless(&mut connected).await {
                        return;
                    }
                    continue;
                }
            } else {
                backoff.reset();
            }
        }
        tokio::select! {
            biased;
            changed = verdict.changed() => if changed.is_err() { return },
            changed = connected.changed() => if changed.is_err() { return },
            () = sleep(CONFIRM_AGAIN) => {}
        }
    }
}

/// Whether the same message may be taken later. If not, the next verdict or connection tries again.
pub(crate) fn may_pass(error: &Error) -> bool {
    error
        .status()
        .is_none_or(|status| status >= 500 || [408, 429].contains(&status))
}

/// The reporting side of the agent.
pub struct Reporter<P> {
    /// Whom to tell.
    pub planes: Planes<P>,
    /// Whom to ask.
    pub inbox: UnboundedSender<Input>,
    /// Seconds between reports.
    pub every: u32,
    /// Told when a plane is there: the first report follows at once.
    pub connected: watch::Receiver<u64>,
    /// Whose token it is, once known.
    pub server: watch::Receiver<Option<ServerId>>,
    /// What is measured.
    pub metrics: Metrics,
}

impl<P: Plane> Reporter<P> {
    /// Looks and reports until the reconciler ends.
    pub async fn run(mut self) {
        let mut ticks = interval(Duration::from_secs(u64::from(self.every)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut smoothed = None;
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {}
                changed = self.connected.changed() => if changed.is_err() { return },
            }
            let Some(mut reading) = self.look().await else { return };
            let begin = Instant::now();
            smoothed = smooth(smoothed, self.measure(reading.ping_target.as_ref()).await);
            // What gathered while no plane was there follows at once.
            loop {
                let (at, backlog) = (reading.at, reading.backlog);
                if !self.tell(reading, smoothed).await {
                    let next = Duration::from_secs(self.every.into()).max(begin.elapsed());
                    let ping_ms = smoothed;
                    // The reconciler may have ended meanwhile: the next look tells.
                    let _ = self.inbox.send(Input::ReportLost { at, ping_ms, next });
                    break;
                }
                let _ = self.inbox.send(Input::ReportDelivered);
                if !backlog {
                    break;
                }
                let Some(more) = self.look().await else { return };
                reading = more;
            }
        }
    }

    /// Whom to report to, and as whom; none before the first connection.
    fn dialled(&self) -> Option<(P, ServerId)> {
        let server = self.server.borrow().clone()?;
        let known = *self.connected.borrow() > 0;
        self.planes.current().filter(|_| known).map(|plane| (plane, server))
    }

    /// Says whether it got through. One that is stuck makes way for the next, on a new connection: where much was
    /// lost, TCP waits longer and longer, and the plane would take the host for gone. A backlog takes its time.
    async fn tell(&self, reading: Reading, ping_ms: Option<f64>) -> bool {
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
                reason: format!("no answer for {} s", patience.as_secs()),
            })
        });
        self.metrics.reported(told.is_ok());
        if let Err(error) = &told {
            tracing::debug!("not reported: {error}");
        }
        told.is_ok()
    }

    /// The round trip to the plane, or the time a TCP connection to the target takes; milliseconds.
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

    async fn look(&self) -> Option<Reading> {
        let (sender, reading) = oneshot::channel();
        self.inbox.send(Input::Inspect { reading: sender }).ok()?;
        reading.await.ok()
    }

    async fn report(
        &self,
        client: &P,
        server_id: ServerId,
        reading: Reading,
        ping_ms: Option<f64>,
    ) -> Result<(), Error> {
        let sequence = reading.counters.as_ref().map(|batch| batch.sequence);
        let report = Report {
            server_id,
            ping_ms,
            peers: reading.peers,
            transfer_rx: reading.transfer_rx,
            transfer_tx: reading.transfer_tx,
            counters: reading.counters,
            report_interval: Some(self.every),
            sent_at: Some(reading.at),
        };
        client.report(&report).await?;
        if let Some(sequence) = sequence {
            // The reconciler may have ended meanwhile: then the batch is sent again, and counted once.
            let _ = self.inbox.send(Input::CountersAcknowledged { sequence });
        }
        Ok(())
    }
}

/// Whether one of the target's addresses takes a TCP connection.
async fn connect(target: &Endpoint) -> bool {
    let Ok(addresses) = lookup_host((target.host(), target.port())).await else {
        return false;
    };
    // A name may stand for anything: what a record may not say it does not get by a name.
    let addresses: Vec<SocketAddr> = addresses.filter(|address| leads_off_host(address.ip())).collect();
    TcpStream::connect(&*addresses).await.is_ok()
}

/// An exponentially weighted mean; without a measurement there is none to report.
fn smooth(before: Option<f64>, measured: Option<f64>) -> Option<f64> {
    let measured = measured?;
    // Microseconds are precise enough, and short to write.
    let mean = before.map_or(measured, |before| (measured - before).mul_add(SMOOTHING, before));
    Some((mean * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_trip_is_smoothed_and_a_lost_one_is_not_invented() {
        assert_eq!(smooth(None, Some(10.0)), Some(10.0));
        assert_eq!(smooth(Some(10.0), Some(20.0)), Some(12.0));
        assert_eq!(smooth(Some(10.0), None), None);
    }

    #[tokio::test]
    async fn a_target_that_leads_to_this_host_is_not_called() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let target = listener.local_addr().unwrap().to_string();
        assert!(!connect(&target.parse().unwrap()).await);
        let called = listener.accept().map(drop).unwrap_err();
        assert_eq!(called.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_confirmation_is_repeated_unless_it_was_refused_for_good() {
        let answered = |status| Error::Unexpected {
            target: String::new(),
            status,
            reason: String::new(),
        };
        let unreachable = Error::Unreachable {
            target: String::new(),
            reason: String::new(),
        };
        assert!(may_pass(&unreachable));
        assert!(
            [408, 429, 500, 502, 503]
                .into_iter()
                .all(|status| may_pass(&answered(status)))
        );
        assert!(
            ![401, 403, 413, 422]
                .into_iter()
                .any(|status| may_pass(&answered(status)))
        );
    }
}
