//! The reconciler's event loop.
//!
//! Owns the inbox, the timers (the next expiry, and the retry of a failed cache write) and the publication of
//! outcomes. It must not decide what is desired.

use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};
use wgctl::device::Backend;
use wgctl::{Clock, Timestamp};

use super::{Handle, Input, Position, Reading, Reconciler, Verdict};
use crate::desired::ChangeScope;
use crate::host::Host;

/// The wait before a failed write of the cache is retried.
const SAVE_RETRY: Duration = Duration::from_secs(30);
/// The maximum interval between comparisons of the interface, however rare the reports are. A clock jump is detected
/// within this time.
const ROUND_INTERVAL: Duration = Duration::from_secs(30);
/// The same interval while the interface differs from the desired state.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

fn position_of<B: Backend, H: Host>(reconciler: &Reconciler<B, H>) -> Position {
    reconciler.state().map(|state| (state.incarnation, state.revision))
}

/// The event loop that drives a reconciler.
pub struct EventLoop<B, H> {
    reconciler: Reconciler<B, H>,
    clock: Clock,
    inbox: UnboundedReceiver<Input>,
    verdict: watch::Sender<Verdict>,
    position: watch::Sender<Position>,
    /// The time of the last attempt to write the cache.
    tried: Instant,
    rounded: Instant,
}

/// The reason for an iteration of the loop.
pub(super) enum Wakeup {
    Input(Input),
    Timer,
}

impl<B: Backend, H: Host> EventLoop<B, H> {
    /// Creates a loop that has not started yet. `clock` determines when peers expire.
    pub fn new(reconciler: Reconciler<B, H>, clock: Clock) -> (Self, Handle) {
        let (sender, inbox) = unbounded_channel();
        let (verdict, verdicts) = watch::channel(reconciler.verdict().clone());
        let (position, positions) = watch::channel(position_of(&reconciler));
        let (reports, target) = (reconciler.reports(), reconciler.target());
        let metrics = reconciler.metrics().clone();
        let turns = Self {
            reconciler,
            clock,
            inbox,
            verdict,
            position,
            tried: Instant::now(),
            rounded: Instant::now(),
        };
        let handle = Handle {
            inbox: sender,
            verdict: verdicts,
            position: positions,
            reports,
            target,
            metrics,
        };
        (turns, handle)
    }

    /// Runs the loop as an asynchronous task, for a backend and a host whose calls do not block.
    pub async fn run(mut self, ready: oneshot::Sender<()>) {
        self.begin(ready);
        while let Some(next) = self.wait_for_wakeup().await {
            self.take(next);
        }
        self.end();
    }

    pub(super) fn begin(&mut self, ready: oneshot::Sender<()>) {
        self.round(self.clock.now());
        // The receiver may have been dropped.
        let _ = ready.send(());
    }

    /// Waits for an input or a timer; returns `None` if the loop must end.
    pub(super) async fn wait_for_wakeup(&mut self) -> Option<Wakeup> {
        match timeout(self.patience(), self.inbox.recv()).await {
            Ok(Some(Input::Stop) | None) => None,
            Ok(Some(input)) => Some(Wakeup::Input(input)),
            Err(_) => Some(Wakeup::Timer),
        }
    }

    pub(super) fn take(&mut self, next: Wakeup) {
        if let Wakeup::Input(input) = next {
            self.carry_out(input);
        }
        let now = self.clock.now();
        let expired = self.reconciler.next_expiry().is_some_and(|end| end <= now);
        if expired || self.until_round().is_zero() {
            self.round(now);
        }
        if self.until_save().is_some_and(|left| left.is_zero()) {
            self.save();
        }
    }

    pub(super) fn end(&mut self) {
        if self.reconciler.cache_is_behind() {
            self.save();
        }
        self.reconciler.save_counters();
    }

    fn round(&mut self, now: Timestamp) {
        self.reconciler.round(now);
        self.rounded = Instant::now();
        self.publish();
    }

    /// Returns the time until the next regular comparison, which is shorter if the interface differs from the
    /// desired state.
    fn until_round(&self) -> Duration {
        let interval = match self.reconciler.verdict().interface_failed {
            Some(_) => RETRY_INTERVAL,
            None => ROUND_INTERVAL,
        };
        interval.saturating_sub(self.rounded.elapsed())
    }

    /// Returns the time until the cache is written again; `None` if the last write succeeded.
    fn until_save(&self) -> Option<Duration> {
        let left = || SAVE_RETRY.saturating_sub(self.tried.elapsed());
        self.reconciler.cache_is_behind().then(left)
    }

    fn save(&mut self) {
        self.reconciler.save();
        self.tried = Instant::now();
    }

    fn carry_out(&mut self, input: Input) {
        match input {
            Input::Desired {
                server,
                desired,
                base,
                done,
            } => {
                let taken = self.reconciler.take(&server, *desired, base, self.clock.now());
                self.publish();
                if taken.as_ref().is_ok_and(|touched| *touched != ChangeScope::Nothing) {
                    self.tried = Instant::now();
                }
                // The poll may have ended; the next one requests the state again.
                let _ = done.send(taken.map(drop));
            }
            Input::Inspect { reading } => {
                self.round(self.clock.now());
                let shown = self.reading();
                let _ = reading.send(shown);
            }
            Input::CountersAcknowledged { sequence } => {
                // If a crash precedes the next write of the file, the batch is sent again, and the plane counts
                // it once.
                self.reconciler.counters().acknowledge(sequence);
            }
            Input::ReportDelivered => self.reconciler.counters().reported(self.clock.now()),
            Input::ReportLost { at, ping_ms, next } => {
                self.reconciler.counters().missed(at, ping_ms, next);
                self.reconciler.note_counters();
                if self.reconciler.counters().is_unsaved() {
                    self.reconciler.save_counters();
                }
            }
            Input::DriftReceipt(told) => self.reconciler.take_drift_receipt(told),
            Input::PlanesResolved(resolved) => {
                self.reconciler.note_planes(resolved, self.clock.now());
                self.publish();
            }
            Input::PlaneReached(address) => self.reconciler.note_plane_reached(address),
            Input::InterfaceChanged => self.round(self.clock.now()),
            Input::Stop => {}
        }
    }

    fn reading(&mut self) -> Reading {
        let (mut reading, actual) = (Reading::default(), self.reconciler.actual.as_ref());
        if let (Some(state), Some(actual)) = (self.reconciler.state(), actual) {
            let there = state
                .peers
                .values()
                .filter(|peer| actual.peers.contains_key(&peer.public_key));
            reading.peers = there.count().try_into().unwrap_or(u64::MAX);
            reading.transfer_rx = actual.peers.values().map(|peer| peer.rx_bytes).sum();
            reading.transfer_tx = actual.peers.values().map(|peer| peer.tx_bytes).sum();
            reading.ping_target.clone_from(&state.interface.ping_target);
        }
        self.reconciler.note_counters();
        reading.at = self.clock.now();
        reading.counters = self.reconciler.counters().batch();
        reading.backlog = self.reconciler.counters().has_backlog();
        if self.reconciler.counters().is_unsaved() && !self.reconciler.save_counters() {
            // Otherwise the transfers would be counted again after a crash.
            reading.counters = None;
            reading.backlog = false;
        }
        reading
    }

    fn publish(&self) {
        let verdict = self.reconciler.verdict();
        self.verdict.send_if_modified(|published| {
            let changed = published != verdict;
            if changed {
                if !verdict.says_the_same_as(published) {
                    verdict.log();
                }
                published.clone_from(verdict);
            }
            changed
        });
        self.position.send_replace(position_of(&self.reconciler));
    }

    /// Returns the time until the next timer.
    fn patience(&self) -> Duration {
        // The clock is truncated to seconds, so the last second is waited in small steps.
        let before = |end: Timestamp| end.since(self.clock.now()).saturating_sub(Duration::from_secs(1));
        let expiry = self.reconciler.next_expiry().map(before);
        let expiry = expiry.map(|left| left.max(Duration::from_millis(100)));
        let waits = [expiry, self.until_save()].into_iter().flatten();
        waits.fold(self.until_round(), Duration::min)
    }
}
