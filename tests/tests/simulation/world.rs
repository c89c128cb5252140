//! The run of one seed: a plane, a few hosts, and the events that happen to them.
//!
//! Owns the run from the first server to the last check. `people` owns the actions of users, and
//! `trouble` owns the faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sentrazone_plane::fleet::{Actor, Caller};
use tokio::time::{Instant, sleep};
use wgctl::PeerId;

use crate::dice::Dice;
use crate::host::{Host, Jumping, REPORTS};
use crate::network::{Fault, Kind, LATEST, Network, server};
use crate::plane::Plane;
use crate::record;

/// The time within which plane and hosts must agree once everything works again.
const AGREED: Duration = Duration::from_secs(240);

/// An account of the bytes that have passed through a host.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger {
    /// The number of bytes received, by client, including deleted clients.
    pub(crate) told: BTreeMap<PeerId, u64>,
    /// A lower bound on the number of bytes that the agent has stored on disk.
    saved: u64,
    next_saved: u64,
    /// The number of bytes that may be lost by design: in a crash between two dumps, or if the plane is killed
    /// between two of its writes.
    pub(crate) lost: u64,
}

impl Ledger {
    fn total(&self) -> u64 {
        self.told.values().sum()
    }

    /// Adds the bytes that are not on disk to the possible losses.
    pub(crate) fn lose(&mut self) {
        self.lost += self.total() - self.saved;
    }

    /// Records the end of a dump of the interface. The bytes counted up to the previous dump are on disk.
    fn looked(&mut self) {
        let total = self.total();
        self.saved = std::mem::replace(&mut self.next_saved, total);
    }
}

/// The kinds of fault that occur in a seed.
#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) agents_die: bool,
    pub(crate) planes_die: bool,
    pub(crate) meddling: bool,
    pub(crate) clocks_jump: bool,
}

/// The result of a seed.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) wrong: Vec<String>,
    pub(crate) trace: Vec<String>,
    /// The time from the end of the faults until plane and hosts agreed.
    pub(crate) agreed_after: Duration,
    /// The number of bytes that passed through the hosts.
    pub(crate) bytes: u64,
    /// The number of bytes that crashes may have lost.
    pub(crate) may_be_lost: u64,
    /// The number of bytes that were lost.
    pub(crate) lost: u64,
    pub(crate) messages: usize,
}

/// A plane and its hosts.
pub(crate) struct World {
    pub(crate) plane: Arc<Plane>,
    pub(crate) plane_clock: Jumping,
    pub(crate) plane_runs: bool,
    pub(crate) network: Arc<Network>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) ledgers: Arc<Mutex<Vec<Ledger>>>,
    pub(crate) dice: Dice,
    pub(crate) weather: Weather,
    /// The number of names that have been used so far.
    pub(crate) names: usize,
    /// The plane's count of each host's bytes before the plane was last stopped.
    pub(crate) counted: Vec<u64>,
    wrong: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn admin() -> Caller {
    Caller::standing(Actor::Local("root".to_owned()), None)
}

/// Runs one seed from beginning to end.
pub(crate) fn run(seed: u64) -> Outcome {
    runtime().block_on(async {
        let mut dice = Dice::new(seed, 0);
        let weather = Weather {
            agents_die: dice.permille(600),
            planes_die: dice.permille(500),
            meddling: dice.permille(400),
            clocks_jump: dice.permille(300),
        };
        let trouble = *dice.pick(&[0, 10, 50, 150, 300]).unwrap();
        let hosts = 1 + dice.below(3);
        let mut world = World::new(seed, hosts, trouble, weather).await;
        let steps = 20 + world.dice.below(40);
        for _ in 0..steps {
            let pause = world.dice.milliseconds(1..15_000);
            sleep(pause).await;
            world.step().await;
            world.check();
        }
        world.end().await
    })
}

/// Runs one host with a single fault that affects one message.
pub(crate) fn run_with(kind: Kind, fault: Fault) -> Outcome {
    runtime().block_on(async {
        let weather = Weather {
            agents_die: false,
            planes_die: false,
            meddling: false,
            clocks_jump: false,
        };
        let mut world = World::new(1, 1, 0, weather).await;
        sleep(Duration::from_secs(5)).await;
        world.network.script(kind, fault);
        for _ in 0..4 {
            // The stock of prekeys runs out and is refilled.
            world.create(0);
            world.note(0);
            world.network.tell();
            sleep(Duration::from_secs(3)).await;
            world.traffic(0);
            world.check();
        }
        world.hosts[0].stop().await;
        world.hosts[0].start().await;
        sleep(Duration::from_secs(2 * u64::from(REPORTS))).await;
        let met = world.network.script_is_over();
        let mut outcome = world.end().await;
        if !met {
            outcome.wrong.push("no such message was sent".to_owned());
        }
        outcome
    })
}

fn runtime() -> tokio::runtime::Runtime {
    let mut paused = tokio::runtime::Builder::new_current_thread();
    paused.enable_time().start_paused(true).build().unwrap()
}

impl World {
    /// Creates a world with this many hosts, each with its own server and agent.
    pub(crate) async fn new(seed: u64, hosts: usize, trouble: u32, weather: Weather) -> Self {
        let plane_clock = Jumping::default();
        let plane = Arc::new(Plane::new(&plane_clock));
        let network = Network::new(Arc::clone(&plane), trouble);
        let wrong = Arc::new(Mutex::default());
        let mut world = Self {
            plane,
            plane_clock,
            plane_runs: true,
            network,
            hosts: Vec::new(),
            ledgers: Arc::new(Mutex::new(vec![Ledger::default(); hosts])),
            dice: Dice::new(seed, 1),
            weather,
            names: 0,
            counted: Vec::new(),
            wrong: Arc::clone(&wrong),
        };
        for number in 0..hosts {
            let token = world.make_server(number);
            let link = world.network.join(seed, token);
            world.hosts.push(Host::new(seed, number, link, Arc::clone(&wrong)));
            world.note(number);
        }
        world.look_on();
        for host in &mut world.hosts {
            host.start().await;
        }
        world
    }

    fn make_server(&self, number: usize) -> String {
        let new = serde_json::json!({
            "id": server(number), "endpoint": "vpn.example.com:51820", "address_pool": ["10.8.0.0/24"]
        });
        let new = serde_json::from_value(new).unwrap();
        let created = self
            .plane
            .ask(move |fleet| async move { fleet.create_server(&admin(), new, None).await });
        created.unwrap().unwrap().agent_token
    }

    /// Watches the messages to learn which bytes are on disk. For each report, the agent takes a dump and then pings
    /// the plane, so a ping shows that a dump has ended.
    fn look_on(&self) {
        let ledgers = Arc::clone(&self.ledgers);
        self.network.watch(Box::new(move |host, kind| {
            if kind == Kind::Health {
                ledgers.lock().unwrap()[host].looked();
            }
        }));
    }

    /// Stores the server's current record in its host's history.
    pub(crate) fn note(&self, number: usize) {
        let id = server(number);
        let read = self
            .plane
            .ask(move |fleet| async move { record::read(&fleet, &id).await });
        if let Some((revision, clients)) = read {
            self.hosts[number].shared.record().note(revision, &clients);
        }
    }

    /// Checks the conditions that must hold at all times.
    pub(crate) fn check(&self) {
        for host in &self.hosts {
            host.inspect();
        }
        let statuses = self.plane.ask(|fleet| async move { fleet.statuses().await.unwrap() });
        for (host, status) in self.hosts.iter().zip(statuses.into_iter().flatten()) {
            let number = host.shared.number;
            if status.applied_revision.unwrap_or(0) > host.revision() && host.lives() {
                host.shared.complain(format_args!(
                    "the plane shows revision {:?} as applied, but the host has {}",
                    status.applied_revision,
                    host.revision()
                ));
            }
            let heard = self.network.reported(number);
            if !status.online && heard.is_some_and(|ago| ago < Duration::from_secs(u64::from(2 * REPORTS))) {
                host.shared.complain("the host reports, but is shown as offline");
            }
            if status.transfer_rx > self.ledgers.lock().unwrap()[number].total() {
                host.shared.complain("bytes were counted twice");
            }
        }
    }

    /// Ends the faults. Plane and hosts must then agree and continue to agree.
    pub(crate) async fn end(mut self) -> Outcome {
        self.network.heal();
        self.plane_clock.jump_to(0);
        self.network.forget_reports();
        self.start_plane();
        for number in 0..self.hosts.len() {
            let host = &mut self.hosts[number];
            host.clock.jump_to(0);
            host.disturb();
            host.spare();
            if host.was_doomed().await {
                self.ledgers.lock().unwrap()[number].lose();
            }
            self.start_agent(number).await;
        }
        let healed = Instant::now();
        self.agree("after the last fault").await;
        let agreed_after = healed.elapsed();
        // Messages that are still in transit arrive, and must change nothing.
        sleep(LATEST * 3).await;
        self.agree("after the last late message").await;
        let mut outcome = self.settle();
        outcome.agreed_after = agreed_after;
        for host in &mut self.hosts {
            host.stop().await;
        }
        outcome.wrong = std::mem::take(&mut *self.wrong.lock().unwrap());
        outcome.trace = self.network.traced();
        outcome.messages = outcome.trace.len();
        outcome
    }

    async fn agree(&self, when: &str) {
        let deadline = Instant::now() + AGREED;
        loop {
            self.check();
            let apart: Vec<String> = self.hosts.iter().filter_map(|host| self.apart(host)).collect();
            if apart.is_empty() || !self.wrong.lock().unwrap().is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                let mut wrong = self.wrong.lock().unwrap();
                wrong.extend(apart.iter().map(|apart| format!("{when}: {apart}")));
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Returns the first difference between the record, the interface and the plane's view, if there is one.
    fn apart(&self, host: &Host) -> Option<String> {
        let id = host.server();
        let (server, clients, status) = self.plane.ask(move |fleet| async move {
            let clients = record::read(&fleet, &id).await.1;
            let statuses = fleet.statuses().await.unwrap();
            let status = statuses.into_iter().find(|status| status.server_id == id).unwrap();
            (fleet.server(&id).unwrap(), clients, status)
        })?;
        let mut record = record::Record::default();
        record.note(server.desired_revision, &clients);
        let mut wanted = record.at(server.desired_revision).cloned().unwrap_or_default();
        wanted.retain(|_, version| version.expires_at.is_none_or(|end| end > host.now()));
        let device = host.device().unwrap_or_default();
        let there: BTreeMap<_, _> = device
            .peers
            .iter()
            .map(|(key, peer)| (key, &peer.allowed_ips))
            .collect();
        let should: BTreeMap<_, _> = wanted.iter().map(|(key, peer)| (key, &peer.allowed_ips)).collect();
        let number = host.shared.number;
        if there != should || device.listen_port != server.listen_port {
            return Some(format!("host {number} has {there:?}, but the record has {should:?}"));
        }
        if server.applied_revision != Some(server.desired_revision) || server.failed.is_some() {
            return Some(format!(
                "host {number}: applied {:?} of {}, failed {:?}",
                server.applied_revision, server.desired_revision, server.failed
            ));
        }
        if let Some(client) = clients.iter().find(|client| !client.applied || client.failed.is_some()) {
            return Some(format!(
                "host {number}: {} is pending, failed {:?}",
                client.name, client.failed
            ));
        }
        if !status.online {
            return Some(format!("host {number} is shown as offline"));
        }
        let ledger = self.ledgers.lock().unwrap()[number].clone();
        let uncounted = ledger.total().saturating_sub(status.transfer_rx);
        if uncounted > ledger.lost {
            return Some(format!(
                "host {number}: {} bytes, {} counted, {} may be lost",
                ledger.total(),
                status.transfer_rx,
                ledger.lost
            ));
        }
        let off = |client: &&wgctl::api::Peer| {
            let told = ledger.told.get(&client.id).copied().unwrap_or(0);
            client.transfer_rx > told || client.transfer_rx + ledger.lost < told
        };
        let client = clients.iter().find(off)?;
        Some(format!(
            "host {number}: {} of {:?} bytes from {} were counted",
            client.transfer_rx,
            ledger.told.get(&client.id),
            client.name
        ))
    }

    fn settle(&self) -> Outcome {
        let statuses = self.plane.ask(|fleet| async move { fleet.statuses().await.unwrap() });
        let counted: u64 = statuses.iter().flatten().map(|status| status.transfer_rx).sum();
        let ledgers = self.ledgers.lock().unwrap();
        let bytes: u64 = ledgers.iter().map(Ledger::total).sum();
        Outcome {
            bytes,
            may_be_lost: ledgers.iter().map(|ledger| ledger.lost).sum(),
            lost: bytes.saturating_sub(counted),
            ..Outcome::default()
        }
    }
}
