//! Many agents that lose their plane at the same time return without a stampede, and agents with several
//! planes connect to one that works. The plane, the sockets and the agents' code are real.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use sentrazone_agent::secrets::Secrets;
use sentrazone_tests::counts::{figure, runs};
use sentrazone_tests::herd::{Event, Herd, What};
use sentrazone_tests::loopback::LoopbackPlane;
use sentrazone_tests::netns::run;
use sentrazone_tests::wait;
use wgctl::ServerId;
use wgctl::api::NewPeer;
use wgctl::client::PlaneClient;

/// The width of a bucket. Events in the same bucket count as simultaneous.
const TOGETHER: Duration = Duration::from_millis(100);

/// A plane with agents, each of which has connected and confirmed once.
struct Scene {
    herd: Herd,
    plane: LoopbackPlane,
    servers: Vec<ServerId>,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// Starts a plane and its agents, which try the planes in `before` first.
    async fn new(agents: usize, before: &[String]) -> Self {
        // The agents need many sockets, and so does the plane, which inherits the limit.
        run(&["prlimit", "--pid", &std::process::id().to_string(), "--nofile=16384:"]);
        let folder = tempfile::tempdir().unwrap();
        let plane = LoopbackPlane::start().await;
        let planes = [before, &[format!("http://127.0.0.1:{}", plane.port())]].concat();
        let (mut herd, mut servers) = (Herd::default(), Vec::new());
        for number in 0..agents {
            let pool = format!("10.{}.{}.0/24", number / 250, number % 250);
            let created = plane
                .server(&format!("host-{number}"), "192.0.2.1:51820", &[&pool])
                .await;
            herd.join(&planes, &created.agent_token, &folder.path().join(number.to_string()));
            servers.push(created.server.id);
        }
        let scene = Self {
            herd,
            plane,
            servers,
            _folder: folder,
        };
        scene.all(What::Confirmed, 1, scene.herd.log.first()).await;
        scene.news().await;
        scene
    }

    /// Makes a change for every agent and waits until all agents have confirmed it. After that, each agent has had a
    /// successful poll, so that its next failure counts as its first.
    async fn news(&self) {
        let begin = Instant::now();
        for some in self.servers.chunks(32) {
            let made = some.iter().map(|server| async move {
                let admin = self.plane.admin();
                let peer = admin.create_peer(server, &stranger("news"), None).await.unwrap();
                admin.remove_peer(server, peer.id).await.unwrap();
            });
            futures_util::future::join_all(made).await;
        }
        self.all(What::Confirmed, 1, begin).await;
    }

    /// Waits until every agent has had `times` events of this kind since the given time.
    async fn all(&self, what: What, times: usize, since: Instant) {
        let done = || std::future::ready(self.herd.log.agents(what, times, since));
        wait::until("every agent has had these events", done, |count| {
            *count == self.servers.len()
        })
        .await;
    }

    /// Returns the resident memory (`VmRSS` in proc(5), in MB) and the number of open descriptors of the plane's
    /// process.
    fn resources(&mut self) -> (f64, usize) {
        let id = self.plane.process().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        let files = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
        (kilobytes / 1024.0, files)
    }
}

/// Returns the largest number of events in one bucket.
fn most_together(events: &[Event], wanted: impl Fn(What) -> bool) -> usize {
    let mut buckets = std::collections::BTreeMap::new();
    let first = events.first().map(|event| event.at);
    for event in events.iter().filter(|event| wanted(event.what)) {
        let bucket = (event.at - first.unwrap()).as_millis() / TOGETHER.as_millis();
        *buckets.entry(bucket).or_insert(0) += 1;
    }
    buckets.values().copied().max().unwrap_or_default()
}

/// Returns a request to create a peer with its own key.
fn stranger(name: &str) -> NewPeer {
    NewPeer {
        name: Some(name.parse().unwrap()),
        public_key: Some(wgctl::PrivateKey::generate().unwrap().public_key()),
        preshared_key: Some(false),
        ..NewPeer::default()
    }
}

/// Sends changes and reads as an admin until `stop` is set. Returns the durations of the requests, sorted.
async fn administrate(admin: PlaneClient, server: ServerId, stop: tokio::sync::watch::Receiver<bool>) -> Vec<Duration> {
    let mut took = Vec::new();
    for number in 0.. {
        if *stop.borrow() {
            break;
        }
        let begin = Instant::now();
        let peer = admin
            .create_peer(&server, &stranger(&format!("peer-{number}")), None)
            .await
            .unwrap();
        took.push(begin.elapsed());
        admin.remove_peer(&server, peer.id).await.unwrap();
        let begin = Instant::now();
        admin.servers().await.unwrap();
        took.push(begin.elapsed());
    }
    took.sort_unstable();
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_lose_their_plane_at_the_same_time_return_without_a_stampede() {
    let agents = runs(200, 1000);
    let mut scene = Scene::new(agents, &[]).await;
    let before = scene.resources();
    for (fault, tries) in [
        ("restarted at once", 0),
        ("down until each has tried 5 times in vain", 5),
    ] {
        let lost = Instant::now();
        scene.plane.take_away();
        if tries > 0 {
            scene.all(What::Dialled, tries, lost).await;
        }
        let back = Instant::now();
        scene.plane.give_back().await;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let admin = tokio::spawn(administrate(scene.plane.admin(), scene.servers[0].clone(), stopped));
        scene.all(What::Confirmed, 1, back).await;
        let events = scene.herd.log.since(back);
        let seconds = back.elapsed().as_secs_f64();
        scene.news().await;
        stop.send(true).unwrap();
        let took = admin.await.unwrap();
        let welcomed = most_together(&events, |what| what == What::Welcomed);
        let asked = most_together(&events, |what| matches!(what, What::Dialled | What::Asked));
        let (memory, files) = scene.resources();
        figure(
            &format!("the plane of {agents} agents killed, {fault}"),
            1,
            agents - scene.herd.log.agents(What::Welcomed, 1, back),
            &format!(
                "all confirmed after {seconds:.1} s; at most {welcomed} hellos and {asked} requests in 100 ms; \
                 admin p99 {:.0} ms of {}; plane {:.0} → {memory:.0} MB, {} → {files} files",
                took[took.len() * 99 / 100].as_secs_f64() * 1000.0,
                took.len(),
                before.0,
                before.1,
            ),
        );
        // Without jitter, nearly all agents would connect at once; the first wait spreads them over half a second.
        // The times at which they connect depend only on the agents. The response times also depend on the load.
        let dialled = most_together(&events, |what| what == What::Dialled);
        assert!(dialled * 2 < agents, "{dialled} of {agents} within 100 ms");
        assert!(files < before.1 * 2, "{} files before, {files} after", before.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_plane_costs_one_wait() {
    let agents = 20;
    // Nothing listens on this port, and the port is never assigned to a program.
    let dead = "http://127.0.0.1:1".to_owned();
    let begin = Instant::now();
    let scene = Scene::new(agents, &[dead]).await;
    let events = scene.herd.log.since(begin);
    let mut waits = Vec::new();
    for agent in 0..agents {
        let at = |what| {
            events
                .iter()
                .filter(move |event| event.agent == agent && event.what == what)
        };
        let dialled: Vec<usize> = at(What::Dialled).map(|event| event.plane).collect();
        assert_eq!(dialled, [0, 1], "expected the dead plane, then the live one");
        waits.push(at(What::Welcomed).next().unwrap().at - at(What::Dialled).next().unwrap().at);
    }
    let longest = waits.iter().max().unwrap().as_secs_f64();
    figure(
        "the first of two planes is gone",
        agents,
        0,
        &format!("the other one is reached within {longest:.2} s"),
    );
}

/// Creates a listener with a full backlog, for which the kernel drops further SYNs (listen(2)).
fn blackhole() -> (TcpListener, Vec<std::net::TcpStream>) {
    use nix::sys::socket::{Backlog, listen};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queue.push(stream);
    }
    (listener, queue)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unresponsive_plane_costs_its_timeout_only_once() {
    let (listener, _queue) = blackhole();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let agents = 10;
    let begin = Instant::now();
    let mut scene = Scene::new(agents, &[silent]).await;
    let first = begin.elapsed().as_secs_f64();
    let mut later = Vec::new();
    for _ in 0..3 {
        scene.plane.take_away();
        let back = Instant::now();
        scene.plane.give_back().await;
        scene.all(What::Confirmed, 1, back).await;
        later.push(back.elapsed());
        scene.news().await;
    }
    let dialled = |event: &Event| event.plane == 0 && event.what == What::Dialled;
    let events = scene.herd.log.since(begin);
    let silent = events.iter().filter(|event| dialled(event)).count();
    let longest = later.iter().max().unwrap().as_secs_f64();
    figure(
        "the first of two planes accepts connections but never responds",
        3,
        0,
        &format!("connected after {first:.1} s; after a restart of the other plane, within {longest:.2} s"),
    );
    assert_eq!(silent, agents, "an agent did not try the silent plane exactly once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_agent_reclaims_its_server_from_a_second_host_with_the_same_token() {
    let folder = tempfile::tempdir().unwrap();
    let plane = LoopbackPlane::start().await;
    let planes = [format!("http://127.0.0.1:{}", plane.port())];
    let created = plane.server("host", "192.0.2.1:51820", &["10.0.0.0/24"]).await;
    let (server, token) = (created.server.id, created.agent_token);
    let recorded = || async { plane.admin().server(&server).await.unwrap().public_key };
    let key = |name: &str| {
        let secrets = Secrets::open(&folder.path().join(name)).unwrap();
        Some(secrets.private_key().public_key())
    };
    let mut first = Herd::default();
    first.join(&planes, &token, &folder.path().join("first"));
    wait::until("the first host's key is recorded", recorded, |known| {
        *known == key("first")
    })
    .await;
    let mut second = Herd::default();
    second.join(&planes, &token, &folder.path().join("second"));
    wait::until("the second host's key is recorded", recorded, |known| {
        *known == key("second")
    })
    .await;
    drop(second);
    // A change makes the first host's poll return.
    plane
        .admin()
        .create_peer(&server, &stranger("news"), None)
        .await
        .unwrap();
    wait::until("the first host's key is recorded again", recorded, |known| {
        *known == key("first")
    })
    .await;
}
