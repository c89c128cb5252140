//! The reconciler's thread: kernel calls block, so they have one of their own.
//!
//! Owns the inbox, the timers (the next expiry, a cache that could not be written) and who is told what. It
//! must not decide what should be.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use wgctl::api::Counters as Batch;
use wgctl::device::Backend;
use wgctl::name::Incarnation;
use wgctl::protocol::v1::Desired;
use wgctl::{ServerId, Timestamp};

use super::{Reconciler, Verdict};
use crate::desired::{Base, Misfit, Touched};
use crate::host::Host;

/// How long a cache that could not be written waits.
const SAVE_RETRY: Duration = Duration::from_secs(30);
/// The interface is compared at least this often, however rare the reports; a clock that jumps is
/// noticed by then.
const ROUND_INTERVAL: Duration = Duration::from_secs(30);
/// The same, while the interface is not as it should be.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// What the thread is told.
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
        done: oneshot::Sender<Result<(), Misfit>>,
    },
    /// Compare everything, and say what is there.
    Look {
        /// Told what is there.
        reading: oneshot::Sender<Reading>,
    },
    /// The plane has counted this batch.
    Counted {
        /// Its number.
        sequence: u64,
    },
    /// Leave everything as it is and end.
    Stop,
}

/// What a look at the interface showed.
#[derive(Debug, Default)]
pub struct Reading {
    /// Peers that should be on the interface and are.
    pub peers: u64,
    /// Bytes received, as the interface counts.
    pub transfer_rx: u64,
    /// Bytes sent, as the interface counts.
    pub transfer_tx: u64,
    /// What the plane should count.
    pub counters: Option<Batch>,
    /// `host:port` to measure instead of the plane.
    pub ping_target: Option<wgctl::address::Endpoint>,
}

/// Where the next poll begins: incarnation and revision of the state that is here.
pub type Position = Option<(Incarnation, u64)>;

/// The running thread, as others see it.
pub struct Running {
    /// Its inbox.
    pub inbox: Sender<Input>,
    /// What came of it, whenever that changes.
    pub verdict: watch::Receiver<Verdict>,
    /// Where the next poll begins.
    pub position: watch::Receiver<Position>,
    /// To wait for its end.
    pub handle: std::thread::JoinHandle<()>,
}

/// Starts the thread. What the cache says is carried out first; `ready` is told after that.
pub fn spawn<B, H>(mut reconciler: Reconciler<B, H>, ready: oneshot::Sender<()>) -> std::io::Result<Running>
where
    B: Backend + 'static,
    H: Host + 'static,
{
    let (inbox, receiver) = channel();
    let (verdict_sender, verdict) = watch::channel(reconciler.verdict().clone());
    let (position_sender, position) = watch::channel(position_of(&reconciler));
    let handle = std::thread::Builder::new()
        .name("reconcile".to_owned())
        .spawn(move || {
            reconciler.round(Timestamp::now());
            let mut thread = Thread {
                reconciler,
                verdict: verdict_sender,
                position: position_sender,
                tried: Instant::now(),
                rounded: Instant::now(),
            };
            thread.publish();
            // Nobody may wait for it: then nobody is told.
            let _ = ready.send(());
            thread.run(&receiver);
        })?;
    Ok(Running {
        inbox,
        verdict,
        position,
        handle,
    })
}

fn position_of<B: Backend, H: Host>(reconciler: &Reconciler<B, H>) -> Position {
    reconciler.state().map(|state| (state.incarnation, state.revision))
}

struct Thread<B, H> {
    reconciler: Reconciler<B, H>,
    verdict: watch::Sender<Verdict>,
    position: watch::Sender<Position>,
    /// When the cache was last written, or could not be.
    tried: Instant,
    rounded: Instant,
}

impl<B: Backend, H: Host> Thread<B, H> {
    fn run(&mut self, inbox: &Receiver<Input>) {
        loop {
            match inbox.recv_timeout(self.patience()) {
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(input) => self.take(input),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Timestamp::now();
            let expired = self.reconciler.next_expiry().is_some_and(|end| end <= now);
            if expired || self.until_round().is_zero() {
                self.round(now);
            }
            if self.until_save().is_some_and(|left| left.is_zero()) {
                self.save();
            }
        }
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

    /// How long until the interface is compared again though nobody asks: sooner when something
    /// is not as it should be.
    fn until_round(&self) -> Duration {
        let interval = match self.reconciler.verdict().interface_failed {
            Some(_) => RETRY_INTERVAL,
            None => ROUND_INTERVAL,
        };
        interval.saturating_sub(self.rounded.elapsed())
    }

    /// How long a cache that could not be written waits; none when it was.
    fn until_save(&self) -> Option<Duration> {
        let left = || SAVE_RETRY.saturating_sub(self.tried.elapsed());
        self.reconciler.cache_is_behind().then(left)
    }

    fn save(&mut self) {
        self.reconciler.save();
        self.tried = Instant::now();
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Desired {
                server,
                desired,
                base,
                done,
            } => {
                let taken = self.reconciler.take(&server, *desired, base, Timestamp::now());
                self.publish();
                if taken.as_ref().is_ok_and(|touched| *touched != Touched::Nothing) {
                    self.tried = Instant::now();
                }
                // The poll that asked may be gone; the next one asks anew.
                let _ = done.send(taken.map(drop));
            }
            Input::Look { reading } => {
                self.round(Timestamp::now());
                let shown = self.reading();
                let _ = reading.send(shown);
            }
            Input::Counted { sequence } => {
                self.reconciler.counters().acknowledge(sequence);
                self.reconciler.save_counters();
            }
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
        reading.counters = self.reconciler.counters().batch();
        if reading.counters.is_some() {
            self.reconciler.save_counters();
        }
        reading
    }

    fn publish(&self) {
        let verdict = self.reconciler.verdict();
        self.verdict.send_if_modified(|published| {
            let changed = published != verdict;
            if changed {
                if !verdict.says_the_same_as(published) {
                    verdict.tell();
                }
                published.clone_from(verdict);
            }
            changed
        });
        self.position.send_replace(position_of(&self.reconciler));
    }

    /// How long nothing needs to be done.
    fn patience(&self) -> Duration {
        // The clock is cut to seconds: the last one is waited out in small steps.
        let before = |end: Timestamp| end.since(Timestamp::now()).saturating_sub(Duration::from_secs(1));
        let expiry = self.reconciler.next_expiry().map(before);
        let expiry = expiry.map(|left| left.max(Duration::from_millis(100)));
        let waits = [expiry, self.until_save()].into_iter().flatten();
        waits.fold(self.until_round(), Duration::min)
    }
}
