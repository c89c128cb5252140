//! Kills an agent between any two of its writes to the kernel.
//!
//! Owns the fuse, which counts writes and ends the agent after a given number; the watch, which
//! checks the interface after each write; and the loop over all points at which the agent can be killed. A kill is an
//! unwinding panic that only [`killed_everywhere`] catches: the agent's memory is lost, but files and the kernel's
//! state remain. It must not know which kernel is used: a [`Stage`] supplies the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use sentrazone_agent::desired::Base;
use sentrazone_agent::guard::Network;
use sentrazone_agent::host::{Difference, Host, HostState, Spec};
use sentrazone_agent::reconcile::{LinkBy, Reconciler};
use sentrazone_agent::secrets::Secrets;
use wgctl::device::{Backend, Device, Error, Plan};
use wgctl::name::{Incarnation, InterfaceName};
use wgctl::protocol::v1::{Change, Desired, Interface, Peer, VERSION};
use wgctl::{PublicKey, ServerId, Timestamp};

/// The number of writes left that means that the agent is never killed.
const NEVER: u64 = u64::MAX;

/// The payload of the panic that ends an agent.
struct Killed;

/// Ends the agent after a given number of writes. Clones share the count.
#[derive(Clone)]
struct Fuse(Arc<Burning>);

struct Burning {
    left: AtomicU64,
    writes: AtomicU64,
}

impl Fuse {
    fn new() -> Self {
        Self(Arc::new(Burning {
            left: AtomicU64::new(NEVER),
            writes: AtomicU64::new(0),
        }))
    }

    fn burn_after(&self, writes: u64) {
        self.0.left.store(writes, Ordering::SeqCst);
    }

    fn writes(&self) -> u64 {
        self.0.writes.load(Ordering::SeqCst)
    }

    /// Ends the agent if no writes are left.
    fn before_a_write(&self) {
        if self.0.left.load(Ordering::SeqCst) == 0 {
            resume_unwind(Box::new(Killed));
        }
    }

    fn wrote(&self) {
        self.0.writes.fetch_add(1, Ordering::SeqCst);
        let left = self.0.left.load(Ordering::SeqCst);
        if left != NEVER {
            self.0.left.store(left - 1, Ordering::SeqCst);
        }
    }
}

/// A check of the interface that runs after each write.
type Watch = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

/// A backend or host that writes one step at a time, with the fuse before each step and the watch after it.
struct Fused<T> {
    inner: T,
    fuse: Fuse,
    watch: Watch,
}

impl<T> Fused<T> {
    fn wrote(&self) {
        self.fuse.wrote();
        if let Some(look) = self.watch.get() {
            look();
        }
    }
}

impl<B: Backend> Backend for Fused<B> {
    fn read(&mut self, interface: &InterfaceName) -> Result<Option<Device>, Error> {
        self.inner.read(interface)
    }

    /// Writes each setting and each peer separately. Real messages carry many of them.
    fn apply(&mut self, interface: &InterfaceName, plan: &Plan) -> Result<(), Error> {
        for piece in pieces(plan) {
            self.fuse.before_a_write();
            self.inner.apply(interface, &piece)?;
            self.wrote();
        }
        Ok(())
    }
}

fn pieces(plan: &Plan) -> Vec<Plan> {
    let settings = [
        Plan {
            fwmark: plan.fwmark,
            ..Plan::default()
        },
        Plan {
            listen_port: plan.listen_port,
            ..Plan::default()
        },
        Plan {
            private_key: plan.private_key.clone(),
            ..Plan::default()
        },
    ];
    let peers = plan.peers.iter().map(|peer| Plan {
        peers: vec![peer.clone()],
        ..Plan::default()
    });
    settings
        .into_iter()
        .filter(|piece| !piece.is_empty())
        .chain(peers)
        .collect()
}

impl<H: Host> Host for Fused<H> {
    fn create_link(&mut self, name: &InterfaceName) -> Result<bool, Error> {
        self.fuse.before_a_write();
        let made = self.inner.create_link(name)?;
        if made {
            self.wrote();
        }
        Ok(made)
    }

    fn delete_link(&mut self, name: &InterfaceName) -> Result<(), Error> {
        self.fuse.before_a_write();
        self.inner.delete_link(name)?;
        self.wrote();
        Ok(())
    }

    fn index(&mut self, name: &InterfaceName) -> Result<Option<u32>, Error> {
        self.inner.index(name)
    }

    fn read(&mut self, spec: &Spec) -> Result<HostState, Error> {
        self.inner.read(spec)
    }

    fn network(&mut self, name: &InterfaceName, addresses: &[IpAddr]) -> Result<Network, Error> {
        self.inner.network(name, addresses)
    }

    /// Writes each address, route and setting separately.
    fn repair(&mut self, spec: &Spec, differences: &BTreeSet<Difference>) -> Result<u32, Error> {
        let (mut writes, mut outcome) = (0, Ok(()));
        for difference in differences {
            self.fuse.before_a_write();
            match self.inner.repair(spec, &BTreeSet::from([difference.clone()])) {
                Ok(made) => writes += made,
                Err(error) => outcome = Err(error),
            }
            self.wrote();
        }
        outcome.map(|()| writes)
    }

    fn release(&mut self, name: &InterfaceName) -> Result<(), Error> {
        self.inner.release(name)
    }
}

/// A kernel on which agents are killed.
pub trait Stage {
    /// The WireGuard part of the kernel.
    type Backend: Backend;
    /// The rest of the host's network configuration: addresses, routes and firewall.
    type Host: Host;
    /// Removes the interface.
    fn clear(&mut self);
    /// Returns a backend and a host for one run of the agent.
    fn begin(&mut self) -> (Self::Backend, Self::Host);
    /// Returns a reader of the interface that is independent of the agent.
    fn reader(&mut self) -> Box<dyn Fn() -> Option<Device> + Send + Sync>;
}

/// The desired state before or after a change.
#[derive(Debug, Clone)]
pub struct Record {
    /// The interface.
    pub interface: Interface,
    /// The peers on the interface.
    pub peers: Vec<Peer>,
}

impl Record {
    /// Returns the owner of each network.
    fn owners(&self) -> BTreeMap<IpNet, PublicKey> {
        let of = |peer: &Peer| -> Vec<_> { peer.allowed_ips.iter().map(|net| (*net, peer.public_key)).collect() };
        self.peers.iter().flat_map(of).collect()
    }

    fn snapshot(&self) -> Change {
        Change::Snapshot {
            interface: self.interface.clone(),
            peers: self.peers.clone(),
        }
    }

    /// Returns the difference from `old` to this state.
    fn delta(&self, old: &Self) -> Change {
        let known: BTreeMap<_, _> = old.peers.iter().map(|peer| (peer.id, peer)).collect();
        let now: BTreeSet<_> = self.peers.iter().map(|peer| peer.id).collect();
        let changed = |peer: &&Peer| known.get(&peer.id) != Some(peer);
        Change::Delta {
            interface: (self.interface != old.interface).then(|| self.interface.clone()),
            upsert: self.peers.iter().filter(changed).cloned().collect(),
            remove: known.keys().filter(|id| !now.contains(id)).copied().collect(),
        }
    }
}

/// The form in which the change is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As a difference.
    Delta,
    /// As a complete state.
    Snapshot,
}

/// The keys of a host and the id of its server, which stay the same when its agent is started again.
pub struct Identity {
    folder: tempfile::TempDir,
    /// The host's keys.
    pub secrets: Arc<Secrets>,
    /// The id of the host's server.
    pub server: ServerId,
    life: Incarnation,
}

impl Default for Identity {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let secrets = Arc::new(Secrets::open(folder.path()).expect("keys"));
        Self {
            folder,
            secrets,
            server: "los-angeles".parse().expect("a server id"),
            life: Incarnation::random(),
        }
    }
}

impl Identity {
    fn desired(&self, revision: u64, change: Change) -> Desired {
        Desired {
            version: VERSION,
            incarnation: self.life,
            revision,
            change,
            caused_by: Vec::new(),
            requests: Vec::new(),
            prekeys_wanted: 0,
            public_key: None,
        }
    }

    /// Creates an agent on `stage`. The state directory `state` outlives the agent.
    fn agent<S: Stage>(&self, stage: &mut S, state: &str, fuse: &Fuse, watch: &Watch) -> Agent<S> {
        let (backend, host) = stage.begin();
        let (fuse_of_host, watch_of_host) = (fuse.clone(), Arc::clone(watch));
        let backend = Fused {
            inner: backend,
            fuse: fuse.clone(),
            watch: Arc::clone(watch),
        };
        let host = Fused {
            inner: host,
            fuse: fuse_of_host,
            watch: watch_of_host,
        };
        let folder = self.folder.path().join(state);
        std::fs::create_dir_all(&folder).expect("a folder");
        Reconciler::new(backend, host, LinkBy::Us, Arc::clone(&self.secrets), folder)
    }
}

type Agent<S> = Reconciler<Fused<<S as Stage>::Backend>, Fused<<S as Stage>::Host>>;

/// Changes a host from `old` (no interface if `None`) to `new`, again and again: the agent is killed before its
/// first write, then after the first, then after the second, and so on, until a run completes. Checks that after
/// every write each peer holds only networks that the old or the new record assigns to it, and that after every
/// kill the next agent completes the change. Returns the number of kills.
pub fn killed_everywhere<S: Stage>(
    stage: &mut S,
    identity: &Identity,
    old: Option<&Record>,
    new: &Record,
    way: Way,
) -> u64 {
    let now = Timestamp::from_unix(1_800_000_000);
    for kill in 0.. {
        stage.clear();
        let (fuse, watch) = (Fuse::new(), Watch::default());
        let state = Incarnation::random().to_string();
        let mut agent = identity.agent(stage, &state, &fuse, &watch);
        if let Some(old) = old {
            let before = identity.desired(1, old.snapshot());
            agent
                .take(&identity.server, before, Base::Here, now)
                .expect("a snapshot");
            assert!(agent.verdict().is_clean(), "{:?}", agent.verdict());
        }
        let owners = [old.map(Record::owners).unwrap_or_default(), new.owners()];
        let read = stage.reader();
        let look = move || nobody_holds_what_is_anothers(&read(), &owners);
        assert!(watch.set(Box::new(look)).is_ok());

        let change = match (way, old) {
            (Way::Delta, Some(old)) => new.delta(old),
            (Way::Snapshot, _) | (Way::Delta, None) => new.snapshot(),
        };
        let desired = identity.desired(2, change);
        fuse.burn_after(kill);
        let lived = lives(|| {
            agent
                .take(&identity.server, desired, Base::Here, now)
                .expect("the change applies");
        });
        drop(agent);
        fuse.burn_after(NEVER);
        recovered(identity, stage, &state, (&fuse, &watch), new, now);
        if lived {
            return kill;
        }
    }
    unreachable!("a change takes a finite number of writes")
}

/// Runs `run` and returns true if it completed without being killed.
fn lives(run: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(()) => true,
        Err(end) if end.is::<Killed>() => false,
        Err(panic) => resume_unwind(panic),
    }
}

/// Starts the next agent, which knows only the state on disk and in the kernel, and checks its result.
fn recovered<S: Stage>(
    identity: &Identity,
    stage: &mut S,
    state: &str,
    (fuse, watch): (&Fuse, &Watch),
    new: &Record,
    now: Timestamp,
) {
    let mut agent = identity.agent(stage, state, fuse, watch);
    agent.round(now);
    assert!(agent.verdict().is_clean(), "{:?}", agent.verdict());
    let device = stage.reader()().expect("the interface");
    let held: BTreeMap<PublicKey, BTreeSet<IpNet>> = device
        .peers
        .iter()
        .map(|(key, peer)| (*key, peer.allowed_ips.clone()))
        .collect();
    let wanted = new.peers.iter();
    let wanted = wanted.map(|peer| (peer.public_key, peer.allowed_ips.iter().copied().collect()));
    assert_eq!(held, wanted.collect(), "the peers do not match the desired state");
    let sealed = new.peers.iter().filter(|peer| peer.preshared_key.is_some());
    let with_secret = device.peers.values().filter(|peer| peer.preshared_key.is_some());
    assert_eq!(with_secret.count(), sealed.count());
    assert_eq!(device.listen_port, new.interface.listen_port);
    let writes = fuse.writes();
    agent.round(now);
    assert_eq!(fuse.writes(), writes, "a second sync wrote something");
}

fn nobody_holds_what_is_anothers(device: &Option<Device>, owners: &[BTreeMap<IpNet, PublicKey>; 2]) {
    for (key, peer) in device.iter().flat_map(|device| &device.peers) {
        for net in &peer.allowed_ips {
            assert!(
                owners.iter().any(|record| record.get(net) == Some(key)),
                "{key} holds {net}, which neither the old nor the new record assigns to it"
            );
        }
    }
}
