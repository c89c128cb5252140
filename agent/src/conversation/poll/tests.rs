//! Tests of the whole conversation with well-behaved and badly behaved planes, in virtual time.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use wgctl::device::memory::Memory;
use wgctl::name::Incarnation;
use wgctl::protocol::v1::{Ask, Change, Peer};
use wgctl::{Clock, PublicKey, Timestamp};

use super::*;
use crate::conversation::backoff::Jitter;
use crate::conversation::fake_plane::{Behaviour, FakePlane};
use crate::desired::tests::{answer as says, interface, peer, server as los_angeles};
use crate::reconcile::{EventLoop, LinkBy, Reconciler};
use crate::{captured_log, host};

/// An agent that runs in tasks of the test. Dropping it is like killing the process.
struct Agent {
    devices: Memory,
    folder: tempfile::TempDir,
    tasks: JoinSet<()>,
    /// The interval between reports, in seconds.
    every: u32,
}

impl Agent {
    /// Starts an agent on a new host that dials these planes. Each backoff wait has its maximum length.
    async fn of(planes: &[FakePlane]) -> Self {
        Self::reporting_each(60, planes).await
    }

    async fn reporting_each(every: u32, planes: &[FakePlane]) -> Self {
        let mut agent = Self {
            devices: Memory::new(),
            folder: tempfile::tempdir().unwrap(),
            tasks: JoinSet::new(),
            every,
        };
        agent.start(planes).await;
        agent
    }

    /// Starts the agent and returns the time that it took to become ready.
    async fn start(&mut self, planes: &[FakePlane]) -> Duration {
        captured_log::begin();
        let began = Instant::now();
        let folder = self.folder.path().to_owned();
        let secrets = Arc::new(Secrets::open(&folder).unwrap());
        let host = host::Memory::new(self.devices.clone());
        let reconciler = Reconciler::new(self.devices.clone(), host, LinkBy::Us, Arc::clone(&secrets), folder);
        let clock = Clock::new(|| Timestamp::from_unix(1_800_000_000));
        let (turns, handle) = EventLoop::new(reconciler, clock);
        let (ready, is_ready) = oneshot::channel();
        // Every limit divides 240 000, so this number gives the longest wait below each limit.
        let planes = Planes::new(planes.to_vec(), Jitter::new(|| 240_000 - 1));
        let server = crate::cache::server_of(self.folder.path());
        self.tasks = crate::conversation::start(planes, secrets, handle, server, self.every);
        self.tasks.spawn(turns.run(ready));
        is_ready.await.unwrap();
        began.elapsed()
    }

    fn keys(&self) -> BTreeSet<PublicKey> {
        let device = self.devices.device(&interface().name);
        device.map_or_else(BTreeSet::new, |device| device.peers.into_keys().collect())
    }

    async fn has(&self, peers: &[Peer]) {
        let keys: BTreeSet<_> = peers.iter().map(|peer| peer.public_key).collect();
        until("the interface has these peers", || self.keys() == keys).await;
    }
}

/// Waits until the condition holds, in virtual time.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(600);
    while !condition() {
        assert!(Instant::now() < deadline, "not within ten minutes: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_held_until_there_is_a_change_and_the_change_is_confirmed() {
    let (one, two) = (peer(2), peer(3));
    let plane = FakePlane::new(std::slice::from_ref(&one));
    let agent = Agent::of(std::slice::from_ref(&plane)).await;
    agent.has(std::slice::from_ref(&one)).await;
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(
        plane.record().polls.len(),
        4,
        "one for the full state, then one every 25 s"
    );
    let changed = Instant::now();
    plane.change(&[one.clone(), two.clone()]);
    agent.has(&[one, two]).await;
    assert!(
        changed.elapsed() < Duration::from_millis(100),
        "the held poll returned the change"
    );
    until("the change is confirmed", || {
        plane
            .record()
            .applied
            .last()
            .is_some_and(|applied| applied.revision == 2)
    })
    .await;
    let record = plane.record();
    assert_eq!(record.hellos.len(), 1, "one connection");
    let asked: Vec<u64> = record.polls.iter().map(|(_, query)| query.revision).collect();
    assert_eq!(asked, [0, 1, 1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_removes_no_peers_and_is_retried_less_and_less_often() {
    let one = peer(2);
    let plane = FakePlane::new(std::slice::from_ref(&one));
    let agent = Agent::of(std::slice::from_ref(&plane)).await;
    agent.has(std::slice::from_ref(&one)).await;
    plane.behave(Behaviour::Refuses(401));
    tokio::time::sleep(seconds(3600)).await;
    assert_eq!(agent.keys(), BTreeSet::from([one.public_key]));
    let hellos = plane.record().hellos.len();
    assert!(
        (100..=130).contains(&hellos),
        "{hellos} in an hour: waits of up to 30 s"
    );
    plane.behave(Behaviour::Answers);
    plane.change(&[]);
    agent.has(&[]).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_response_that_does_not_fit_the_agent_requests_the_full_state() {
    let (one, two) = (peer(2), peer(3));
    let plane = FakePlane::new(&[one.clone(), two.clone()]);
    let agent = Agent::of(std::slice::from_ref(&plane)).await;
    agent.has(&[one.clone(), two.clone()]).await;
    let delta = |life, revision| {
        let remove = vec![one.id];
        says(
            life,
            revision,
            Change::Delta {
                interface: None,
                upsert: Vec::new(),
                remove,
            },
        )
    };
    let life = plane.record().life;
    for lie in [delta(Incarnation::random(), 9), delta(life, 0)] {
        let before = plane.record().polls.len();
        plane.record().lies.push_back(lie);
        until("the agent requests the full state", || {
            let record = plane.record();
            let mut since = record.polls.iter().skip(before);
            since.any(|(_, query)| (query.revision, query.incarnation) == (0, None))
        })
        .await;
        assert_eq!(agent.keys().len(), 2, "no peer has been removed in the meantime");
    }
    assert_eq!(plane.record().hellos.len(), 1, "the connection is kept");
}

#[tokio::test(start_paused = true)]
async fn the_stock_of_prekeys_is_filled_with_as_many_as_one_message_may_contain() {
    let plane = FakePlane::new(&[]);
    plane.record().prekeys_wanted = 1000;
    let _agent = Agent::of(std::slice::from_ref(&plane)).await;
    until("prekeys arrive", || !plane.record().prekeys.is_empty()).await;
    let record = plane.record();
    let ids: BTreeSet<_> = record.prekeys.iter().map(|prekey| prekey.id).collect();
    assert_eq!(ids.len(), 256);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_only_the_host_can_answer_is_answered_during_a_poll() {
    let plane = FakePlane::new(&[]);
    let agent = Agent::of(std::slice::from_ref(&plane)).await;
    let secrets = Secrets::open(agent.folder.path()).unwrap();
    let prekey = secrets.prekey(&los_angeles()).unwrap();
    let ask = serde_json::json!({
        "kind": "configuration", "id": prekey.id, "name": "alice", "public_key": prekey.public_key,
        "private_key": prekey.private_key, "addresses": ["10.8.0.2/32"], "allowed_ips": ["0.0.0.0/0"],
        "endpoint": "vpn.example.com:51820"
    });
    let ask: Ask = serde_json::from_value(ask).unwrap();
    let id = wgctl::name::RequestId::random();
    plane.record().requests.push(Request { id, ask });
    until("the request is answered", || !plane.record().replies.is_empty()).await;
    let record = plane.record();
    let [(answered, wgctl::protocol::v1::Reply::Configuration { text })] = record.replies.as_slice() else {
        panic!("expected one configuration, got {:?}", record.replies);
    };
    assert!(*answered == id && text.contains("PrivateKey"));
}

#[tokio::test(start_paused = true)]
async fn planes_are_tried_in_turn_with_doubling_waits_until_one_responds() {
    let one = peer(2);
    let planes = [Behaviour::Gone, Behaviour::Refuses(503), Behaviour::Gone].map(|manner| {
        let plane = FakePlane::new(std::slice::from_ref(&one));
        plane.behave(manner);
        plane
    });
    let agent = Agent::of(&planes).await;
    until("each is dialled three times", || planes[2].record().hellos.len() == 3).await;
    let mut dialled: Vec<(Instant, usize)> = Vec::new();
    for (at, plane) in planes.iter().enumerate() {
        dialled.extend(plane.record().hellos.iter().map(|when| (*when, at)));
    }
    dialled.sort();
    let order: Vec<usize> = dialled.iter().map(|(_, plane)| *plane).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    let waits: Vec<u128> = dialled
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0).as_millis())
        .collect();
    assert_eq!(waits, [499, 999, 1999, 3999, 7999, 15_999, 29_999, 29_999]);
    planes[1].behave(Behaviour::Answers);
    agent.has(&[one]).await;
    assert_eq!(planes[0].record().hellos.len(), 4);
    assert_eq!(
        planes[2].record().hellos.len(),
        3,
        "the agent stays with the plane that responds"
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_gets_ready_and_repairs_drift_even_if_its_plane_never_responds() {
    let one = peer(2);
    let plane = FakePlane::new(std::slice::from_ref(&one));
    let mut agent = Agent::of(std::slice::from_ref(&plane)).await;
    agent.has(std::slice::from_ref(&one)).await;
    plane.behave(Behaviour::Silent);
    agent.tasks.shutdown().await;
    agent.devices.delete(&interface().name);
    assert!(agent.start(std::slice::from_ref(&plane)).await < Duration::from_millis(10));
    assert_eq!(
        agent.keys(),
        BTreeSet::from([one.public_key]),
        "the interface exists once the agent is ready"
    );
    agent.devices.delete(&interface().name);
    let gone = Instant::now();
    agent.has(std::slice::from_ref(&one)).await;
    assert!(
        gone.elapsed() < seconds(31),
        "a round runs even though no plane responds"
    );
    plane.behave(Behaviour::Answers);
    plane.change(&[]);
    agent.has(&[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_for_another_server_changes_nothing_on_this_host() {
    let one = peer(2);
    let plane = FakePlane::new(std::slice::from_ref(&one));
    let mut agent = Agent::of(std::slice::from_ref(&plane)).await;
    agent.has(std::slice::from_ref(&one)).await;
    agent.tasks.shutdown().await;
    plane.record().server = "new-york".parse().unwrap();
    plane.change(&[]);
    agent.start(std::slice::from_ref(&plane)).await;
    until("the plane is dialled again", || plane.record().hellos.len() > 3).await;
    assert_eq!(agent.keys(), BTreeSet::from([one.public_key]));
    assert!(plane.record().polls.iter().all(|(_, query)| query.revision <= 1));
}

#[tokio::test(start_paused = true)]
async fn a_plane_that_drops_all_packets_costs_its_timeout_only_once() {
    let one = peer(2);
    let (silent, other) = (FakePlane::new(&[]), FakePlane::new(std::slice::from_ref(&one)));
    silent.behave(Behaviour::Silent);
    let agent = Agent::of(&[silent.clone(), other.clone()]).await;
    agent.has(std::slice::from_ref(&one)).await;
    for _ in 0..3 {
        other.behave(Behaviour::Gone);
        other.change(&[]);
        tokio::time::sleep(seconds(5)).await;
        other.behave(Behaviour::Answers);
        let back = Instant::now();
        agent.has(&[]).await;
        assert!(back.elapsed() < seconds(10), "{:?}", back.elapsed());
        other.change(std::slice::from_ref(&one));
        agent.has(std::slice::from_ref(&one)).await;
    }
    assert_eq!(silent.record().hellos.len(), 1);
    other.behave(Behaviour::Gone);
    silent.behave(Behaviour::Answers);
    silent.change(&[]);
    agent.has(&[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_report_is_abandoned_in_favour_of_the_next_one() {
    let plane = FakePlane::new(&[]);
    let _agent = Agent::reporting_each(5, std::slice::from_ref(&plane)).await;
    tokio::time::sleep(seconds(20)).await;
    plane.record().stuck = 1;
    while plane.record().stuck > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = plane.record().reports.len();
    assert!(before > 0);
    tokio::time::sleep(seconds(11)).await;
    assert!(plane.record().reports.len() > before);
}

#[tokio::test(start_paused = true)]
async fn a_running_agent_introduces_itself_again_if_another_host_has_taken_its_place() {
    let plane = FakePlane::new(&[]);
    let agent = Agent::of(std::slice::from_ref(&plane)).await;
    until("the agent polls", || !plane.record().polls.is_empty()).await;
    let ours = Secrets::open(agent.folder.path()).unwrap().private_key().public_key();
    let another = || Some(wgctl::PrivateKey::generate().unwrap().public_key());
    let has_ours = || plane.record().public_key == Some(ours);
    plane.record().public_key = another();
    let began = Instant::now();
    until("this host's key is recorded again", has_ours).await;
    assert!(began.elapsed() <= seconds(26), "with the next response");
    plane.record().public_key = another();
    until("the agent claims the key again", has_ours).await;
    assert!(began.elapsed() >= seconds(60), "not more often than once a minute");
    assert_eq!(plane.record().hellos.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_conversation_continues_if_a_repeated_introduction_is_refused_for_now() {
    let one = peer(2);
    let plane = FakePlane::new(&[]);
    let agent = Agent::of(std::slice::from_ref(&plane)).await;
    until("the agent polls", || !plane.record().polls.is_empty()).await;
    {
        let mut record = plane.record();
        record.public_key = Some(wgctl::PrivateKey::generate().unwrap().public_key());
        record.refuses_hello = Some(429);
    }
    until("the agent claims its key", || plane.record().hellos.len() == 2).await;
    let changed = Instant::now();
    plane.change(std::slice::from_ref(&one));
    agent.has(std::slice::from_ref(&one)).await;
    assert!(changed.elapsed() < seconds(1), "the conversation continues");
    plane.record().refuses_hello = None;
    let ours = Secrets::open(agent.folder.path()).unwrap().private_key().public_key();
    until("the key is recorded", || plane.record().public_key == Some(ours)).await;
}

#[tokio::test(start_paused = true)]
async fn a_plane_that_does_not_send_its_recorded_key_causes_no_new_introduction() {
    let plane = FakePlane::new(&[]);
    let _agent = Agent::of(std::slice::from_ref(&plane)).await;
    until("the agent polls", || !plane.record().polls.is_empty()).await;
    plane.record().public_key = None;
    tokio::time::sleep(seconds(600)).await;
    assert_eq!(plane.record().hellos.len(), 1);
}
