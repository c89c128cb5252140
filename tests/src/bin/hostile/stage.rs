//! A release build of the plane under attack, while a client and agents work.
//!
//! Owns that work, the timing of its requests, and the readings of the plane's resources during an attack. It must not
//! know the attacks.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sentrazone_tests::herd::{Herd, What};
use sentrazone_tests::loopback::LoopbackPlane;
use sentrazone_tests::resources::Resources;
use sentrazone_tests::statistics::quantile;
use sentrazone_tests::wait;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wgctl::ServerId;
use wgctl::api::{Login, NewPeer, NewUser, Role};
use wgctl::client::{PlaneClient, Target};

use crate::wire::Answers;

pub(crate) const EMAIL: &str = "ops@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery staple";
const AGENTS: usize = 5;
/// The time for which the client works undisturbed, as a baseline.
const QUIET: Duration = Duration::from_secs(3);
/// The pause between two rounds of the client, and between two readings of the plane's resources.
const PAUSE: Duration = Duration::from_millis(50);
/// The maximum time within which the plane must release everything that an attack has occupied.
const CLEARED: Duration = Duration::from_secs(90);

/// The target of an attack.
#[derive(Clone)]
pub(crate) struct Aim {
    pub(crate) address: SocketAddr,
    /// The token of an admin, for attacks by an insider.
    pub(crate) admin: String,
    /// The token of an agent on a compromised host.
    pub(crate) agent: String,
    pub(crate) process: u32,
}

/// The result of an attack.
pub(crate) struct Outcome {
    pub(crate) answers: Answers,
    pub(crate) note: String,
    /// The broken promises.
    pub(crate) broken: Vec<String>,
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) attack: &'static str,
    pub(crate) text: String,
    pub(crate) broken: Vec<String>,
}

/// The limits on an attack's effect on other callers.
pub(crate) struct Bounds {
    /// The permitted growth of the plane's memory, in MB.
    pub(crate) growth: u64,
    /// The permitted 99th percentile of the client's request times.
    pub(crate) patience: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            growth: 64,
            patience: Duration::from_secs(2),
        }
    }
}

pub(crate) struct Stage {
    herd: Herd,
    pub(crate) plane: LoopbackPlane,
    pub(crate) servers: Vec<ServerId>,
    pub(crate) aim: Aim,
    _folder: tempfile::TempDir,
}

/// The client's work: the duration of each request, and the failures.
#[derive(Default)]
struct Work {
    took: Vec<Duration>,
    failed: Vec<String>,
}

impl Stage {
    /// Starts a plane with working agents, an admin who has logged in, and a server whose agent is hostile.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut plane = LoopbackPlane::start().await;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, plane.port()));
        let urls = [format!("http://{address}")];
        let (mut herd, mut servers) = (Herd::default(), Vec::new());
        for number in 0..AGENTS {
            let pool = format!("10.{number}.0.0/16");
            let created = plane
                .server(&format!("host-{number}"), "192.0.2.1:51820", &[&pool])
                .await;
            herd.join(&urls, &created.agent_token, &folder.path().join(number.to_string()));
            servers.push(created.server.id);
        }
        let hostile = plane.server("hostile", "192.0.2.9:51820", &["10.200.0.0/16"]).await;
        let user = NewUser {
            email: EMAIL.parse().expect("an email"),
            password: PASSWORD.to_owned(),
            role: Role::Admin,
        };
        plane.admin().create_user(&user, None).await.expect("a user");
        let login = Login {
            email: EMAIL.to_owned(),
            password: PASSWORD.to_owned(),
        };
        let target = Target::Url(urls[0].parse().expect("a URL"));
        let session = PlaneClient::new(target, None)
            .expect("a client")
            .login(&login)
            .await
            .expect("a login");
        let begin = herd.log.first();
        let confirmed = || std::future::ready(herd.log.agents(What::Confirmed, 1, begin));
        wait::until("every agent has confirmed", confirmed, |count| *count == AGENTS).await;
        let aim = Aim {
            address,
            admin: session.token,
            agent: hostile.agent_token,
            process: plane.process().id(),
        };
        Self {
            herd,
            plane,
            servers,
            aim,
            _folder: folder,
        }
    }

    /// Returns a client that connects over TCP with the admin's token.
    pub(crate) fn client(&self) -> PlaneClient {
        let url = format!("http://{}", self.aim.address).parse().expect("a URL");
        let client = PlaneClient::new(Target::Url(url), None).expect("a client");
        client.with_token(self.aim.admin.clone().into())
    }

    /// Runs an attack while the client and the agents work, and measures its effect on them.
    pub(crate) async fn under(
        &self,
        attack: &'static str,
        bounds: Bounds,
        make: impl AsyncFnOnce(&Self) -> Outcome,
    ) -> Row {
        let quiet = self.work();
        tokio::time::sleep(QUIET).await;
        let quiet = quiet.end().await;
        let before = Resources::of(self.aim.process);
        let begin = Instant::now();
        let (held, work) = (Held::watch(self.aim.process), self.work());
        let outcome = make(self).await;
        let seconds = begin.elapsed();
        let (work, held) = (work.end().await, held.end().await);
        let missed = self.herd.log.since(begin);
        let missed = missed.iter().filter(|event| event.what == What::Dialled).count();
        let descriptors = held.descriptors.saturating_sub(before.descriptors);
        let growth = held.memory.saturating_sub(before.memory) / 1024;
        let mut broken = outcome.broken;
        let mut promise = |holds: bool, what: String| {
            if !holds {
                broken.push(what);
            }
        };
        let late = quantile(&work.took, 0.99);
        promise(
            work.failed.is_empty(),
            format!("the client was refused: {:?}", work.failed.first()),
        );
        promise(missed == 0, format!("agents missed {missed} polls"));
        promise(
            growth <= bounds.growth,
            format!(
                "the plane grew by {growth} MB, more than the {} MB allowed",
                bounds.growth
            ),
        );
        promise(late <= bounds.patience, format!("the client waited {late:?}"));
        promise(self.cleared(before).await, "connections are still held".to_owned());
        let ms = |work: &Work, share| quantile(&work.took, share).as_secs_f64() * 1000.0;
        let text = format!(
            "| {attack} | {} | {} | {} → {} | {:.0} / {:.0} → {:.0} / {:.0} of {} | {missed} | {descriptors} | {:.0} s{}{} |",
            outcome.answers.count(),
            outcome.answers,
            before.memory / 1024,
            held.memory / 1024,
            ms(&quiet, 0.5),
            ms(&quiet, 0.99),
            ms(&work, 0.5),
            ms(&work, 0.99),
            work.took.len(),
            seconds.as_secs_f64(),
            if outcome.note.is_empty() { "" } else { "; " },
            outcome.note,
        );
        Row { attack, text, broken }
    }

    /// Waits until the plane has released everything that the attack has occupied. Returns false if the plane has not
    /// done so in time.
    async fn cleared(&self, before: Resources) -> bool {
        let begin = Instant::now();
        while Resources::of(self.aim.process).descriptors > before.descriptors + 8 {
            if begin.elapsed() > CLEARED {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
        true
    }

    fn work(&self) -> Working {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(work(self.client(), self.servers[0].clone(), stopped));
        Working { stop, task }
    }
}

struct Working {
    stop: watch::Sender<bool>,
    task: JoinHandle<Work>,
}

impl Working {
    async fn end(self) -> Work {
        let _ = self.stop.send(true);
        self.task.await.expect("the client")
    }
}

/// Creates peers, reads the statuses and removes the peers, as users do, and times each request.
async fn work(client: PlaneClient, server: ServerId, stopped: watch::Receiver<bool>) -> Work {
    let mut work = Work::default();
    for number in 0.. {
        if *stopped.borrow() {
            break;
        }
        if let Err(error) = round(&client, &server, number, &mut work.took).await {
            work.failed.push(error.to_string());
        }
        tokio::time::sleep(PAUSE * 4).await;
    }
    work
}

async fn round(
    client: &PlaneClient,
    server: &ServerId,
    number: usize,
    took: &mut Vec<Duration>,
) -> Result<(), wgctl::client::Error> {
    let new = NewPeer {
        name: Some(format!("work-{number}").parse().expect("a name")),
        ..NewPeer::default()
    };
    let begin = Instant::now();
    let peer = client.create_peer(server, &new, None).await?;
    took.push(begin.elapsed());
    let begin = Instant::now();
    client.statuses().await?;
    took.push(begin.elapsed());
    let begin = Instant::now();
    client.remove_peer(server, peer.id).await?;
    took.push(begin.elapsed());
    Ok(())
}

/// The peak resources of a process while it is watched.
struct Held {
    memory: Arc<AtomicU64>,
    descriptors: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Held {
    fn watch(process: u32) -> Self {
        let (memory, descriptors) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let (most, open) = (Arc::clone(&memory), Arc::clone(&descriptors));
        let task = tokio::spawn(async move {
            loop {
                let now = Resources::of(process);
                most.fetch_max(now.memory, Ordering::Relaxed);
                open.fetch_max(now.descriptors, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self {
            memory,
            descriptors,
            task,
        }
    }

    async fn end(self) -> Resources {
        self.task.abort();
        let _ = self.task.await;
        Resources {
            memory: self.memory.load(Ordering::Relaxed),
            descriptors: self.descriptors.load(Ordering::Relaxed),
            threads: 0,
        }
    }
}
