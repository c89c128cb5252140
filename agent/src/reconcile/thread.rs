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
use crate::desired::{Base, Misfit, Touched};
use crate::host::Host;

/// The cache is written at once, but in a storm of changes only so often.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
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
                saves: Saves::default(),
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
    saves: Saves,
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
            if self.saves.due() {
                self.save();
            }
        }
        if self.saves.dirty {
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

    fn save(&mut self) {
        let began = Instant::now();
        let saved = self.reconciler.save();
        if let Err(error) = &saved {
            tracing::error!("the state is not cached, a boot without a plane would not have it: {error}");
        }
        self.saves.tried(began.elapsed(), saved.is_ok());
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
                self.saves.dirty |= taken.as_ref().is_ok_and(|touched| *touched != Touched::Nothing);
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
        let waits = [expiry, self.saves.patience()].into_iter().flatten();
        waits.fold(self.until_round(), Duration::min)
    }
}

/// When the cache was and will be written.
#[derive(Default)]
struct Saves {
    dirty: bool,
    /// When the last attempt ended, and how long the next one waits from then.
    last: Option<(Instant, Duration)>,
}

impl Saves {
    fn patience(&self) -> Option<Duration> {
        let left = |(at, wait): (Instant, Duration)| wait.saturating_sub(at.elapsed());
        self.dirty.then(|| self.last.map_or(Duration::ZERO, left))
    }

    fn due(&self) -> bool {
        self.patience().is_some_and(|left| left.is_zero())
    }

    /// A large state takes long to write: changes come first, so a tenth of the time is enough.
    fn tried(&mut self, took: Duration, saved: bool) {
        self.dirty = !saved;
        let wait = if saved {
            SAVE_INTERVAL.max(took.saturating_mul(9))
        } else {
            SAVE_RETRY
        };
        self.last = Some((Instant::now(), wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_cached_at_once_and_a_storm_of_them_now_and_then() {
        let mut saves = Saves::default();
        assert!(!saves.due());
        saves.dirty = true;
        assert!(saves.due());
        saves.tried(Duration::from_millis(1), true);
        assert!(!saves.due() && saves.patience().is_none());
        saves.dirty = true;
        assert!(!saves.due() && saves.patience() <= Some(SAVE_INTERVAL));
        saves.tried(Duration::from_secs(2), true);
        saves.dirty = true;
        assert!(
            saves.patience() > Some(Duration::from_secs(10)),
            "a large state, more rarely"
        );
    }

    #[test]
    fn a_cache_that_was_not_written_is_written_later() {
        let mut saves = Saves {
            dirty: true,
            last: None,
        };
        saves.tried(Duration::ZERO, false);
        assert!(saves.patience().is_some_and(|left| !left.is_zero()));
    }
}
