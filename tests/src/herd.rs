//! Many agents in one process: real conversations over real sockets, with interfaces in memory.
//!
//! Owns starting the agents and logging their requests with times. The agent's own code decides which requests they
//! send and when they connect again.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use sentrazone_agent::conversation;
use sentrazone_agent::conversation::{Jitter, Plane, Planes};
use sentrazone_agent::host::Memory as HostMemory;
use sentrazone_agent::reconcile::{EventLoop, LinkBy, Reconciler};
use sentrazone_agent::secrets::Secrets;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use wgctl::Clock;
use wgctl::api::Report;
use wgctl::client::{Error, PlaneClient, Target};
use wgctl::device::memory::Memory;
use wgctl::name::RequestId;
use wgctl::protocol::v1::{Applied, Desired, DesiredQuery, DriftReport, Hello, Prekeys, Reply, Welcome};

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The agent began to introduce itself.
    Dialled,
    /// A plane accepted the introduction.
    Welcomed,
    /// The agent sent any other request.
    Asked,
    /// A plane accepted the agent's confirmation.
    Confirmed,
}

/// An event at one agent.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// The agent's number.
    pub agent: usize,
    /// The plane's position in the agent's list.
    pub plane: usize,
    /// The time of the event.
    pub at: Instant,
    /// The kind of the event.
    pub what: What,
}

/// The events of all agents. Clones share the log.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Event>>>);

impl Log {
    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().expect("no panic while the log is locked")
    }

    fn note(&self, agent: usize, plane: usize, what: What) {
        let at = Instant::now();
        self.events().push(Event { agent, plane, at, what });
    }

    /// Returns the time of the first event, or the current time if there is none.
    #[must_use]
    pub fn first(&self) -> Instant {
        self.events().first().map_or_else(Instant::now, |event| event.at)
    }

    /// Returns the events from `begin` on, in order.
    #[must_use]
    pub fn since(&self, begin: Instant) -> Vec<Event> {
        self.events()
            .iter()
            .filter(|event| event.at >= begin)
            .copied()
            .collect()
    }

    /// Returns the number of agents that have had at least `times` events of this kind since `begin`.
    #[must_use]
    pub fn agents(&self, what: What, times: usize, begin: Instant) -> usize {
        let mut counts = std::collections::BTreeMap::new();
        for event in self.since(begin).iter().filter(|event| event.what == what) {
            *counts.entry(event.agent).or_insert(0) += 1;
        }
        counts.values().filter(|count| **count >= times).count()
    }
}

/// A connection to a plane. Its use is logged.
#[derive(Clone)]
struct Noted {
    client: PlaneClient,
    agent: usize,
    plane: usize,
    log: Log,
}

impl Noted {
    fn notes(&self, what: What) {
        self.log.note(self.agent, self.plane, what);
    }

    fn asks(&self) -> &PlaneClient {
        self.notes(What::Asked);
        &self.client
    }
}

impl Plane for Noted {
    async fn hello(&self, hello: &Hello) -> Result<Welcome, Error> {
        self.notes(What::Dialled);
        let welcome = self.client.hello(hello).await?;
        self.notes(What::Welcomed);
        Ok(welcome)
    }

    async fn desired(&self, query: &DesiredQuery) -> Result<Desired, Error> {
        self.asks().desired(query).await
    }

    async fn applied(&self, applied: &Applied) -> Result<(), Error> {
        self.asks().applied(applied).await?;
        self.notes(What::Confirmed);
        Ok(())
    }

    async fn drift(&self, report: &DriftReport) -> Result<(), Error> {
        self.asks().drift(report).await
    }

    async fn prekeys(&self, prekeys: &Prekeys) -> Result<(), Error> {
        self.asks().prekeys(prekeys).await
    }

    async fn reply(&self, request: RequestId, reply: &Reply) -> Result<(), Error> {
        self.asks().reply(request, reply).await
    }

    async fn report(&self, report: &Report) -> Result<(), Error> {
        self.asks().report(report).await
    }

    async fn health(&self) -> Result<(), Error> {
        self.asks().health().await.map(drop)
    }

    fn reached(&self) -> Option<IpAddr> {
        self.client.reached()
    }

    fn target(&self) -> &Target {
        self.client.target()
    }
}

/// The running agents. They stop when this is dropped.
#[derive(Default)]
pub struct Herd {
    /// The log of the agents' events.
    pub log: Log,
    tasks: Vec<JoinSet<()>>,
}

impl Herd {
    /// Starts one more agent. The agent belongs to the server that `token` was issued for, tries these planes in turn,
    /// and keeps its state in `folder`.
    pub fn join(&mut self, planes: &[String], token: &str, folder: &Path) {
        let agent = self.tasks.len();
        std::fs::create_dir_all(folder).expect("a folder");
        let secrets = Arc::new(Secrets::open(folder).expect("secrets"));
        let client = |(plane, url): (usize, &String)| Noted {
            client: PlaneClient::new(Target::Url(url.parse().expect("a URL")), None)
                .expect("a client")
                .with_token(token.to_owned().into()),
            agent,
            plane,
            log: self.log.clone(),
        };
        let planes = Planes::new(planes.iter().enumerate().map(client).collect(), Jitter::default());
        let devices = Memory::new();
        let host = HostMemory::new(devices.clone());
        let reconciler = Reconciler::new(devices, host, LinkBy::Us, Arc::clone(&secrets), folder.to_owned());
        let (turns, handle) = EventLoop::new(reconciler, Clock::default());
        let (ready, _) = oneshot::channel();
        let mut tasks = conversation::start(planes, secrets, handle, None, 15);
        tasks.spawn(turns.run(ready));
        self.tasks.push(tasks);
    }

    /// Returns the number of agents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Returns true if there are no agents.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}
