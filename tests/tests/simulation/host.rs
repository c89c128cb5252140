//! A VPN host: the real agent with an in-memory interface, and its kills, reboots and external changes.
//!
//! Owns starting and stopping the agent, and the conditions that each of its writes must satisfy. It must not know
//! the faults that the seed contains.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sentrazone_agent::conversation::{Jitter, Planes};
use sentrazone_agent::host::Memory as HostMemory;
use sentrazone_agent::reconcile::{EventLoop, Handle, Input, LinkBy, Reconciler};
use sentrazone_agent::secrets::Secrets;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use wgctl::device::memory::Memory;
use wgctl::device::plan::ChangeKind;
use wgctl::device::{Backend, Device, Error, Plan};
use wgctl::name::InterfaceName;
use wgctl::{Clock, Timestamp};

use crate::dice::Dice;
use crate::network::{Link, server};
use crate::plane::memory_folder;
use crate::record::{Record, Version};

/// The number of seconds between reports.
pub(crate) const REPORTS: u32 = 20;
/// The time within which the agent detects any external change and any clock jump.
const NOTICED: Duration = Duration::from_secs(32);
/// The largest difference between an expiry and its enforcement, in seconds.
const TICK: i64 = 2;

/// A clock that follows the simulation's time and can jump.
#[derive(Clone, Default)]
pub(crate) struct Jumping {
    ahead: Arc<AtomicI64>,
}

impl Jumping {
    pub(crate) fn jump_to(&self, seconds_ahead: i64) {
        self.ahead.store(seconds_ahead, Ordering::Relaxed);
    }

    /// Returns a clock that adds these jumps to the elapsed time, which `passed` returns.
    pub(crate) fn clock(&self, passed: impl Fn() -> Duration + Send + Sync + 'static) -> Clock {
        let ahead = Arc::clone(&self.ahead);
        Clock::new(move || {
            let seconds = i64::try_from(passed().as_secs()).unwrap();
            Timestamp::from_unix(1_800_000_000 + seconds + ahead.load(Ordering::Relaxed))
        })
    }
}

/// The values that the host shares with the code that checks every write.
pub(crate) struct Shared {
    pub(crate) number: usize,
    record: Mutex<Record>,
    clock: Clock,
    /// The revision that the agent last accepted. Its writes are based on this revision or a later one.
    revision: AtomicU64,
    /// The number of writes until the agent is killed in the middle of one.
    doom: Mutex<Option<usize>>,
    /// True once that kill has happened.
    doomed: Mutex<bool>,
    wrong: Arc<Mutex<Vec<String>>>,
}

impl Shared {
    pub(crate) fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    pub(crate) fn complain(&self, what: impl std::fmt::Display) {
        self.wrong.lock().unwrap().push(format!("host {}: {what}", self.number));
    }

    /// Checks a write before it is acknowledged. It may add only peers and networks that are recorded, and remove only
    /// peers that are missing from a record or have expired.
    fn judge(&self, before: &Device, plan: &Plan, after: &Device) {
        let (record, now) = (self.record(), self.clock.now());
        let revision = self.revision.load(Ordering::Relaxed);
        for change in &plan.peers {
            let key = change.public_key;
            let versions: Vec<Option<&Version>> = record.since(revision).map(|peers| peers.get(&key)).collect();
            let known = versions.iter().flatten();
            if change.kind == ChangeKind::Remove {
                let over = |version: &Option<&Version>| {
                    version.is_none_or(|version| version.expires_at.is_some_and(|end| end <= now))
                };
                if before.peers.contains_key(&key) && !versions.iter().any(over) {
                    self.complain(format_args!(
                        "an enabled peer was removed at revision {revision} or later"
                    ));
                }
                continue;
            }
            let Some(there) = after.peers.get(&key) else { continue };
            let allowed: std::collections::BTreeSet<_> = known.flat_map(|version| &version.allowed_ips).collect();
            if !there.allowed_ips.iter().all(|net| allowed.contains(net)) || versions.iter().all(Option::is_none) {
                self.complain(format_args!(
                    "a peer got {:?}, but the record has {allowed:?}",
                    there.allowed_ips
                ));
            }
        }
    }

    /// Counts a write. Returns true if the agent is to be killed during this write.
    fn is_fatal(&self) -> bool {
        let mut doom = self.doom.lock().unwrap();
        match *doom {
            Some(0) => {
                *doom = None;
                *self.doomed.lock().unwrap() = true;
                true
            }
            Some(left) => {
                *doom = Some(left - 1);
                false
            }
            None => false,
        }
    }
}

/// The interface, which is checked at every write.
struct Watched {
    devices: Memory,
    shared: Arc<Shared>,
}

impl Backend for Watched {
    fn read(&mut self, interface: &InterfaceName) -> Result<Option<Device>, Error> {
        self.devices.read(interface)
    }

    fn apply(&mut self, interface: &InterfaceName, plan: &Plan) -> Result<(), Error> {
        let before = self.devices.device(interface).unwrap_or_default();
        if !plan.is_empty() && self.shared.is_fatal() {
            let mut half = plan.clone();
            half.peers.truncate(plan.peers.len() / 2);
            let _ = self.devices.apply(interface, &half);
            // Unwinds the agent's task as if its process had been killed, without printing a panic.
            std::panic::resume_unwind(Box::new("killed"));
        }
        let applied = self.devices.apply(interface, plan);
        let after = self.devices.device(interface).unwrap_or_default();
        self.shared.judge(&before, plan, &after);
        applied
    }
}

/// A VPN host.
pub(crate) struct Host {
    pub(crate) shared: Arc<Shared>,
    pub(crate) devices: Memory,
    pub(crate) kernel: HostMemory,
    pub(crate) clock: Jumping,
    link: Link,
    seed: u64,
    starts: u64,
    folder: tempfile::TempDir,
    tasks: JoinSet<()>,
    turns: Option<JoinHandle<()>>,
    handle: Option<Handle>,
    /// The time until which the interface may differ from its desired state.
    disturbed: Option<Instant>,
    /// True if the agent did not stop cleanly.
    pub(crate) killed: bool,
    pub(crate) clock_ever_jumped: bool,
}

impl Host {
    pub(crate) fn new(seed: u64, number: usize, link: Link, wrong: Arc<Mutex<Vec<String>>>) -> Self {
        let (clock, begun) = (Jumping::default(), Instant::now());
        let shared = Shared {
            number,
            record: Mutex::default(),
            clock: clock.clock(move || begun.elapsed()),
            revision: AtomicU64::new(0),
            doom: Mutex::default(),
            doomed: Mutex::default(),
            wrong,
        };
        let devices = Memory::new();
        Self {
            shared: Arc::new(shared),
            kernel: HostMemory::new(devices.clone()),
            devices,
            clock,
            link,
            seed,
            starts: 0,
            folder: memory_folder(),
            tasks: JoinSet::new(),
            turns: None,
            handle: None,
            disturbed: None,
            killed: false,
            clock_ever_jumped: false,
        }
    }

    pub(crate) fn interface() -> InterfaceName {
        "wg0".parse().unwrap()
    }

    pub(crate) fn device(&self) -> Option<Device> {
        self.devices.device(&Self::interface())
    }

    pub(crate) fn runs(&self) -> bool {
        self.handle.is_some()
    }

    /// Returns true if the agent is running and has not been killed in the middle of a write.
    pub(crate) fn lives(&self) -> bool {
        self.runs() && !*self.shared.doomed.lock().unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Returns the time according to a clock that has never jumped.
    pub(crate) fn true_time(&self) -> Timestamp {
        let ahead = self.clock.ahead.load(Ordering::Relaxed);
        Timestamp::from_unix(self.now().unix() - ahead)
    }

    /// Starts the agent and waits until it is ready. The interface then matches the cache.
    pub(crate) async fn start(&mut self) {
        if self.runs() {
            return;
        }
        self.starts += 1;
        let folder = self.folder.path().to_owned();
        let secrets = Arc::new(Secrets::open(&folder).unwrap());
        let backend = Watched {
            devices: self.devices.clone(),
            shared: Arc::clone(&self.shared),
        };
        let reconciler = Reconciler::new(backend, self.kernel.clone(), LinkBy::Us, Arc::clone(&secrets), folder);
        let (turns, handle) = EventLoop::new(reconciler, self.shared.clock.clone());
        let stream = 10_000 + self.starts * 100 + u64::try_from(self.shared.number).unwrap();
        let dice = Mutex::new(Dice::new(self.seed, stream));
        let jitter = Jitter::new(move || dice.lock().unwrap().number());
        let planes = Planes::new(vec![self.link.clone()], jitter);
        let server = sentrazone_agent::cache::server_of(self.folder.path());
        let (ready, is_ready) = oneshot::channel();
        self.tasks = sentrazone_agent::conversation::start(planes, secrets, handle.clone(), server, REPORTS);
        self.turns = Some(tokio::spawn(turns.run(ready)));
        self.handle = Some(handle);
        if is_ready.await.is_ok() {
            // Earlier disturbances are repaired in the first round.
            self.disturbed = None;
        }
    }

    /// Stops the agent cleanly.
    pub(crate) async fn stop(&mut self) {
        self.tasks.shutdown().await;
        if let (Some(handle), Some(turns)) = (self.handle.take(), self.turns.take()) {
            let _ = handle.inbox.send(Input::Stop);
            let _ = turns.await;
            self.killed = false;
        }
    }

    /// Kills the agent.
    pub(crate) async fn kill(&mut self) {
        self.tasks.shutdown().await;
        if let Some(turns) = self.turns.take() {
            turns.abort();
            let _ = turns.await;
        }
        self.handle = None;
        self.killed = true;
        *self.shared.doom.lock().unwrap() = None;
        *self.shared.doomed.lock().unwrap() = false;
    }

    /// Plans a kill of the agent in the middle of a write, after `writes` more writes.
    pub(crate) fn doom(&self, writes: usize) {
        *self.shared.doom.lock().unwrap() = Some(writes);
    }

    /// Cancels a planned kill.
    pub(crate) fn spare(&self) {
        *self.shared.doom.lock().unwrap() = None;
    }

    /// Returns true if the agent has been killed in the middle of a write. In that case, also ends the rest of the
    /// agent. The interface stays as the unfinished write left it.
    pub(crate) async fn was_doomed(&mut self) -> bool {
        let doomed = std::mem::take(&mut *self.shared.doomed.lock().unwrap());
        if doomed {
            self.kill().await;
            self.disturbed = Some(Instant::now() + Duration::from_secs(1_000_000));
        }
        doomed
    }

    /// Reboots the host. The kernel's state is lost.
    pub(crate) async fn reboot(&mut self) {
        self.kill().await;
        self.devices.delete(&Self::interface());
        self.kernel = HostMemory::new(self.devices.clone());
        self.disturbed = Some(Instant::now() + Duration::from_secs(1_000_000));
    }

    /// Records a disturbance of the interface or the clock, which the agent must detect.
    pub(crate) fn disturb(&mut self) {
        let until = Instant::now() + NOTICED;
        self.disturbed = Some(self.disturbed.map_or(until, |before| before.max(until)));
    }

    /// Compares the interface with the state that the agent has accepted. May be called at any time.
    pub(crate) fn inspect(&self) {
        let Some(handle) = self.handle.as_ref().filter(|_| self.lives()) else {
            return;
        };
        let Some((_, revision)) = *handle.position.borrow() else {
            return;
        };
        let before = self.shared.revision.swap(revision, Ordering::Relaxed);
        if revision < before {
            self.shared
                .complain(format_args!("revision {revision} replaced {before}"));
        }
        let calm = self.disturbed.is_none_or(|until| until < Instant::now());
        if calm && handle.verdict.borrow().is_clean() && handle.verdict.borrow().revision == revision {
            self.compare(revision);
        }
    }

    fn compare(&self, revision: u64) {
        let record = self.shared.record();
        let (Some(recorded), Some(device)) = (record.at(revision), self.device()) else {
            return self
                .shared
                .complain(format_args!("revision {revision}: no record, or no interface"));
        };
        let now = self.now();
        for (key, version) in recorded {
            let unsure = version
                .expires_at
                .is_some_and(|end| self.clock_ever_jumped || end.unix() <= now.unix() + TICK);
            let there = device.peers.get(key);
            let right = there.is_some_and(|peer| {
                peer.allowed_ips == version.allowed_ips && peer.preshared_key.is_some() == version.preshared_key
            });
            let may_lack = unsure && there.is_none();
            if !right && !may_lack {
                self.shared.complain(format_args!(
                    "revision {revision} is confirmed, but the interface has one of its peers as {there:?}"
                ));
            }
            let over = version.expires_at.is_some_and(|end| end.unix() + TICK < now.unix());
            if over && there.is_some() && !self.clock_ever_jumped {
                self.shared.complain("an expired peer is still on the interface");
            }
        }
        if let Some(key) = device.peers.keys().find(|key| !recorded.contains_key(key)) {
            self.shared.complain(format_args!(
                "revision {revision}: {key} is on the interface but not recorded"
            ));
        }
    }

    /// Returns the revision that the agent last accepted.
    pub(crate) fn revision(&self) -> u64 {
        self.shared.revision.load(Ordering::Relaxed)
    }

    pub(crate) fn server(&self) -> wgctl::ServerId {
        server(self.shared.number)
    }
}
