//! The reconciler's thread: kernel calls block, so they have one of their own.
//!
//! Owns the inbox, the timers (the next expiry, the saving of the cache) and who is told what. It
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
use crate::desired::Misfit;
use crate::host::Host;

/// The cache is written at once, but in a storm of changes only so often.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the thread sleeps at most: a clock that jumps is noticed by then.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What the thread is told.
pub enum Input {
    /// The plane's answer, and where to say what is known now.
    Desired {
        /// Whose it is.
        server: ServerId,
        /// What it says.
        desired: Box<Desired>,
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
                saves: Saves::default(),
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
    saves: Saves,
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
            if self.reconciler.next_expiry().is_some_and(|end| end <= now) {
                self.reconciler.expire(now);
                self.publish();
            }
            if self.saves.due() {
                self.reconciler.save();
                self.saves.saved();
            }
        }
        if self.saves.dirty {
            self.reconciler.save();
        }
        self.reconciler.save_counters();
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Desired { server, desired, done } => {
                let taken = self.reconciler.take(&server, *desired, Timestamp::now());
                self.publish();
                if let Err(misfit) = &taken {
                    tracing::warn!("{misfit}");
                }
                self.saves.dirty |= taken.is_ok();
                // The poll that asked may be gone; the next one asks anew.
                let _ = done.send(taken.map(drop));
            }
            Input::Look { reading } => {
                self.reconciler.round(Timestamp::now());
                self.publish();
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
            if published.interface_failed != verdict.interface_failed {
                match &verdict.interface_failed {
                    Some(reason) => tracing::error!("{reason}"),
                    None => tracing::info!("the interface is as it should be again"),
                }
            }
            if changed {
                published.clone_from(verdict);
            }
            changed
        });
        self.position.send_replace(position_of(&self.reconciler));
    }

    /// How long nothing needs to be done.
    fn patience(&self) -> Duration {
        let expiry = self
            .reconciler
            .next_expiry()
            .map(|end| end.since(Timestamp::now()).max(Duration::from_millis(100)));
        [Some(LONGEST_SLEEP), expiry, self.saves.patience()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(LONGEST_SLEEP)
    }
}

/// When the cache was and will be written.
#[derive(Default)]
struct Saves {
    dirty: bool,
    last: Option<Instant>,
}

impl Saves {
    fn patience(&self) -> Option<Duration> {
        let waited = self.last.map_or(SAVE_INTERVAL, |last| last.elapsed());
        self.dirty.then(|| SAVE_INTERVAL.saturating_sub(waited))
    }

    fn due(&self) -> bool {
        self.patience().is_some_and(|left| left.is_zero())
    }

    fn saved(&mut self) {
        *self = Self {
            dirty: false,
            last: Some(Instant::now()),
        };
    }
}
